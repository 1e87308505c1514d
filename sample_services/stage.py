"""The demo's stage: services, identity provider and a gateway on free ports, from a copy of mappings/.

What is started here ends here, by its own id, also when the tour fails.
"""

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import grpc

from sample_services.generated.sample.faults.v1 import faults_pb2, faults_pb2_grpc

__all__ = ["Stage"]

_ROOT = Path(__file__).resolve().parent.parent
_START_S = 60.0
_LINES = 4096
_LOCAL_PORT = re.compile(r"127\.0\.0\.1:(50051|50052|50053|8089|8080|9901)\b")


class Lines:
    """What a child prints, line by line, so that others can wait for a line."""

    def __init__(self, stream: Any) -> None:
        self._lines: deque[str] = deque(maxlen=_LINES)
        self._changed = threading.Condition()
        self._ended = False
        threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def _read(self, stream: Any) -> None:
        for line in stream:
            with self._changed:
                self._lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait(self, holds: Callable[[str], bool], timeout_s: float = _START_S) -> str:
        """The first line that fits, also one that came before. Raises TimeoutError or EOFError."""
        with self._changed:
            seen = self._changed.wait_for(
                lambda: self._ended or any(map(holds, self._lines)), timeout_s
            )
            for line in self._lines:
                if holds(line):
                    return line
        text = "\n".join(list(self._lines)[-20:])
        raise (EOFError if seen else TimeoutError)(f"the line never came; last lines:\n{text}")


class Stage:
    """Everything the tour needs, running. `public` and `admin` are URLs of the gateway."""

    public: str
    admin: str
    identity: str
    addresses: dict[str, str]
    api_key: str

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="bff-demo-"))
        self.mappings = self.folder / "mappings"
        self._children: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        try:
            self._start_services()
            self._write_mappings()
            self._start_gateway()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        for child in reversed(self._children):
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(40)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _spawn(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        child = subprocess.Popen(  # noqa: S603 - our own words
            [sys.executable, "-m", *arguments],
            cwd=_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},  # noqa: TID251 - a child gets ours
            # Ctrl-C at the terminal is for the demo, which then ends its children in order.
            start_new_session=True,
        )
        self._children.append(child)
        return child

    def _start_services(self) -> None:
        services = self._spawn("sample_services", "--folder", str(self.folder))
        lines = Lines(services.stdout)
        Lines(services.stderr)
        self.addresses = json.loads(lines.wait(lambda line: line.startswith("{")))
        self.identity = self.addresses["identity"]

    def _write_mappings(self) -> None:
        """The sample mappings with the addresses of today, API keys and a short drain."""
        shutil.copytree(_ROOT / "mappings", self.mappings)
        ports = {
            "50051": self.addresses["users"],
            "50052": self.addresses["catalog"],
            "50053": self.addresses["orders"],
            "8089": self.identity.removeprefix("http://"),
            "8080": "127.0.0.1:0",
            "9901": "127.0.0.1:0",
        }
        file = self.mappings / "gateway.yaml"
        text = _LOCAL_PORT.sub(lambda found: ports[found[1]], file.read_text())
        text = text.replace("[../protos]", f"[{_ROOT / 'protos'}]")
        text = text.replace("  workers: 1\n", "  workers: 1\n  drain: {grace: 0s, finish: 10s}\n")
        text = text.replace(
            "  # Keys for partners",
            "  api_keys: {file: keys.yaml, pepper: env:BFF_KEY_PEPPER}\n  # Keys for partners",
        )
        file.write_text(text)
        self._pepper = secrets.token_hex(16)
        made = subprocess.run(  # noqa: S603 - our own words
            [
                sys.executable, "-m", "bff", "keys", "create", "--sub", "partner",
                "--tier", "premium", "--scope", "users.read",
                "--file", str(self.mappings / "keys.yaml"),
            ],
            cwd=_ROOT, check=True, capture_output=True, text=True,
            env={**os.environ, "BFF_KEY_PEPPER": self._pepper},  # noqa: TID251 - a child gets ours
        )  # fmt: skip
        self.api_key = made.stdout.strip()

    def _start_gateway(self) -> None:
        ready = self.folder / "ready.json"
        gateway = self._spawn(
            "bff", "serve", str(self.mappings), "--watch", "--ready-file", str(ready),
            BFF_KEY_PEPPER=self._pepper,
        )  # fmt: skip
        self.access_log = Lines(gateway.stdout)
        self.events = Lines(gateway.stderr)
        self.events.wait(lambda line: "serving http" in line)
        addresses = json.loads(ready.read_text())
        self.public, self.admin = addresses["public"], addresses["admin"]

    def set_fault(self, service: str, fault: str, method: str = "*") -> None:
        """Let every call of the matching methods suffer a fault, until `clear_faults`."""
        self._control(
            service, lambda stub: stub.SetFault(
                faults_pb2.SetFaultRequest(method=method, fault=fault), timeout=10
            )
        )  # fmt: skip

    def clear_faults(self, service: str) -> None:
        """The service is well again."""
        self._control(
            service, lambda stub: stub.ClearFaults(faults_pb2.ClearFaultsRequest(), timeout=10)
        )

    def _control(self, service: str, ask: Callable[[Any], Any]) -> None:
        with grpc.insecure_channel(self.addresses[service]) as channel:
            ask(faults_pb2_grpc.FaultServiceStub(channel))

    def log_line(self, request_id: str) -> dict[str, Any]:
        """The access-log line of a request."""
        line = self.access_log.wait(lambda text: f'"request_id":"{request_id}"' in text, 10)
        found: dict[str, Any] = json.loads(line)
        return found
