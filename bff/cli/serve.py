"""`bff serve`: one node - workers for traffic, and a small process for health, metrics and the watch."""

import contextlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NoReturn

import msgspec
import typer

from bff.app import WorkerSettings, worker_app
from bff.cli.offline import Judged, compile_held
from bff.cli.report import errors, print_problems
from bff.config.documents import Document, Placed
from bff.config.gateway import GatewayFile, Listener
from bff.control.accepted import pack, write_accepted
from bff.control.held_types import HeldTypes
from bff.core.errors import ConfigError
from bff.fronts.listen_ports import hold_port, why_not_bindable
from bff.fronts.listener import check_tls
from bff.fronts.listener_settings import ListenerSettings, ListenerTls
from bff.node.node import Checked, NodeSettings
from bff.node.process import run_node
from bff.ratelimit.redis_opening import load_redis
from bff.ratelimit.shared_store import create_table
from bff.snapshot.moved_switches import switch_texts
from bff.snapshot.route_difference import fingerprints
from bff.snapshot.type_sources import files_of_types
from bff.snapshot.upstreams import tls_files
from bff.transcoding.reflection_process import ReflectionFetch
from bff.transcoding.type_sets import KnownTypes

__all__ = ["serve"]

_REFUSED = 2


def serve(
    mappings: Annotated[Path, typer.Argument(help="Folder of mapping files.")] = Path("mappings"),
    watch: Annotated[bool, typer.Option(help="Take changed files over while serving.")] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Worker processes; default: what the file says.")
    ] = None,
    ready_file: Annotated[
        Path | None, typer.Option(help="Written as JSON once traffic is taken: the addresses.")
    ] = None,
) -> None:
    """Serve the mapped routes. Exit 2: refused to start, with every reason."""
    _prepare_ready(ready_file)
    ask = ReflectionFetch()
    held = HeldTypes(fetch=lambda source: ask(source.target), end=ask.end)
    types = KnownTypes()
    gateway, first, watched = _judge_first(mappings, held, types)
    settings = _node_settings(gateway, first.version, watched if watch else (), workers)
    with _own_folder() as folder:
        accepted = Path(folder) / "accepted"
        buckets = ""
        with _told_if_full(folder):
            write_accepted(accepted, first.content)
            if settings.listener.workers > 1:
                # Connections spread over workers, so a bucket must be one for all of them.
                buckets = str(accepted.with_name("buckets"))
                create_table(Path(buckets))
        # Workers read it from the file, once.
        first = msgspec.structs.replace(first, content=b"")
        code = _run(gateway, settings, mappings, ready_file, accepted, buckets, held, types, first)
    raise typer.Exit(code)


def _judge_first(
    mappings: Path, held: HeldTypes, types: KnownTypes
) -> tuple[Placed[GatewayFile], Checked, tuple[Path, ...]]:
    """The gateway's file, what the node keeps of its first version, and the files to watch.

    Nothing else of the configuration but its types outlives this: workers load it from the accepted version.
    """
    try:
        judged = compile_held(mappings, held, types)
    except ConfigError as error:
        print_problems(error.problems)
        count = len(error.problems)
        errors.print(f"not started: {count} problem{'s' if count != 1 else ''}", style="red")
        raise typer.Exit(_REFUSED) from None
    print_problems(judged.compiled.warnings)
    if why := held.accept(judged.sources):
        errors.print(
            f"types of services cannot be stored for the next start: {why}", style="yellow"
        )
    return judged.document.gateway, _checked(judged), _watched(judged.document, mappings)


def _run(
    placed: Placed[GatewayFile],
    settings: NodeSettings,
    mappings: Path,
    ready_file: Path | None,
    accepted: Path,
    buckets: str,
    held: HeldTypes,
    types: KnownTypes,
    first: Checked,
) -> int:
    if placed.value.limiter.store != "memory":
        load_redis()
    hash_key = secrets.token_bytes(32)

    def load_app(link: str, metrics_folder: str) -> object:
        return worker_app(
            WorkerSettings(
                accepted=str(accepted),
                link=link,
                metrics_folder=metrics_folder,
                shared_buckets=buckets,
                user_hash_key=hash_key,
            ),
            types,
        )

    started_with = _fixed_at_start(placed.value)

    def check() -> Checked:
        try:
            judged = compile_held(mappings, held, types)
        except ConfigError as error:
            return Checked(problems=tuple(error.problems))
        fixed = _fixed_at_start(judged.document.gateway.value)
        changed = tuple(key for key, value in fixed.items() if started_with[key] != value)
        return msgspec.structs.replace(_checked(judged), needs_restart=changed)

    def on_ready() -> None:
        _say_ready(settings, ready_file)

    return run_node(
        settings,
        load_app=load_app,
        check=check,
        held=held,
        first=first,
        on_ready=on_ready,
        accepted=accepted,
    )


