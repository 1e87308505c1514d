"""The gateway as people run it: `bff serve` on a folder of mappings, on free ports, as a child.

    with GatewayProcess(tmp_path, samples, changes={"tiers": {"guest": "2/min"}}) as gateway:
        async with gateway.client() as http:
            reply = await http.get("/v1/products/p-1")
        line = await gateway.access_line(reply)
        assert gateway.stop() == 0

The folder starts as a copy of `mappings/` with the addresses of the running samples; `changes` are
merged into its gateway document, `files` replace or add files (None leaves one out). Without samples
`files` are all there is. With BFF_TEST_TRANSPORT=grpcio in the environment every upstream that says
nothing of it is called so.
"""

import asyncio
import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import IO, Any, Self

import httpx
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tests.support.samples import SampleServices

__all__ = [
    "TRANSPORT",
    "GatewayProcess",
    "Lines",
    "RawReply",
    "bearer",
    "reason_of",
    "sample_files",
]

_ROOT = Path(__file__).parents[2]
_PROTOS = _ROOT / "protos"
_SERVING = re.compile(r"serving (\S+)  admin (\S+)  version (\S+)")
_GUARD_S = 60.0
# `python -m bff`, after asking for PR_SET_PDEATHSIG: a test run that is killed must not leave the
# gateway behind. Said by the child itself, since Python forks for a `preexec_fn`, and gRPC in our own
# process then restarts its threads in the child, whose files are being closed.
_START = (
    "import ctypes, runpy, signal; ctypes.CDLL(None).prctl(1, signal.SIGTERM);"
    "runpy.run_module('bff', run_name='__main__', alter_sys=True)"
)
# As after an install without a C compiler.
_UNCOMPILED = "import sys; sys.modules['bff.transcoding._plain_json'] = None;"
# How upstreams are called that do not say it themselves; unset: as the product decides.
TRANSPORT = os.environ.get("BFF_TEST_TRANSPORT", "")  # noqa: TID251 - chosen by who runs the tests
# What every gateway under test has.
_USUAL: Mapping[str, Any] = {
    "gateway": {
        "listen": "127.0.0.1:0",
        "admin": "127.0.0.1:0",
        "protos": [str(_PROTOS)],
        "drain": {"grace": "0s", "finish": "10s"},
    },
}


def sample_files(
    samples: SampleServices,
    *,
    changes: Mapping[str, Any] | None = None,
    files: Mapping[str, str | None] | None = None,
) -> dict[str, str]:
    """The sample mapping files by name, with real addresses; the gateway document as JSON (which is YAML)."""
    made = {path.name: path.read_text() for path in (_ROOT / "mappings").glob("*.yaml")}
    gateway = YAML(typ="safe").load(made["gateway.yaml"])
    addresses = {
        "upstreams": {
            name: {"endpoints": [samples.address(name)]} for name in ("users", "catalog", "orders")
        },
        "auth": {"issuers": {"main": {"issuer": samples.identity}}},
    }
    for more in (_USUAL, addresses, changes or {}):
        _merge(gateway, more)
    made["gateway.yaml"] = json.dumps(gateway, indent=1)
    for name, text in (files or {}).items():
        if text is None:
            made.pop(name, None)
        else:
            made[name] = text
    return made


def _by_transport(text: str) -> str:
    """The file with the transport that was chosen, if it has upstreams; else as it is."""
    if not TRANSPORT:
        return text
    try:
        tree = YAML(typ="safe").load(text)
    except YAMLError:
        return text
    upstreams = tree.get("upstreams") if isinstance(tree, dict) else None
    if not isinstance(upstreams, dict):
        return text
    for upstream in upstreams.values():
        if isinstance(upstream, dict):
            upstream.setdefault("transport", TRANSPORT)
    return json.dumps(tree, indent=1)


