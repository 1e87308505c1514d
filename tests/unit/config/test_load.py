"""Files to a document: kinds, merging, positions, and what YAML may not do."""

import json
import os
from pathlib import Path

import pytest

from bff.config.load import load
from bff.config.policies import Caps, GatewayCaps
from bff.config.units import Rate
from bff.core.errors import ConfigError
from bff.core.problems import Where
from tests.support.config_files import SHOP, lines, loaded, problems, write


def test_the_smallest_complete_configuration_loads(tmp_path: Path) -> None:
    document = loaded(
        tmp_path,
        """
        gateway:
          protos: [../protos]
          listen: 127.0.0.1:8080
          admin: 127.0.0.1:9901
        upstreams:
          orders: {endpoints: [127.0.0.1:50051]}
        """,
        "service: sample.orders.v1.OrderService\nupstream: orders\nroutes: annotations",
    )

    gateway = document.gateway.value
    assert gateway.gateway.listen[0].address == "127.0.0.1:8080"
    assert gateway.upstreams["orders"].endpoints[0].target == "127.0.0.1:50051"
    assert [route.rpc for route in document.services[0].value.routes] == ["*"]
    assert gateway.deadline == 5.0
    assert gateway.tiers["guest"].rate == Rate(60, 60.0)


@pytest.mark.rule("control.CF1")
def test_gateway_blocks_of_several_files_make_one_and_keep_their_places(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        {
            "a.yaml": SHOP,
            "team/b.yaml": "limits:\n  slow: {rate: 1/s}\n",
            "team/c.json": json.dumps({"tiers": {"gold": "9/s"}}),
        },
    )

    document = load(folder)

    assert document.gateway.value.limits["slow"].rate == Rate(1, 1.0)
    assert set(document.gateway.value.tiers) == {"guest", "standard", "premium", "gold"}
    where = document.gateway.where("limits", "slow", "rate")
    assert (Path(where.file).name, where.line, where.column) == ("b.yaml", 2, 16)
    assert document.gateway.where("limits", "slow", "burst").line == 2
    assert document.gateway.resolve("x.pem", "limits") == folder / "team" / "x.pem"
    assert [path.name for path in document.files] == ["a.yaml", "b.yaml", "c.json"]


def test_folders_and_files_of_other_kinds_are_not_mappings(tmp_path: Path) -> None:
    """So is the key file that `auth` names, wherever it lies."""
    junk = "- this is no mapping"
    folder = write(
        tmp_path,
        {
            "gateway.yaml": SHOP + "auth: {api_keys: {file: keys.yaml}}",
            "keys.yaml": junk,
            "tests/a.yaml": junk,
            "environments/prod.yaml": junk,
            "lint-ignore.yaml": junk,
            "graphql.lock.yaml": junk,
            ".hidden.yaml": junk,
            "notes.txt": junk,
        },
    )

    assert [path.name for path in load(folder).files] == ["gateway.yaml"]


def test_one_file_loads_by_itself(tmp_path: Path) -> None:
    write(tmp_path, {"one.yaml": SHOP, "other.yaml": "broken: ["})

    assert "orders" in load(tmp_path / "one.yaml").gateway.value.upstreams


@pytest.mark.parametrize("missing", ["nowhere", "empty"])
def test_a_start_without_mappings_is_a_problem(tmp_path: Path, missing: str) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(ConfigError) as refused:
        load(tmp_path / missing)

    assert [problem.code for problem in refused.value.problems] == ["BFF-C006"]


@pytest.mark.rule("control.CF1")
@pytest.mark.parametrize(
    ("documents", "place", "what"),
    [
        (("limits: {}", "limits: {}"), "3:1", "the block `limits` is defined twice"),
        (
            (SHOP, "service: a.B\nupstream: orders", "service: a.B\nupstream: orders"),
            "9:1",
            "`service: a.B` is defined twice",
        ),
        (
            (SHOP, *["aggregate: GET /a\nsources: {x: {rpc: orders.Get}}"] * 2),
            "9:1",
            "`aggregate: GET /a` is defined twice",
        ),
    ],
    ids=["block", "service", "aggregate"],
)
def test_one_name_defined_twice_shows_both_places(
    tmp_path: Path, documents: tuple[str, ...], place: str, what: str
) -> None:
    found = problems(tmp_path, *documents)

    assert [problem.code for problem in found] == ["BFF-C009"]
    assert str(found[0].where).endswith(f"gateway.yaml:{place}")
    assert what in found[0].message
    assert "gateway.yaml:" in found[0].hint


