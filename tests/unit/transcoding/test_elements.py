"""Messages of a client's stream: where they are cut, and what no body may look like."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.core.errors import ClientError
from bff.transcoding.elements import ArraySplitter, ConcatenatedSplitter, LineSplitter, Splitter


def cut(splitter: Splitter, *parts: bytes) -> list[bytes]:
    found = []
    for part in parts:
        splitter.feed(part)
        while (element := splitter.take()) is not None:
            found.append(element)
    last = splitter.finish()
    return [*found, last] if last is not None else found


def reason(splitter: Splitter, *parts: bytes) -> str:
    with pytest.raises(ClientError) as caught:
        cut(splitter, *parts)
    return caught.value.reason


@pytest.mark.rule("transcoding.132")
@pytest.mark.parametrize(
    ("body", "elements"),
    [
        (b"", []),
        (b"\n \r\n\n", []),
        (b'{"a":1}\n{"b":2}\n', [b'{"a":1}', b'{"b":2}']),
        (b'\n{"a":1}\r\n\n  {"b":2}', [b'{"a":1}', b'{"b":2}']),
        ('{"a":"\u2028"}\n'.encode(), ['{"a":"\u2028"}'.encode()]),
    ],
)
def test_lines(body: bytes, elements: list[bytes]) -> None:
    assert cut(LineSplitter(100), body) == elements


@pytest.mark.rule("transcoding.132")
@pytest.mark.parametrize(
    ("body", "elements"),
    [
        (b"", []),
        (b"[]", []),
        (b" [ \n] ", []),
        (b'[{"a":1},{"b":[1,2]}]', [b'{"a":1}', b'{"b":[1,2]}']),
        (b'[ {"a":"],}[{\\"" } , 7 ]\n', [b'{"a":"],}[{\\"" }', b"7"]),
        (b'["\\\\",[[]],{"a":{}}]', [b'"\\\\"', b"[[]]", b'{"a":{}}']),
    ],
)
def test_arrays(body: bytes, elements: list[bytes]) -> None:
    assert cut(ArraySplitter(100), body) == elements


@pytest.mark.rule("transcoding.132")
@pytest.mark.parametrize(
    "body",
    [b"{}", b"{}{}", b'{"a":1}\n{"b":2}', b"[", b"[{}", b"[{},", b"[{},]", b"[,]", b"[,{}]",
     b"[{}}", b"[{}]x", b"[{}][]", b"[{}]]", b"[}", b'["', b"x"],
)  # fmt: skip
def test_what_is_no_one_array_is_refused(body: bytes) -> None:
    assert reason(ArraySplitter(100), body) == "INVALID_JSON"


def test_concatenated_objects() -> None:
    body = b' {"a":{}}{"b":"}"}\n{}\n'

    assert cut(ConcatenatedSplitter(100), body) == [b'{"a":{}}', b'{"b":"}"}', b"{}"]
    assert reason(ConcatenatedSplitter(100), b"{}7") == "INVALID_JSON"
    assert reason(ConcatenatedSplitter(100), b"{}{") == "INVALID_JSON"


@pytest.mark.rule("transcoding.133")
@pytest.mark.parametrize(
    ("splitter", "body"),
    [
        (LineSplitter(10), b'{"a":"12345"}\n'),
        (LineSplitter(10), b'{"a":"1234567890'),
        (ArraySplitter(10), b'[{},{"a":"12345"}]'),
        (ArraySplitter(10), b'[{},{"a":"1234567890'),
        (ConcatenatedSplitter(10), b'{"a":"12345"}'),
    ],
)
def test_one_element_over_its_size_is_too_large(splitter: Splitter, body: bytes) -> None:
    assert reason(splitter, body) == "BODY_TOO_LARGE"


def test_many_elements_may_be_larger_than_one() -> None:
    body = b"[" + b",".join([b'{"a":"1"}'] * 1000) + b"]"

    assert len(cut(ArraySplitter(10), *(body[i : i + 7] for i in range(0, len(body), 7)))) == 1000


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(st.lists(st.dictionaries(st.text(max_size=3), JSON, max_size=3)), st.integers(1, 9))
def test_where_the_parts_are_cut_makes_no_difference(values: list[object], size: int) -> None:
    texts = [json.dumps(value, ensure_ascii=False).encode() for value in values]
    bodies: dict[type[LineSplitter | ArraySplitter | ConcatenatedSplitter], bytes] = {
        LineSplitter: b"\n".join(texts),
        ArraySplitter: b"[" + b" ,".join(texts) + b"]",
        ConcatenatedSplitter: b"".join(texts),
    }

    for kind, body in bodies.items():
        parts = [body[start : start + size] for start in range(0, len(body), size)]
        assert cut(kind(10_000), *parts) == texts
