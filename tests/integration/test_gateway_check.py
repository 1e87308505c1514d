"""`bff check` and `bff routes`: everything that is wrong, at once and with its place."""

import json
import re
from pathlib import Path

import pytest

from tests.support.cli import run_bff

ROOT = Path(__file__).parents[2]
MAPPINGS = ROOT / "mappings"


def edited(folder: Path, *edits: tuple[str, str, str], **more: str) -> Path:
    """A copy of the sample mappings with edits (file, old text, new text) and further files."""
    target = folder / "mappings"
    target.mkdir()
    for path in MAPPINGS.glob("*.yaml"):
        text = path.read_text().replace("[../protos]", f"[{ROOT / 'protos'}]")
        (target / path.name).write_text(text)
    for name, old, new in edits:
        text = (target / name).read_text()
        assert old in text, f"{name} has no {old!r}"
        (target / name).write_text(text.replace(old, new, 1))
    for name, text in more.items():
        (target / f"{name}.yaml").write_text(text)
    return target


def findings(folder: Path) -> list[str]:
    """What check says, as `file:line:column message (hint)`; it must end with 1."""
    done = run_bff("check", str(folder), "--json")
    assert done.exit_code == 1, done.output
    return [
        f"{Path(f['file']).name}:{f['line']}:{f['column']} {f['message']} ({f['hint']})"
        for f in json.loads(done.stdout)
    ]


def test_the_sample_mappings_are_sound() -> None:
    done = run_bff("check", str(MAPPINGS))

    assert done.exit_code == 0
    assert re.match(r"sound: .*version [0-9a-f]{12}\n", done.stdout)


PROBLEMS = {
    "unknown key": (
        ("orders.yaml", "upstream: orders", "upstreem: orders"),
        r"orders.yaml:3:1 .*upstreem.*upstream",
    ),
    "unknown rpc": (
        ("orders.yaml", "rpc: GetOrder\n", "rpc: GetOrdr\n"),
        r"orders.yaml:6:10 no method GetOrdr in sample.orders.v1.OrderService.*GetOrder\b",
    ),
    "unknown service": (
        ("users.yaml", "sample.users.v1.UserService", "sample.users.v1.UsersService"),
        r"users.yaml:2:10 .*sample.users.v1.UsersService.*sample.users.v1.UserService",
    ),
    "unknown upstream": (
        ("users.yaml", "upstream: users", "upstream: user"),
        r"users.yaml:3:11 .*user.*users",
    ),
    "unknown field in a template": (
        ("orders.yaml", "- rpc: GetOrder\n", "- rpc: GetOrder\n    get: /v3/orders/{ordr_id}\n"),
        r"orders.yaml:7:\d+ .*ordr_id.*order_id",
    ),
    "broken template": (
        ("orders.yaml", "- rpc: GetOrder\n", "- rpc: GetOrder\n    get: /v3//orders\n"),
        r"orders.yaml:7:\d+ /v3//orders",
    ),
    "duplicate route": (
        (
            "orders.yaml",
            "- rpc: GetOrder\n",
            "- rpc: GetOrder\n    get: /v1/products/{order_id}\n",
        ),
        r".*/v1/products/\{.*served by .* already",
    ),
    "unknown limit": (
        ("orders.yaml", "orders-per-user,", "orders-per-usr,"),
        r"orders.yaml:7:\d+ .*orders-per-usr.*orders-per-user",
    ),
    "unknown source": (
        ("home.yaml", "orders.orders[].items[].product_id", "order.orders[].items[].product_id"),
        r"home.yaml:\d+:\d+ .*order.*orders",
    ),
    "unknown field of a reply": (
        ("home.yaml", "profile.display_name", "profile.displayname"),
        r"home.yaml:\d+:\d+ .*displayname.*display_?[nN]ame",
    ),
    "unknown operation": (
        ("home.yaml", "rpc: users.GetUser", "rpc: users.GetUsr"),
        r"home.yaml:\d+:\d+ .*users.GetUsr.*users.GetUser",
    ),
    "condition that does not compile": (
        ("orders.yaml", "auth.sub == path.user_id", "auth.sub = path.user_id"),
        r"orders.yaml:9:\d+ ",
    ),
    "missing folder of protos": (
        ("gateway.yaml", str(ROOT / "protos"), "../prots"),
        r"gateway.yaml:8:\d+ there is no \.\./prots",
    ),
    "YAML": (("users.yaml", "routes:", "routes: ["), r"users.yaml:\d+:\d+ "),
}


@pytest.mark.parametrize(("edit", "wanted"), PROBLEMS.values(), ids=PROBLEMS)
def test_a_mistake_is_found_with_its_place(
    tmp_path: Path, edit: tuple[str, str, str], wanted: str
) -> None:
    found = findings(edited(tmp_path, edit))

    assert any(re.match(wanted, line) for line in found), found


def test_all_mistakes_are_told_together(tmp_path: Path) -> None:
    """In several files and of several kinds, in the order of files and lines."""
    folder = edited(
        tmp_path,
        ("orders.yaml", "rpc: GetOrder\n", "rpc: GetOrdr\n"),
        ("orders.yaml", "rpc: GetInvoice", "rpc: GetInvoize"),
        ("users.yaml", "rpc: BatchGetUsers", "rpc: BatchGetUser"),
        ("home.yaml", "profile.display_name", "profile.displayname"),
    )

    done = run_bff("check", str(folder))

    assert done.exit_code == 1
    for word in ("GetOrdr", "GetInvoize", "BatchGetUser", "displayname"):
        assert word in done.stderr
    assert "4 problems" in done.stderr
    assert "Traceback" not in done.output
    # People get the line itself with a caret under the fault.
    assert re.search(r"\n +- rpc: GetOrdr\n +\^", done.stderr)


def test_a_proto_with_an_error_is_told_by_its_line(tmp_path: Path) -> None:
    protos = tmp_path / "protos"
    protos.mkdir()
    (protos / "own.proto").write_text(
        'syntax = "proto3";\npackage own;\nimport "other.proto";\nmessage A {\n  strin b = 1;\n}\n'
    )
    folder = edited(tmp_path, ("gateway.yaml", str(ROOT / "protos"), str(protos)))

    found = findings(folder)

    assert any("own.proto:3:" in line and "other.proto" in line for line in found), found


def test_routes_lists_what_is_served_and_who_may() -> None:
    done = run_bff("routes", str(MAPPINGS), "--json")

    assert done.exit_code == 0
    rows = {(row["method"], row["path"]): row for row in json.loads(done.stdout)}
    row = rows["GET", "/v1/users/{user_id}/orders"]
    assert (row["calls"], row["auth"]) == ("orders.ListOrders", "required orders.read when")
    assert rows["GET", "/v1/products/{product_id}"]["auth"] == "open"
    assert "orders-per-user" in rows["GET", "/v1/orders/{order_id}"]["limits"]
    assert ("GET", "/v1/mobile/home") in rows


@pytest.mark.parametrize("command", ["check", "routes", "openapi", "sdl"])
def test_a_folder_that_is_not_there_is_no_traceback(tmp_path: Path, command: str) -> None:
    done = run_bff(command, str(tmp_path / "nothing"))

    assert done.exit_code == 1
    assert "there is no such file or folder" in done.stderr
    assert "Traceback" not in done.output