@pytest.mark.rule("control.CF2")
@pytest.mark.parametrize(
    ("text", "place", "code", "says"),
    [
        ("a: [1", "1:6", "BFF-C001", "this is not YAML"),
        ("gateway:\n\tname: x", "2:1", "BFF-C001", "this is not YAML"),
        ("name: \x07", "1:7", "BFF-C001", "U+0007"),
        ("? [a]\n: 1", "1:3", "BFF-C001", "a key must be plain text"),
        ("%YAML 1.1\n---\nlimits: {}", "2:1", "BFF-C001", "only YAML 1.2"),
        ("limits: {}\nlimits: {}", "2:1", "BFF-C002", "`limits` is written twice"),
        ("gateway: {name: !!str x}", "1:17", "BFF-C003", "tags"),
        ("gateway: !env x", "1:10", "BFF-C003", "tags"),
        ("gateway: {name: *no}", "1:17", "BFF-C004", "has no anchor above it"),
        ("x-a: &a [*a]", "1:10", "BFF-C004", "within its own anchor"),
        ("x-a: &a {name: b}\ngateway: {<<: *a}", "2:11", "BFF-C004", "merge keys"),
        ("gateway: " + "[" * 40, "1:41", "BFF-C005", "deeper than 32"),
        ("gateway: {workers: 99999999999999999999}", "1:20", "BFF-C007", "too large"),
        ("gateway: {workers: .inf}", "1:20", "BFF-C007", "only finite"),
        ("gateway: {workers: 1e999}", "1:20", "BFF-C007", "only finite"),
        ("- a", "1:1", "BFF-C008", "a block of keys"),
        ("just text", "1:1", "BFF-C008", "a block of keys"),
    ],
)
def test_yaml_is_tamed(tmp_path: Path, text: str, place: str, code: str, says: str) -> None:
    (tmp_path / "m.yaml").write_text(text)

    with pytest.raises(ConfigError) as refused:
        load(tmp_path)

    first = refused.value.problems[0]
    assert (str(first.where).rpartition("m.yaml:")[2], first.code) == (place, code)
    assert says in first.message


def test_aliases_cannot_blow_a_file_up(tmp_path: Path) -> None:
    """Ten lines that would stand for 10^9 values are refused, and quickly."""
    levels = [f"  - &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    found = problems(tmp_path, "x-a:\n  - &a0 x\n" + "\n".join(levels))

    assert [problem.code for problem in found] == ["BFF-C004"]


def test_an_anchor_under_an_x_key_serves_many(tmp_path: Path) -> None:
    document = loaded(
        tmp_path,
        """
        x-common: &local [127.0.0.1:1]
        upstreams:
          x-note: ours
          a: {endpoints: *local, x-owner: team-a}
          b: {endpoints: *local}
        """,
    )

    assert set(document.gateway.value.upstreams) == {"a", "b"}


def test_words_that_yaml_1_1_took_for_booleans_stay_text(tmp_path: Path) -> None:
    document = loaded(tmp_path, "gateway: {name: yes, domain: off}\nlimits: {no: {rate: 1/s}}")

    assert document.gateway.value.gateway.name == "yes"
    assert document.gateway.value.gateway.domain == "off"
    assert "no" in document.gateway.value.limits
    assert (
        "expected true or false, got the text 'True'"
        in lines(problems(tmp_path, "graphql: {graphiql: True}"))[0]
    )


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"a: \xff", "not UTF-8"), (b"# " + b"x" * (8 << 20), "larger than 8 MiB")],
)
def test_a_file_that_is_no_sensible_text_is_refused(
    tmp_path: Path, content: bytes, says: str
) -> None:
    (tmp_path / "m.yaml").write_bytes(content)

    with pytest.raises(ConfigError) as refused:
        load(tmp_path)

    assert [problem.code for problem in refused.value.problems] == ["BFF-C006"]
    assert says in refused.value.problems[0].message


