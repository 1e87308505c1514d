"""The table of commands: each is found, and none loads what another needs."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.cli import run_bff

COMMANDS = ["serve", "check", "routes", "openapi", "sdl", "demo", "keys"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_its_help(name: str) -> None:
    ended = run_bff(name, "-h")

    assert ended.exit_code == 0
    assert f"bff {name}" in ended.stdout


def test_help_lists_every_command() -> None:
    lines = run_bff("--help").stdout.splitlines()

    assert [
        line.split()[1] for line in lines if len(line.split()) > 2 and line.split()[1] in COMMANDS
    ] == COMMANDS


def test_the_version_is_said() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]

    ended = run_bff("--version")

    assert ended.exit_code == 0
    assert ended.stdout == f"bff {project['version']}\n"


def test_output_that_nobody_can_take_is_told_in_one_line() -> None:
    """As on a full disk behind `>`: no trace, and no success."""
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "bff", "--version"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert ended.returncode == 1
    assert ended.stderr == "bff: the output cannot be written: No space left on device\n"


def test_a_key_file_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no key is shown that nobody could use."""
    monkeypatch.setenv("PEPPER", "0123456789abcdef0123456789abcdef")
    file = tmp_path / "not" / "there.yaml"
    ended = run_bff("keys", "create", "--sub=a", "--pepper=env:PEPPER", f"--file={file}")

    assert ended.exit_code == 2
    assert ended.stdout == ""
    assert "there.yaml: No such file or directory; --file names another" in ended.stderr


def test_a_problem_without_a_file_begins_with_what_it_is(tmp_path: Path) -> None:
    ended = run_bff("keys", "create", "--sub=a", "--pepper=env:NOT_SET", f"--file={tmp_path}/k")

    assert ended.exit_code == 2
    assert ended.stderr.startswith("error[BFF-C018]: the environment has no NOT_SET")


def test_a_schema_that_is_not_there_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text("gateway: {name: shop}\n")
    ended = run_bff("sdl", str(tmp_path))

    assert ended.exit_code == 1
    assert "no service file has root fields of GraphQL" in ended.stderr


def test_unknown_command_is_refused_by_name() -> None:
    ended = run_bff("chek")

    assert ended.exit_code == 2
    assert "No such command 'chek'" in ended.stderr


@pytest.mark.parametrize("words", [["keys", "list", "-h"], ["demo", "-h"]])
def test_small_commands_do_not_load_the_gateway(words: list[str]) -> None:
    code = (
        "import atexit, json, sys\n"
        "from bff.cli import app\n"
        "atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))\n"
        "app()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
    )
    loaded = set(json.loads(ended.stderr))

    assert f"bff.cli.{words[0]}" in loaded
    assert loaded.isdisjoint({"bff.snapshot.compiler", "bff.app", "fastapi", "grpc", "graphql"})


@pytest.mark.parametrize("command", ["check", "serve"])
def test_a_command_loads_no_library_that_its_configuration_may_do_without(command: str) -> None:
    """Redis, HTTP/2 and the command line of CEL are loaded by whoever needs them; FastAPI by who serves."""
    code = (
        "import json, sys\n"
        "from bff.cli import app\n"
        "try:\n"
        f"    app(['{command}', '--help'])\n"
        "finally:\n"
        "    print(json.dumps(sorted(sys.modules)), file=sys.stderr)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(ended.stderr))

    assert "bff.snapshot.compiler" in loaded
    assert loaded.isdisjoint({"redis", "granian", "prompt_toolkit"})
    assert ("fastapi" in loaded) is (command == "serve")


@pytest.mark.rule("transcoding.135")
def test_routes_over_websocket_are_listed_beside_those_of_http() -> None:
    listed = json.loads(run_bff("routes", "mappings", "--json").stdout)
    lines = run_bff("routes", "mappings").stdout.splitlines()

    of_path = [row for row in listed if row["path"] == "/v1/orders:track"]
    assert [(row["method"], row["calls"], row["id"]) for row in of_path] == [
        ("POST", "orders.TrackOrders", "orders.TrackOrders"),
        ("WS", "orders.TrackOrders", "orders.TrackOrders"),
    ]
    assert {row["path"] for row in listed if row["method"] == "WS"} == {
        "/v1/orders/{order_id}:watch",
        "/v1/orders:import",
        "/v1/orders:track",
    }
    assert len([line for line in lines if line.startswith("WS ")]) == 3
