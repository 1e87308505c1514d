"""Makes `sample_services/generated/` (message classes and service stubs) from `protos/`.

`python -m sample_services.generate` makes it anew; `ensure_generated` only where it must.
"""

import fcntl
import os
import re
import tempfile
from importlib.util import find_spec
from pathlib import Path

__all__ = ["GENERATED", "PROTOS", "ensure_generated", "generate"]

PROTOS = Path(__file__).resolve().parent.parent / "protos"
GENERATED = Path(__file__).resolve().parent / "generated"

# protoc writes imports as if its output folder were on sys.path. Ours is a package, so that
# nobody's sys.path changes and no top-level name `sample` can clash.
_OWN_IMPORT = re.compile(r"^from sample\.", re.MULTILINE)


def ensure_generated() -> None:
    """Make the classes if one is missing or older than its source.

    Safe when several processes start at once: one makes them, the others wait for it.
    Raises RuntimeError where protoc refuses a source.
    """
    if _is_fresh():
        return
    # The folder itself is the lock: it is there anyway and nobody deletes it meanwhile.
    lock = os.open(PROTOS, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Somebody else may have made them while we waited.
        if not _is_fresh():
            generate()
    finally:
        os.close(lock)


def generate() -> None:
    """Make the classes in a new folder, then put it in the place of the old one.

    Raises RuntimeError where protoc refuses a source.
    """
    # Imported here: it is needed once after a change, and costs every start otherwise.
    from grpc_tools import protoc  # noqa: PLC0415 - see the line above

    with tempfile.TemporaryDirectory(dir=GENERATED.parent, prefix=".generated-") as scratch:
        made = Path(scratch) / "new"
        made.mkdir()
        status = protoc.main(
            [
                "protoc",
                f"--proto_path={PROTOS}",
                *(f"--proto_path={path}" for path in _include_paths()),
                f"--python_out={made}",
                f"--grpc_python_out={made}",
                *(str(path.relative_to(PROTOS)) for path in _sources()),
            ]
        )
        if status != 0:
            raise RuntimeError(f"protoc refused {PROTOS} with status {status}; it said why above")
        _make_package(made)
        if GENERATED.exists():
            GENERATED.rename(Path(scratch) / "old")
        made.rename(GENERATED)


def _sources() -> list[Path]:
    return sorted(PROTOS.rglob("*.proto"))


def _include_paths() -> list[Path]:
    """Where google/protobuf (with grpc_tools) and google/api (with googleapis-common-protos) lie."""
    own = _file_of("grpc_tools.protoc").parent / "_proto"
    return [own, _file_of("google.api.annotations_pb2").parents[2]]


def _file_of(module: str) -> Path:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"{module} is not installed")
    return Path(spec.origin)


def _outputs(source: Path) -> list[Path]:
    stem = GENERATED / source.relative_to(PROTOS).with_suffix("")
    return [stem.with_name(stem.name + end) for end in ("_pb2.py", "_pb2_grpc.py")]


def _is_fresh() -> bool:
    for source in _sources():
        changed_ns = source.stat().st_mtime_ns
        for output in _outputs(source):
            if not output.exists() or output.stat().st_mtime_ns < changed_ns:
                return False
    return (GENERATED / "__init__.py").exists()


def _make_package(folder: Path) -> None:
    for path in folder.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        path.write_text(
            _OWN_IMPORT.sub("from sample_services.generated.sample.", text), encoding="utf-8"
        )
    for inner in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
        (inner / "__init__.py").touch()
