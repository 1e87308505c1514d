"""What must hold for every module: layers, imports at the top, `__all__`, docstrings on public names."""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "bff"
FILES = sorted(path for path in PACKAGE.rglob("*.py") if "static" not in path.parts)
# Nothing is imported from these: what they hold is the package's own sentence, or its start.
WITHOUT_ALL = {"__init__.py", "__main__.py"}


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def public(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """Functions and classes of a module that its `__all__` lists."""
    listed = names_in_all(tree) or []
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    yield from (n for n in tree.body if isinstance(n, kinds) and n.name in listed)


def names_in_all(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets
        ):
            return list(ast.literal_eval(node.value))
    return None


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_imports_only_point_down() -> None:
    """The layers of pyproject.toml, and no circles among siblings."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", FILES, ids=shown)
def test_every_module_says_what_it_holds_and_lists_its_public_names(path: Path) -> None:
    tree = parsed(path)
    names = names_in_all(tree)

    assert ast.get_docstring(tree), "no module docstring"
    if path.name in WITHOUT_ALL:
        return
    assert names is not None, "no __all__"
    assert len(names) == len(set(names))
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    missing = [name for name in names if not hasattr(module, name)]
    assert missing == []


@pytest.mark.parametrize("path", FILES, ids=shown)
def test_public_names_are_explained(path: Path) -> None:
    if path.name.startswith("_"):
        return
    unexplained = [
        f"{node.lineno} {node.name}" for node in public(parsed(path)) if not ast.get_docstring(node)
    ]

    assert unexplained == []


@pytest.mark.parametrize("path", FILES, ids=shown)
def test_imports_stand_at_the_top(path: Path) -> None:
    """A late import hides a circle or a cost; none is relative. What may be absent is tried for at the top."""
    tree = parsed(path)
    tried = [inner for node in tree.body if isinstance(node, ast.Try) for inner in node.body]
    top = {id(node) for node in [*tree.body, *tried]}
    late = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom) and id(node) not in top
    ]
    relative = [n.lineno for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.level]

    assert (late, relative) == ([], [])


@pytest.mark.parametrize("path", FILES, ids=shown)
def test_no_module_keeps_changing_state(path: Path) -> None:
    """`global` is the one way to rebind a module's name from inside; nobody takes it."""
    assert [n.lineno for n in ast.walk(parsed(path)) if isinstance(n, ast.Global)] == []


def test_broad_excepts_stand_where_they_may() -> None:
    """`except Exception` only where a request, a stream, a task or a start ends; each says why beside it."""
    allowed = {
        "bff/pipeline/run.py",
        "bff/pipeline/frames.py",
        "bff/app.py",
        "bff/node/node.py",
        "bff/auth/jwks.py",
        "bff/control/type_refresh.py",
        "bff/wire/grpcio.py",
    }
    found = {
        shown(path)
        for path in FILES
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id == "Exception"))
    }

    assert found <= allowed


def _layers() -> dict[str, int]:
    """Room -> its layer, the lowest 0, as pyproject.toml has them."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lines = tomllib.loads(text)["tool"]["importlinter"]["contracts"][0]["layers"]
    return {room.strip(): at for at, line in enumerate(reversed(lines)) for room in line.split("|")}


def test_late_imports_point_down_too() -> None:
    """A module that is imported by name is there, and not above or beside the room that names it."""
    layers = _layers()
    named: dict[str, set[str]] = {}
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        if "import_late(" in text and path.name != "late_import.py":
            named[shown(path)] = set(re.findall(r'"(bff(?:\.\w+)+)"', text))
        assert "import_module(" not in text or path.name == "late_import.py", shown(path)
    wrong = []
    for caller, targets in named.items():
        room = Path(caller).with_suffix("").parts[1]
        for target in targets:
            below = target.split(".")[1]
            is_there = (ROOT / Path(*target.split("."))).with_suffix(".py").is_file()
            if not is_there or (below != room and layers[below] >= layers[room]):
                wrong.append((caller, target))

    assert set(named) == {
        "bff/cli/__init__.py",
        "bff/fronts/listener.py",
        "bff/node/process.py",
        "bff/ratelimit/redis_opening.py",
    }
    assert all(named.values())
    assert wrong == []