def _merge(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            # A copy: the next merge may go on inside it.
            into[key] = deepcopy(value)


def bearer(token: str) -> dict[str, str]:
    """The header that carries a token."""
    return {"authorization": f"Bearer {token}"}


class RawReply:
    """What came back on a raw connection until its end."""

    def __init__(self, octets: bytes) -> None:
        self.octets = octets
        head, _, self.body = octets.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        self.status = int(lines[0].split(b" ")[1]) if lines[0] else 0
        self.headers = {
            name.strip().lower().decode(): value.strip().decode("latin-1")
            for name, _, value in (line.partition(b":") for line in lines[1:])
        }

    @property
    def reason(self) -> str:
        """ErrorInfo's reason."""
        return reason_of(json.loads(self.body))


def reason_of(body: Any) -> str:
    """The ErrorInfo reason of an error body."""
    details = body["error"]["details"]
    return next(str(d["reason"]) for d in details if d["@type"].endswith("google.rpc.ErrorInfo"))


class Lines:
    """The lines of one stream, read by a thread so that the child never waits for us."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._changed = threading.Condition()
        self._lines: list[str] = []
        self._ended = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._stream:
            for line in self._stream:
                with self._changed:
                    self._lines.append(line.decode(errors="replace").rstrip("\n"))
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def all(self) -> list[str]:
        """What came so far."""
        with self._changed:
            return list(self._lines)

    def wait(self, wanted: Callable[[str], bool], *, start: int = 0) -> str:
        """The first line from number `start` on that is wanted. Raises AssertionError if none comes."""
        with self._changed:
            at = start
            while True:
                for line in self._lines[at:]:
                    if wanted(line):
                        return line
                at = len(self._lines)
                if self._ended or not self._changed.wait(_GUARD_S):
                    raise AssertionError("the line never came; there were:\n" + self._tail())

    def _tail(self) -> str:
        return "\n".join(self._lines[-30:])

    def join(self) -> None:
        """Wait for the end of the stream."""
        self._thread.join(_GUARD_S)


class GatewayProcess:
    """`bff serve` as a child in a session of its own. `url` is the public side, `admin` health and metrics.

    `is_compiled` False: the C part of the translation is hidden from it.
    """

    url: str
    admin: str
    version: str

    def __init__(
        self,
        folder: Path,
        samples: SampleServices | None,
        *,
        changes: Mapping[str, Any] | None = None,
        files: Mapping[str, str | None] | None = None,
        arguments: Sequence[str] = (),
        is_compiled: bool = True,
    ) -> None:
        self._start_code = _START if is_compiled else _UNCOMPILED + _START
        self.folder = folder / "mappings"
        self.folder.mkdir(parents=True, exist_ok=True)
        made = files or {}
        if samples is not None:
            made = sample_files(samples, changes=changes, files=files)
        for name, text in made.items():
            (self.folder / name).write_text(_by_transport(text or ""))
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None
        self._out: Lines
        self._err: Lines

    # Start and end

    def launch(self) -> Self:
        """Start the process and wait for nothing."""
        process = subprocess.Popen(
            [sys.executable, "-c", self._start_code, "serve", str(self.folder), *self._arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=_ROOT,
            start_new_session=True,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self._out, self._err = Lines(process.stdout), Lines(process.stderr)
        return self

    def start(self) -> Self:
        """Start it, unless `launch` did; returns when it takes traffic."""
        if self._process is None:
            self.launch()
        line = self._err.wait(lambda line: _SERVING.search(line) is not None)
        found = _SERVING.search(line)
        assert found is not None
        self.url, self.admin, self.version = found.groups()
        return self

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.kill_all()
            raise

    def __exit__(self, *_exc: object) -> None:
        self.terminate()
        try:
            self.wait()
        except subprocess.TimeoutExpired:
            self.kill_all()
            raise

    @property
    def pid(self) -> int:
        """The node's process id, which is also its session's."""
        assert self._process is not None
        return self._process.pid

    def terminate(self) -> None:
        """Ask it to leave (SIGTERM)."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the node alone at once, as a crash would (SIGKILL)."""
        self._signal(signal.SIGKILL)

    def kill_worker(self, pid: int) -> None:
        """End one worker of this gateway at once (SIGKILL)."""
        assert pid in self.family()
        os.kill(pid, signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(number)

    def wait(self) -> int:
        """The exit code, once it has ended."""
        assert self._process is not None
        code = self._process.wait(_GUARD_S)
        self._out.join()
        self._err.join()
        return code

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.terminate()
        return self.wait()

    def kill_all(self) -> None:
        """End every process of its session; for a start that failed."""
        for pid in self.family():
            os.kill(pid, signal.SIGKILL)
        assert self._process is not None
        self._process.wait(_GUARD_S)

    def family(self) -> set[int]:
        """Every living process of its session: the node, its listener, its workers."""
        return {pid for pid, session in _sessions() if session == self.pid}

    def wait_family_gone(self, pids: set[int]) -> set[int]:
        """Wait until these have ended; those that have not after 60 s."""
        return {pid for pid in pids if not _wait_gone(pid)}

    # Asking

    def client(self, **more: Any) -> httpx.AsyncClient:
        """An HTTP client of the public side."""
        # Without `verify` every client would load the system's certificates first, for plain HTTP.
        return httpx.AsyncClient(base_url=self.url, timeout=_GUARD_S, verify=False, **more)

    def admin_client(self) -> httpx.AsyncClient:
        """An HTTP client of the admin side."""
        return httpx.AsyncClient(base_url=self.admin, timeout=_GUARD_S, verify=False)

    @property
    def port(self) -> int:
        """The public port."""
        return int(self.url.rpartition(":")[2])

    async def raw(self, octets: bytes, *, then_close: bool = False) -> RawReply:
        """Send these octets on a connection of their own and read to its end.

        The request should ask for `Connection: close`; `then_close` ends our side after sending.
        """
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(octets)
            if then_close:
                writer.write_eof()
            async with asyncio.timeout(_GUARD_S):
                return RawReply(await reader.read())
        finally:
            writer.close()

    async def raw_get(self, target: str, *lines: str) -> RawReply:
        """GET with exactly this target and these further header lines."""
        head = [f"GET {target} HTTP/1.1", "Host: gateway", "Connection: close", *lines, "", ""]
        return await self.raw("\r\n".join(head).encode("latin-1"))

    async def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's children with these labels; 0 if there is none."""
        async with self.admin_client() as http:
            text = (await http.get("/metrics")).text
        return sum(
            float(line.rpartition(" ")[2])
            for line in text.splitlines()
            if line.startswith(name + "{")
            and all(f'{key}="{value}"' in line for key, value in labels.items())
        )

    async def wait_metric(self, name: str, value: float, **labels: str) -> None:
        """Ask until a metric has this value; raises TimeoutError after 60 s."""
        async with asyncio.timeout(_GUARD_S):
            while await self.metric(name, **labels) != value:
                pass

    # What it says

    def output(self) -> str:
        """Everything that it has written so far, on both streams."""
        return "\n".join([*self._out.all(), *self._err.all()])

    def error_text(self) -> str:
        """What stands on standard error so far."""
        return "\n".join(self._err.all())

    def access_lines(self) -> list[dict[str, Any]]:
        """The access log so far."""
        return [json.loads(line) for line in self._out.all()]

    async def access_line(self, reply: httpx.Response | RawReply | str) -> dict[str, Any]:
        """The access line of a reply (or of a request id), once it is there."""
        wanted = reply if isinstance(reply, str) else reply.headers["x-request-id"]
        line = await asyncio.to_thread(
            self._out.wait, lambda line: json.loads(line)["request_id"] == wanted
        )
        found: dict[str, Any] = json.loads(line)
        return found

    async def access_where(self, **wanted: Any) -> dict[str, Any]:
        """The first access line with these values, once it is there."""

        def fits(line: str) -> bool:
            found = json.loads(line)
            return all(found[key] == value for key, value in wanted.items())

        found: dict[str, Any] = json.loads(await asyncio.to_thread(self._out.wait, fits))
        return found

    async def edit(self, name: str, text: str) -> dict[str, Any]:
        """Save a mapping file and wait for what the watching gateway says: `config_applied` or `config_refused`."""
        # Written elsewhere: two changes of the folder could be looked at twice, and the second word on a
        # bad edit would be taken for the first on the next.
        aside = self.folder.parent / "edited"
        aside.mkdir(exist_ok=True)
        partial = aside / name
        partial.write_text(text)
        start = len(self._err.all())
        partial.rename(self.folder / name)
        return await self.event("config_applied", "config_refused", start=start)

    async def event(self, *names: str, start: int = 0) -> dict[str, Any]:
        """The first event line of one of these names, once it is there."""

        def fits(line: str) -> bool:
            return line.startswith("{") and json.loads(line)["event"] in names

        line = await asyncio.to_thread(lambda: self._err.wait(fits, start=start))
        found: dict[str, Any] = json.loads(line)
        return found


def _sessions() -> Iterator[tuple[int, int]]:
    """(process id, session id) of every process that runs."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            # It ended while we looked.
            continue
        # proc(5): after the name come state, parent, process group, session.
        if fields[0] != "Z":
            yield int(entry.name), int(fields[3])


def _wait_gone(pid: int) -> bool:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        return bool(poll.poll(_GUARD_S * 1000))
    finally:
        os.close(handle)
