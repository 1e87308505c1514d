"""The documents are held to the code: links, names, commands, configurations, tables."""

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer

from benchmarks.readme import with_figures
from benchmarks.report import markdown, read_latest, rows_of_contenders, svg
from bff.cli import app
from bff.config.gateway import Drain
from bff.config.load import load
from bff.config.not_built import NOT_BUILT, NOT_BUILT_VALUES
from bff.core.status import REASONS, Code
from bff.telemetry.access_log import AccessLine
from bff.telemetry.families import FAMILIES
from tests.support.render_errors import PAGE, TO_COME, render_errors

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("deploy/*.md")],
    key=lambda page: page.relative_to(ROOT).as_posix(),
)
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}
LIFE = TEXTS["docs/life-of-a-request.md"]
OPERATIONS = TEXTS["docs/operations.md"]

_FENCE = re.compile(r"^```(\S*)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
_PLACE = re.compile(r"`(bff/[\w/]+\.py):([\w.]+)`")
_FILE = re.compile(r"`((?:bff|tests|sample_services|mappings|protos|deploy|docs)/[\w./-]+)`")
_BFF = re.compile(r"(?:^|`)\$? ?(bff(?: [^`\n|&;#]*)?)", re.MULTILINE)
_MAKE = re.compile(r"\bmake ([a-z]+)\b(?=[`\s:]|$)")
_REASON = re.compile(r"`([A-Z][A-Z]+(?:_[A-Z]+)+)`")

every_page = pytest.mark.parametrize("name", TEXTS, ids=str)


def prose_of(text: str) -> str:
    return _FENCE.sub("", text)


def headings_of(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", prose_of(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@every_page
def test_relative_link_resolves(name: str) -> None:
    """A link leads to a file of the repository and, with #, to a heading in it."""
    page = ROOT / name

    broken = []
    for link in _LINK.findall(prose_of(TEXTS[name])):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not _has_anchor(target, anchor):
            broken.append(link)

    assert broken == []


def _has_anchor(target: Path, anchor: str) -> bool:
    if not target.exists() or not target.is_relative_to(ROOT):
        return False
    return not anchor or anchor in headings_of(target.read_text(encoding="utf-8"))


def test_each_rule_of_the_lane_names_tests_that_are_there() -> None:
    """docs/wire.md is a table of rules with their tests; a test that is renamed is missed here."""
    told = set(re.findall(r"`(test_\w+)`", TEXTS["docs/wire.md"]))
    there = {
        name
        for file in ROOT.glob("tests/**/test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", file.read_text(), re.MULTILINE)
    }

    assert len(told) > 100
    assert told - there == set()


@every_page
def test_file_named_in_prose_exists(name: str) -> None:
    named = _FILE.findall(prose_of(TEXTS[name]))

    missing = [path for path in named if not (ROOT / path).exists()]

    assert missing == []


@cache
def names_in(file: str) -> frozenset[str]:
    found: set[str] = set()

    def walk(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                found.add(prefix + child.name)
                if isinstance(child, ast.ClassDef):
                    walk(child, f"{prefix}{child.name}.")

    walk(ast.parse((ROOT / file).read_text(encoding="utf-8")), "")
    return frozenset(found)


@every_page
def test_function_named_with_its_file_is_there(name: str) -> None:
    """`file:function` in a page names a class or function that stands in that file."""
    missing = [
        f"{file}:{qualified}"
        for file, qualified in _PLACE.findall(TEXTS[name])
        if not (ROOT / file).exists() or qualified not in names_in(file)
    ]

    assert missing == []


def test_life_of_a_request_names_every_stage_of_the_line() -> None:
    """Each function that `run` calls, in its order, and each word that the log may show as stage."""
    run = ast.parse((ROOT / "bff/pipeline/run.py").read_text(encoding="utf-8"))
    line = next(n for n in run.body if isinstance(n, ast.AsyncFunctionDef) and n.name == "run")
    called = [
        node.func.id
        for statement in line.body
        for node in ast.walk(statement)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    steps = [
        min(_first(LIFE, f"inbound.py:{name}`"), _first(LIFE, f"outbound.py:{name}`"))
        for name in called
    ]
    assert called
    assert steps == sorted(steps)
    assert steps[-1] < len(LIFE)

    stages = {
        stage
        for file in ROOT.glob("bff/**/*.py")
        for stage in re.findall(r'\.stage = "(\w+)"', file.read_text(encoding="utf-8"))
    }
    assert {stage for stage in stages if f"| `{stage}` |" not in LIFE} == set()


def _first(text: str, part: str) -> int:
    at = text.find(part)
    return len(text) if at < 0 else at


@every_page
def test_reason_named_in_a_page_is_in_the_table(name: str) -> None:
    codes = {code.name for code in Code}

    unknown = set(_REASON.findall(TEXTS[name])) - set(REASONS) - codes

    assert unknown == set()


def commands_of(text: str) -> Iterator[list[str]]:
    shown = [body for kind, _, body in _FENCE.findall(text) if kind in {"sh", "console", "text"}]
    for part in (prose_of(text), *shown):
        for command in _BFF.findall(part):
            words = command.split()
            if words[0] == "bff" and len(words) > 1 and re.fullmatch(r"[a-z]+", words[1]):
                yield words


def fault_of_command(words: list[str]) -> str:
    """What is wrong with a command line, by the command's own options; empty if nothing."""
    command: Any = typer.main.get_command(app)
    rest = words[1:]
    while rest and hasattr(command, "get_command"):
        command = command.get_command(None, rest.pop(0))
        if command is None:
            return f"{' '.join(words)}: no such command"
    known = {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
    unknown = [
        word for word in rest if word.startswith("-") and word.partition("=")[0] not in known
    ]
    return f"{' '.join(words)}: no {unknown}" if unknown else ""


@every_page
def test_bff_command_in_a_page_exists(name: str) -> None:
    """Each command and option that a page shows is one that the command line has."""
    faults = [fault for words in commands_of(TEXTS[name]) if (fault := fault_of_command(words))]

    assert faults == []


def test_readme_shows_commands_that_the_check_reads() -> None:
    """The reader of commands finds them, so the test above cannot pass on nothing."""
    found = {words[1] for words in commands_of(TEXTS["README.md"])}

    assert {"serve", "check", "routes", "openapi", "sdl", "keys"} <= found


def test_unknown_command_and_option_are_noticed() -> None:
    assert fault_of_command(["bff", "serf"])
    assert fault_of_command(["bff", "serve", "mappings/", "--wotch"])
    assert not fault_of_command(["bff", "serve", "mappings/", "--watch"])


@every_page
def test_make_target_in_a_page_exists(name: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    shown = [body for kind, _, body in _FENCE.findall(TEXTS[name]) if kind in {"sh", "console"}]
    inline = re.findall(r"`(make [a-z]+)`", TEXTS[name])

    named = {target for text in (*shown, *inline) for target in _MAKE.findall(text)}

    assert named <= targets


COMPLETE = [
    pytest.param(body, id=f"{name}-{number}")
    for name, text in TEXTS.items()
    for number, (kind, marks, body) in enumerate(_FENCE.findall(text))
    if kind == "yaml" and "complete" in marks.split()
]


@pytest.mark.parametrize("text", COMPLETE)
def test_configuration_marked_complete_loads(text: str, tmp_path: Path) -> None:
    """A block with the mark `complete` is a configuration that `bff check` reads as it stands."""
    (tmp_path / "protos").mkdir()
    folder = tmp_path / "mappings"
    folder.mkdir()
    (folder / "gateway.yaml").write_text(text, encoding="utf-8")

    assert load(folder).gateway.value.upstreams


def test_a_configuration_is_marked_complete() -> None:
    assert COMPLETE


@pytest.mark.parametrize("name", ["docs/standards.md", "CHANGELOG.md"])
def test_what_a_page_calls_not_built_is_refused_by_the_loader(name: str) -> None:
    """Who builds a feature takes its key out of `config.not_built`, and then these pages have to say so."""
    refused = {
        key for table in (NOT_BUILT, NOT_BUILT_VALUES) for keys in table.values() for key in keys
    }
    named = re.findall(r"`([\w.]+)` not built", TEXTS[name])

    built_by_now = [key for key in named if key.rpartition(".")[2] not in refused]

    assert named
    assert built_by_now == []


def test_errors_page_is_what_the_table_gives() -> None:
    """docs/errors.md is rendered; `python -m tests.support.render_errors` writes it anew."""
    assert PAGE.read_text(encoding="utf-8") == render_errors()


def test_reasons_to_come_are_those_that_nothing_ends_with() -> None:
    """A reason that the code gets, or loses, changes its table in docs/errors.md."""
    files = [file for file in ROOT.glob("bff/**/*.py") if file.name != "status.py"]
    source = "\n".join(file.read_text(encoding="utf-8") for file in files)
    # As the key of a table a reason is translated, and not said.
    said = {reason for reason in REASONS if re.search(rf'"{reason}"(?!:)', source)}

    assert set(REASONS) - said - {code.name for code in Code} == TO_COME


def test_every_metric_has_its_line_in_operations() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", OPERATIONS, re.MULTILINE)
    metrics = [name for name in listed if name.startswith(("bff_", "http_", "rpc_"))]

    assert sorted(metrics) == sorted(FAMILIES)


def test_metrics_that_nobody_counts_are_told_apart() -> None:
    """A metric is marked "not counted yet" if, and only if, no code but its declaration names it."""
    code = "\n".join(
        file.read_text(encoding="utf-8")
        for file in ROOT.glob("bff/**/*.py")
        if file.name != "families.py"
    )
    idle = {name for name in FAMILIES if f'"{name}"' not in code}

    marked = re.findall(r"^\| `(\w+)` \|.*not counted yet", OPERATIONS, re.MULTILINE)

    assert set(marked) == idle


def test_every_event_has_its_line_in_operations() -> None:
    """Each name that the code gives to an event line stands in the table of events."""
    start = OPERATIONS.index("## Events")
    section = OPERATIONS[start : OPERATIONS.index("\n## ", start + 1)]
    listed = {
        name
        for row in re.findall(r"^\| (`.+?) \|", section, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    }

    assert _event_names() == listed


def _event_names() -> set[str]:
    names = {"breaker_moved", "keys_fetched"}
    for file in ROOT.glob("bff/**/*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            called = getattr(node.func, "id", getattr(node.func, "attr", ""))
            first = node.args[0]
            is_event = called in {"Noted", "note", "_note"} and isinstance(first, ast.Constant)
            if is_event and isinstance(first.value, str):  # type: ignore[attr-defined]  # a constant
                names.add(first.value)  # type: ignore[attr-defined]  # a constant
    return names


def test_every_field_of_the_access_log_has_its_line_in_operations() -> None:
    """The field list is a contract, so the page has all of it, in order."""
    start = OPERATIONS.index("## Access log")
    section = OPERATIONS[start : OPERATIONS.index("\n## ", start + 1)]
    listed = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)

    assert listed == [field.name for field in msgspec.structs.fields(AccessLine)]


def test_access_line_shown_in_readme_has_the_fields_of_the_contract() -> None:
    line = next(
        body for kind, _, body in _FENCE.findall(TEXTS["README.md"]) if '"request_id"' in body
    )

    assert list(msgspec.json.decode(line)) == [f.name for f in msgspec.structs.fields(AccessLine)]


def test_changelog_speaks_of_the_version_that_is_packaged() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert f"## [{project['version']}]" in TEXTS["CHANGELOG.md"]


def seconds_of(text: str) -> float:
    found = re.fullmatch(r"(\d+)(ms|s|m|min)?", text)
    assert found, text
    return int(found[1]) * {"ms": 0.001, "s": 1, None: 1, "m": 60, "min": 60}[found[2]]


def unit_value(key: str) -> str:
    unit = (ROOT / "deploy/bff.service").read_text(encoding="utf-8")
    found = re.search(rf"^{key}=(.+)$", unit, re.MULTILINE)
    assert found, f"bff.service has no {key}"
    return found[1]


# granian is killed this much after drain.finish at the latest (fronts.listener_process), and interpreters need to end.
_END_S = 5 + 3


def test_systemd_waits_longer_than_a_drain_takes() -> None:
    drain = Drain()

    stop_s = seconds_of(unit_value("TimeoutStopSec"))

    assert stop_s > drain.grace + drain.finish + _END_S
    assert unit_value("KillSignal") == "SIGTERM"
    # The node ends its own workers in order; a signal to all of them at once would skip that.
    assert unit_value("KillMode") == "mixed"


def test_systemd_does_not_restart_what_refuses_its_configuration() -> None:
    """Exit 2 means bad files or wrong usage: starting again changes nothing."""
    assert unit_value("RestartPreventExitStatus") == "2"


def test_dockerfile_says_how_long_to_wait_and_ends_by_sigterm() -> None:
    """The command is the process itself, so that SIGTERM reaches it; nobody is root."""
    text = (ROOT / "deploy/Dockerfile").read_text(encoding="utf-8")
    drain = Drain()

    stage = text[text.rindex("\nFROM ") :]
    label = re.search(r'stop-timeout-s="(\d+)"', stage)

    assert label
    assert int(label[1]) > drain.grace + drain.finish + _END_S
    assert "STOPSIGNAL SIGTERM" in stage
    assert re.search(r'^ENTRYPOINT \["bff"', stage, re.MULTILINE)
    assert re.search(r"^USER [1-9]\d*", stage, re.MULTILINE)


def test_dockerfile_copies_what_exists() -> None:
    text = (ROOT / "deploy/Dockerfile").read_text(encoding="utf-8")
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE)
        for source in line.split()[:-1]
        if not source.startswith("--")
    ]

    assert copied
    assert [source for source in copied if not (ROOT / source).exists()] == []


def test_the_figures_shown_are_those_of_the_latest_report() -> None:
    """Page, chart and README say what results/latest.json says; `python -m benchmarks.report --readme` writes them."""
    latest = read_latest()
    results = ROOT / "benchmarks" / "results"

    readme = with_figures(TEXTS["README.md"], latest, rows_of_contenders(latest))

    assert readme == TEXTS["README.md"]
    assert markdown(latest) == (results / "latest.md").read_text(encoding="utf-8")
    assert svg(latest) == (results / "latest.svg").read_text(encoding="utf-8")
