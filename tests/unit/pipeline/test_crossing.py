"""Header fields in, metadata out: which cross, under which names, with which values."""

from collections.abc import Mapping
from typing import Any

import pytest

from bff.core.errors import ClientError
from bff.core.headers import Headers
from bff.pipeline.crossing import GATEWAY_PREFIX, Inward, Outward, Pairs


class Skipped(list[str]):
    """The causes for which fields were left out."""

    def __call__(self, cause: str) -> None:
        self.append(cause)


def passed(
    fields: list[tuple[str, bytes]], *names: str, skipped: Skipped | None = None, **more: Any
) -> Pairs:
    """What of these fields crosses; `names` are listed under their own name."""
    listed: Mapping[bytes, str] = {name.encode(): name for name in names}
    inward = Inward(**{"listed": listed, "skip": Skipped() if skipped is None else skipped, **more})
    return list(inward.of(Headers([(name.encode(), value) for name, value in fields])))


def came_back(metadata: Pairs, skipped: Skipped | None = None, **names: str) -> Any:
    """The header fields of this reply metadata; `names` have `_` for `-`."""
    listed = {name.replace("_", "-"): header for name, header in names.items()}
    return Outward(names=listed, skip=Skipped() if skipped is None else skipped).of(metadata)


@pytest.mark.rule("transcoding.141")
def test_only_what_is_listed_crosses() -> None:
    fields = [("accept-language", b"de"), ("x-other", b"1"), ("cookie", b"a=b")]

    assert passed(fields, "accept-language") == [("accept-language", "de")]
    assert passed(fields) == []


@pytest.mark.rule("transcoding.143")
def test_a_header_given_twice_is_two_entries_in_order() -> None:
    assert passed([("x-a", b"2"), ("x-b", b"x"), ("x-a", b"1, 3")], "x-a") == [
        ("x-a", "2"),
        ("x-a", "1, 3"),
    ]


@pytest.mark.rule("transcoding.143")
@pytest.mark.parametrize("value", [b"\xc3\xa9", b"\xff", b"a\x7f", b"a\tb", b"\x00"])
def test_a_value_that_metadata_cannot_have_is_left_out_and_counted(value: bytes) -> None:
    skipped = Skipped()

    assert passed([("x-a", value), ("x-a", b"ok")], "x-a", skipped=skipped) == [("x-a", "ok")]
    assert skipped == ["value"]


@pytest.mark.rule("transcoding.144")
@pytest.mark.parametrize(
    ("value", "octets"),
    [
        (b"AQI", [b"\1\2"]),
        (b"AQI=", [b"\1\2"]),
        (b"AQI=,Aw", [b"\1\2", b"\3"]),
        (b"AQI , AwQF", [b"\1\2", b"\3\4\5"]),
        (b"/+8=", [b"\xff\xef"]),
        (b"", [b""]),
    ],
)
def test_a_binary_field_crosses_as_its_octets(value: bytes, octets: list[bytes]) -> None:
    assert passed([("x-a-bin", value)], "x-a-bin") == [("x-a-bin", each) for each in octets]


@pytest.mark.rule("transcoding.144")
@pytest.mark.parametrize(
    "value", [b"A!", b"A", b"AQI==", b"AQ I", b"_-8", b"AQI,A!", b"\xff", b"="]
)
def test_what_is_no_base64_is_400_and_named(value: bytes) -> None:
    with pytest.raises(ClientError) as error:
        passed([("x-a-bin", value)], "x-a-bin")

    assert (error.value.reason, error.value.status) == ("INVALID_HEADER", 400)
    assert error.value.metadata == {"header": "x-a-bin"}


@pytest.mark.rule("transcoding.141")
def test_a_renamed_field_crosses_under_its_other_name() -> None:
    listed = {b"accept-language": "locale"}

    assert passed([("accept-language", b"de")], listed=listed) == [("locale", "de")]


@pytest.mark.rule("transcoding.142")
@pytest.mark.parametrize("connection", [b"x-a", b"close, X-A", b"keep-alive,grpc-metadata-x-b"])
def test_fields_that_connection_names_end_here(connection: bytes) -> None:
    fields = [
        ("x-a", b"1"),
        ("grpc-metadata-x-b", b"2"),
        ("x-c", b"3"),
        ("connection", connection),
    ]

    crossed = dict(passed(fields, "x-a", "x-c", prefix=GATEWAY_PREFIX))

    assert ("x-a" in crossed) is (b"x-a" not in connection.lower())
    assert ("x-b" in crossed) is (b"x-b" not in connection)
    assert crossed["x-c"] == "3"


