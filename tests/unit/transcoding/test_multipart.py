"""Parts of a multipart body, and bodies that are none."""

import pytest

from bff.core.errors import ClientError
from bff.transcoding.multipart import Part, PartReader, read_parts

TYPE = b'multipart/form-data; boundary="b-1"'


def body(*parts: tuple[str, bytes]) -> bytes:
    made = b"".join(b"--b-1\r\n%s\r\n\r\n%s\r\n" % (head.encode(), data) for head, data in parts)
    return made + b"--b-1--\r\n"


@pytest.mark.rule("transcoding.106")
def test_texts_and_files_are_told_apart() -> None:
    text = ('Content-Disposition: form-data; name="note"', "né".encode())
    head = 'content-disposition: form-data; name="file"; filename="../x.bin"\r\nContent-Type: a/b'
    found = read_parts(body(text, (head, b"\0\r\n--b-\xff")), TYPE)

    assert found == [
        Part("note", "né".encode()),
        Part("file", b"\0\r\n--b-\xff", b"a/b", is_file=True, filename=b"x.bin"),
    ]


@pytest.mark.rule("transcoding.106")
@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_a_body_that_comes_in_bits_has_the_same_parts(size: int) -> None:
    head = 'content-disposition: form-data; name="file"; filename="x"\r\nContent-Type: a/b'
    data = b"\r\n--b-\r\r\n--b-1x\n--b-1-\r\n-"
    octets = body(('Content-Disposition: form-data; name="note"', b""), (head, data))

    reader = PartReader(TYPE)
    parts: list[Part] = []
    for start in range(0, len(octets), size):
        for each in reader.feed(octets[start : start + size]):
            if isinstance(each, Part):
                parts.append(each)
            else:
                parts[-1].content += each
    reader.finish()

    assert parts == read_parts(octets, TYPE)
    assert [each.content for each in parts] == [b"", data]


@pytest.mark.rule("transcoding.106")
@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(
    ("before", "is_taken"),
    [(b"", True), (b"\r\n", True), (b"\n\n\r", True), (b"\r\nto whom it may concern\r\n", False)],
)
def test_what_stands_before_the_parts_is_judged_alike_however_it_comes(
    before: bytes, is_taken: bool, size: int
) -> None:
    """Empty lines are passed over; a preamble is refused, and not only where a read ends within it."""
    octets = before + body(('Content-Disposition: form-data; name="a"', b"x"))
    reader = PartReader(TYPE)
    refused = False
    try:
        for start in range(0, len(octets), size):
            reader.feed(octets[start : start + size])
        reader.finish()
    except ClientError:
        refused = True

    assert refused is not is_taken


@pytest.mark.rule("transcoding.106")
@pytest.mark.parametrize(
    ("octets", "content_type", "reason"),
    [
        (body(), b"multipart/form-data", "INVALID_PARAMETER"),
        (body(), b"multipart/form-data; boundary=" + b"x" * 71, "INVALID_PARAMETER"),
        (b"", TYPE, "INVALID_PARAMETER"),
        (b"no part at all", TYPE, "INVALID_PARAMETER"),
        (body(("Content-Disposition: form-data", b"")), TYPE, "INVALID_PARAMETER"),
        (body(('Content-Disposition: inline; name="a"', b"")), TYPE, "INVALID_PARAMETER"),
        (body(('Content-Disposition: form-data; name="a"', b""))[:-6], TYPE, "INVALID_PARAMETER"),
        (body((f'X: {"y" * 9000}', b"")), TYPE, "INVALID_PARAMETER"),
        (body(*[('Content-Disposition: form-data; name="a"', b"")] * 65), TYPE, "TOO_MANY_PARAMETERS"),
    ],
    ids=["no boundary", "long boundary", "empty", "no part", "no name", "other kind", "no end",
         "large headers", "many parts"],
)  # fmt: skip
def test_what_is_no_form_is_refused(octets: bytes, content_type: bytes, reason: str) -> None:
    with pytest.raises(ClientError) as caught:
        read_parts(octets, content_type)

    assert caught.value.reason == reason
