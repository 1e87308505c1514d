"""The one path of a request, row by row."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.core.errors import ClientError
from bff.fronts.canonical import canonical_path, check_query

GOOD = {
    "plain": (b"/v1/orders/7", "/v1/orders/7"),
    "root": (b"/", "/"),
    "empty segments stay": (b"//a///b/", "//a///b/"),
    "pchar": (b"/a-._~!$&'()*+,;=:@", "/a-._~!$&'()*+,;=:@"),
    "dots within a name": (b"/a.b/..c/.d/e..", "/a.b/..c/.d/e.."),
    "three dots": (b"/...", "/..."),
    "unreserved escapes are decoded": (b"/%61%2D%7E%2e%35x", "/a-~.5x"),
    "reserved escapes stay": (b"/%3a%2B%40%26", "/%3A%2B%40%26"),
    "an encoded slash is data": (b"/a%2fb", "/a%2Fb"),
    "lower-case hex": (b"/%c3%a9", "/%C3%A9"),
    "an encoded percent is data": (b"/%25", "/%25"),
    "of which the rest is text": (b"/%2541", "/%2541"),
    "semicolon means nothing": (b"/a;v=1/b", "/a;v=1/b"),
    "last of UTF-8": (b"/%f4%8f%bf%bf", "/%F4%8F%BF%BF"),
    "no normalisation": (b"/e%CC%81", "/e%CC%81"),
    "case counts": (b"/A/a", "/A/a"),
}

BAD = {
    "empty": b"",
    "asterisk": b"*",
    "absolute form": b"http://h/a",
    "authority form": b"h:80",
    "dot": b"/.",
    "dots": b"/a/../b",
    "dots at the end": b"/a/..",
    "encoded dot": b"/%2e/b",
    "encoded dots": b"/%2E%2e/b",
    "half encoded": b"/.%2e/b",
    "dots beside an encoded slash": b"/..%2Fb",
    "dots between encoded slashes": b"/a%2f..%2fb",
    "dots after an encoded slash": b"/a%2F..",
    "dots before a parameter": b"/..;a/b",
    "dot before a parameter": b"/.;/b",
    "encoded semicolon after dots": b"/..%3Ba",
    "backslash": b"/a\\b",
    "encoded backslash": b"/a%5cb",
    "nul": b"/%00",
    "control": b"/%1f",
    "line break": b"/a%0d%0ab",
    "delete": b"/%7F",
    "raw control": b"/a\tb",
    "raw space": b"/a b",
    "raw high octet": b"/\xc3\xa9",
    **{f"raw {chr(c)}": b"/" + bytes((c,)) for c in b'"<>^{|}`#?'},
    "broken escape": b"/%zz",
    "short escape": b"/a%4",
    "lone percent": b"/%",
    "lone continuation": b"/%80",
    "overlong slash": b"/%c0%af",
    "overlong dot": b"/%c0%ae%c0%ae",
    "surrogate": b"/%ed%a0%80",
    "beyond Unicode": b"/%f4%90%80%80",
    "cut off": b"/%c3",
    "cut by a slash": b"/%c3/%a9",
    "double slash": b"/%252f",
    "double slash in capitals": b"/%252F",
    "double backslash": b"/%255c",
    "double nul": b"/%2500",
    "double slash whose inner half is escaped too": b"/%25%32%66",
    "double backslash of which one digit is escaped": b"/%255%63",
}


@pytest.mark.rule("edge.3")
@pytest.mark.parametrize(("raw", "text"), GOOD.values(), ids=GOOD)
def test_a_path_has_one_text(raw: bytes, text: str) -> None:
    assert canonical_path(raw) == text


@pytest.mark.rule("edge.3")
@pytest.mark.parametrize("raw", BAD.values(), ids=BAD)
def test_a_bad_path_is_refused_and_its_connection_closed(raw: bytes) -> None:
    with pytest.raises(ClientError) as caught:
        canonical_path(raw)

    assert caught.value.reason == "BAD_PATH"
    assert (b"connection", b"close") in caught.value.headers


@pytest.mark.rule("edge.3")
@given(
    st.lists(
        st.one_of(
            st.sampled_from([b"/", b".", b"%2e", b"%2f", b"%5c", b"%25", b";", b"%c3%a9", b"a"]),
            st.binary(max_size=3),
        ),
        max_size=12,
    )
)
def test_the_canonical_text_is_its_own_canonical_text(parts: list[bytes]) -> None:
    """What is judged once is never read otherwise by whoever judges it again."""
    try:
        text = canonical_path(b"/" + b"".join(parts))
    except ClientError:
        return

    assert canonical_path(text.encode("ascii")) == text
    assert not {".", ".."} & set(text.replace("%2F", "/").split("/"))


@pytest.mark.rule("edge.3")
@pytest.mark.parametrize(
    "raw",
    [b"", b"a=1&b=%C3%A9", b"a[b]=1", b"a=/?:@!$'()*+,;", b"a=%2500", b"a=%00", b"&&=", b"a=%252f"],
)
def test_a_query_that_is_text_passes(raw: bytes) -> None:
    """What it means is for binding to say."""
    check_query(raw)


@pytest.mark.rule("edge.3")
@pytest.mark.parametrize(
    "raw", [b"a=%", b"a=%4", b"a=%zz", b"a=%ff", b"a=%ed%a0%80", b"a= b", b"a=\xc3\xa9", b"a=\n"]
)
def test_a_query_that_is_no_text_is_refused(raw: bytes) -> None:
    with pytest.raises(ClientError) as caught:
        check_query(raw)

    assert caught.value.reason == "BAD_PATH"