@pytest.mark.parametrize(
    ("content", "line", "column", "shown"),
    [
        pytest.param(b"a: 1\r\nbc\xc3\xa4\xff", 2, 4, "", id="no-utf-8"),
        pytest.param(b"a: 1\rb: 2\rc: \x07", 3, 4, "c: \x07", id="carriage-returns"),
        pytest.param(
            b'a: 1\nb: "\\UFFFFFFFF"', 2, 5, 'b: "\\UFFFFFFFF"', id="escape-of-no-character"
        ),
        pytest.param("a: '\u2028'\nb: : c".encode(), 2, 4, "b: : c", id="line-separator"),
        pytest.param("a: '\x85'\nb: : c".encode(), 2, 4, "b: : c", id="next-line"),
    ],
)
def test_lines_are_counted_as_yaml_and_editors_do(
    tmp_path: Path, content: bytes, line: int, column: int, shown: str
) -> None:
    (tmp_path / "m.yaml").write_bytes(content)

    with pytest.raises(ConfigError) as refused:
        load(tmp_path)

    problem = refused.value.problems[0]
    assert (problem.where.line, problem.where.column) == (line, column)
    assert problem.line_text == shown


def test_every_problem_of_every_file_comes_at_once_in_order(tmp_path: Path) -> None:
    """A typo does not hide an unknown name in another file."""
    folder = write(
        tmp_path,
        {
            "a.yaml": "upstreams: {orders: {endpoints: ['127.0.0.1:1'], timeot: 1s}}",
            "b.yaml": "service: a.B\nupstream: order\nroutes: [{rpc: A, deadline: 5}]",
            "c.yaml": "aggregate: GET /a\nsources: {x: {rpc: users.Get}}",
        },
    )

    with pytest.raises(ConfigError) as refused:
        load(folder)

    assert [Path(p.where.file).name + " " + p.path for p in refused.value.problems] == [
        "a.yaml upstreams.orders.timeot",
        "b.yaml upstream",
        "b.yaml routes[0].deadline",
        "c.yaml sources.x.rpc",
    ]


@pytest.mark.rule("control.CF3")
def test_a_problem_has_place_path_line_code_and_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"m/orders.yaml": "service: a.B\nupstream: orders\nroutes:\n  - rcp: Get\n"})
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ConfigError) as refused:
        load(tmp_path / "m")

    problem = next(p for p in refused.value.problems if p.code == "BFF-C010")
    assert problem.where == Where("m/orders.yaml", 4, 5)
    assert (problem.path, problem.line_text) == ("routes[0].rcp", "  - rcp: Get")
    assert problem.hint == "did you mean `rpc`?"


def test_the_digest_is_of_the_content_alone(tmp_path: Path) -> None:
    one = write(tmp_path / "one", {"a.yaml": SHOP})
    two = write(tmp_path / "two", {"b.yaml": "# note\n" + SHOP, "c.yaml": "# nothing"})
    three = write(tmp_path / "three", {"a.yaml": SHOP.replace("50051", "50052")})

    assert load(one).digest == load(two).digest != load(three).digest


def test_null_is_a_word_where_it_is_listed(tmp_path: Path) -> None:
    source = "{rpc: orders.Get, on_error: null, join: {keys: a, into: b, entities: c, entity_key: d, missing: null}}"
    document = loaded(tmp_path, SHOP, f"aggregate: GET /a\nsources: {{x: {source}}}")

    found = document.aggregates[0].value.sources["x"]
    assert found.on_error == "null"
    assert found.join is not None
    assert found.join.missing == "null"


def test_the_nearest_level_decides_key_by_key(tmp_path: Path) -> None:
    from bff.config.blocks import effective

    document = loaded(
        tmp_path,
        SHOP + "caps: {body: 2MiB, reply: 1MiB, path: 4KiB}",
        "service: a.B\nupstream: orders\ncaps: {reply: 2MiB}\nroutes: [{rpc: A, caps: {body: 3MiB}}]",
    )
    service = document.services[0].value

    caps = effective(Caps, document.gateway.value.caps, service.caps, service.routes[0].caps)
    top = effective(GatewayCaps, document.gateway.value.caps)

    assert (caps.body, caps.reply, caps.metadata) == (3 << 20, 2 << 20, 6 << 10)
    assert (top.path, top.query) == (4 << 10, 8 << 10)


@pytest.mark.parametrize("start", [".", "pipe.yaml"], ids=["in-a-folder", "itself"])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path, start: str) -> None:
    folder = write(tmp_path, {"gateway.yaml": SHOP})
    os.mkfifo(folder / "pipe.yaml")

    with pytest.raises(ConfigError) as caught:
        load(folder / start)

    (problem,) = caught.value.problems
    assert Path(problem.where.file).name == "pipe.yaml"
    assert (problem.code, problem.message) == ("BFF-C006", "this is no regular file")