def _checked(judged: Judged) -> Checked:
    return Checked(
        version=judged.compiled.tools.version,
        content=pack(judged.document, judged.sources, judged.compiled.openapi),
        sources=judged.sources,
        routes=fingerprints(judged.compiled),
        switches=switch_texts(judged.compiled),
        refused=judged.refused,
    )


def _fixed_at_start(file: GatewayFile) -> dict[str, object]:
    """What a running node cannot take over: sockets and processes are made once."""
    gateway = file.gateway
    return {
        "gateway.listen": gateway.listen,
        "gateway.admin": gateway.admin,
        "gateway.workers": gateway.workers,
        "gateway.drain": gateway.drain,
    }


def _own_folder() -> tempfile.TemporaryDirectory[str]:
    """Where the accepted version and the buckets lie while the node runs."""
    try:
        return tempfile.TemporaryDirectory(prefix="bff-run-")
    except OSError as error:
        _refuse(
            f"no folder for the node's own files: {error.strerror}; set TMPDIR to one with room"
        )


@contextlib.contextmanager
def _told_if_full(folder: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        _refuse(
            f"the node's own files cannot be written in {folder}: {error.strerror}; "
            "make room there, or set TMPDIR to a folder that has it"
        )


def _prepare_ready(ready_file: Path | None) -> None:
    """See now that it can be written, and let none of an earlier start be taken for ours."""
    if ready_file is None:
        return
    try:
        partial = _partial(ready_file)
        partial.touch()
        partial.unlink()
        ready_file.unlink(missing_ok=True)
    except OSError as error:
        _refuse(f"--ready-file {ready_file} cannot be written: {error.strerror}")


def _partial(ready_file: Path) -> Path:
    return ready_file.with_name(ready_file.name + ".partial")


def _say_ready(settings: NodeSettings, ready_file: Path | None) -> None:
    listener = settings.listener
    scheme = "https" if listener.tls else "http"
    public = f"{scheme}://{_shown(listener.host)}:{listener.port}"
    admin = f"http://{_shown(settings.admin_host)}:{settings.admin_port}"
    if ready_file is not None:
        text = msgspec.json.encode({"public": public, "admin": admin, "pid": os.getpid()})
        try:
            partial = _partial(ready_file)
            partial.write_bytes(text)
            partial.rename(ready_file)
        except OSError as error:
            # It could be when we started. What serves is not ended for it.
            errors.print(
                f"--ready-file {ready_file} cannot be written: {error.strerror}", style="red"
            )
    errors.print(
        f"serving {public}  admin {admin}  version {settings.version}  workers {listener.workers}",
        style="green",
    )


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _node_settings(
    placed: Placed[GatewayFile], version: str, watched: tuple[Path, ...], workers: int | None
) -> NodeSettings:
    gateway = placed.value.gateway
    if len(gateway.listen) > 1:
        _refuse("several `listen` entries are not built in this version; keep one")
    entry = gateway.listen[0]
    host, port = _address(entry.address)
    admin_host, admin_port = _address(gateway.admin.address)
    port = port or hold_port(host)
    admin_port = admin_port or hold_port(admin_host)
    for one_host, one_port in ((host, port), (admin_host, admin_port)):
        why = why_not_bindable(one_host, one_port)
        if why:
            _refuse(f"{why}; stop what listens there or change gateway.listen or gateway.admin")
    return NodeSettings(
        listener=ListenerSettings(
            host=host,
            port=port,
            workers=workers or gateway.workers or os.cpu_count() or 1,
            http=str(entry.http),
            tls=_tls(placed, entry),
            behind_proxy=bool(gateway.trusted_proxies),
            finish_s=gateway.drain.finish,
        ),
        admin_host=admin_host,
        admin_port=admin_port,
        grace_s=gateway.drain.grace,
        version=version,
        watched=watched,
    )


def _watched(document: Document, mappings: Path) -> tuple[Path, ...]:
    """The mapping files, whatever on disk the types come from, and certificates of upstreams."""
    types = (path.resolve() for path in files_of_types(document))
    # As written: where certificates are mounted, what changes is a link beside them.
    certificates = (path.absolute() for path in tls_files(document.gateway))
    return (mappings.resolve(), *types, *certificates)


def _tls(placed: Placed[GatewayFile], entry: Listener) -> ListenerTls | None:
    if entry.tls is None:
        return None
    cert = placed.resolve(entry.tls.cert, "gateway", "listen", 0, "tls", "cert")
    kind, _, name = entry.tls.key.text.partition(":")
    if kind != "file":
        _refuse("listen[0].tls.key: the server reads keys from files; write file:/path")
    tls = ListenerTls(cert=str(cert), key=name, min_version=entry.tls.min)
    why = check_tls(tls)
    if why:
        _refuse(why)
    return tls


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def _refuse(why: str) -> NoReturn:
    errors.print(f"not started: {why}", style="red")
    raise typer.Exit(_REFUSED)