@pytest.mark.rule("transcoding.145")
def test_a_prefix_is_taken_off() -> None:
    fields = [("grpc-metadata-x-a", b"1"), ("x-b", b"2"), ("grpc-metadata-k-bin", b"AQI")]

    assert passed(fields, prefix=GATEWAY_PREFIX) == [("x-a", "1"), ("k-bin", b"\1\2")]


@pytest.mark.rule("transcoding.141", "transcoding.143")
@pytest.mark.parametrize(
    "name",
    [
        "x-user-id",
        "x-roles-bin",
        "x-bff-a",
        "grpc-metadata-x-user-id",
        "authorization",
        "cookie",
        "host",
        "content-type",
        "te",
        "connection",
        "grpc-timeout",
        ":authority",
        "traceparent",
        "x-request-id",
        "a b",
        "\xe9",
        "",
    ],
)
@pytest.mark.parametrize("prefix", ["grpc-metadata-", "x-meta-"])
def test_no_prefix_lets_in_what_only_the_gateway_may_say(prefix: str, name: str) -> None:
    skipped = Skipped()
    header = (prefix + name).encode("latin-1")
    inward = Inward(listed={}, skip=skipped, prefix=prefix.encode())

    assert list(inward.of(Headers([(header, b"1")] * 2))) == []
    assert skipped == ["name", "name"]


@pytest.mark.rule("transcoding.141")
def test_a_short_prefix_does_not_let_a_field_out_of_its_rule() -> None:
    """`x-forwarded-for` is not metadata `forwarded-for`, though the prefix is `x-`."""
    fields = [("x-forwarded-for", b"10.0.0.1"), ("x-user-id", b"u"), ("x-note", b"a")]

    assert passed(fields, prefix=b"x-") == [("note", "a")]


def test_many_names_behind_a_prefix_cross_and_few_are_kept() -> None:
    inward = Inward(listed={}, skip=Skipped(), prefix=GATEWAY_PREFIX)
    names = [f"x-{number}" for number in range(600)]
    fields = [(b"grpc-metadata-" + name.encode(), b"1") for name in names]

    assert [name for name, _ in inward.of(Headers(fields))] == names
    assert len(inward._kept) == 256


@pytest.mark.rule("transcoding.141")
def test_what_is_removed_is_sent_by_nobody_but_us() -> None:
    fields = [("grpc-metadata-x-a", b"1"), ("grpc-metadata-x-b", b"2")]
    more: dict[str, Any] = {"removed": frozenset({"x-a"}), "fixed": (("x-a", "ours"),)}

    assert passed(fields, prefix=GATEWAY_PREFIX, **more) == [("x-b", "2"), ("x-a", "ours")]


@pytest.mark.rule("transcoding.145")
def test_listed_metadata_comes_back_under_its_field_name() -> None:
    metadata = [("etag", "a"), ("x-hidden", "b"), ("x-cost", "1"), ("x-cost", "2")]

    assert came_back(metadata, etag="etag", x_cost="grpc-metadata-x-cost") == [
        (b"etag", b"a"),
        (b"grpc-metadata-x-cost", b"1"),
        (b"grpc-metadata-x-cost", b"2"),
    ]


@pytest.mark.rule("transcoding.144")
@pytest.mark.parametrize(
    ("octets", "text"), [(b"\1\2", b"AQI"), (b"\1", b"AQ"), (b"\xff\xef", b"/+8"), (b"", b"")]
)
def test_octets_come_back_as_base64_without_padding(octets: bytes, text: bytes) -> None:
    assert came_back([("k-bin", octets)], k_bin="k-bin") == [(b"k-bin", text)]


@pytest.mark.rule("transcoding.146")
@pytest.mark.parametrize("value", ["a\r\nset-cookie: b", "a\nb", "a\rb", "\x00", "\x7f", "é"])
def test_a_value_that_a_field_cannot_have_is_dropped_and_counted(value: str) -> None:
    skipped = Skipped()

    assert came_back([("etag", value), ("etag", "ok")], skipped, etag="etag") == [(b"etag", b"ok")]
    assert skipped == ["value"]
