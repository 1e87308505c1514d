"""Files that go up in pieces, as a body of their own and as the last part of a form."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from google.api.httpbody_pb2 import HttpBody

from tests.support.talk_gateway import TalkGateway
from tests.support.talk_requests import FORM, chunk, form_part, post
from tests.support.talker import Talker

END = b"--b--\r\n"
LAST = b"0\r\n\r\n"
MIB = 1024 * 1024
# Of an Upload: topic and note, then the file with type and piece; of the others the piece alone.
FIRST = b"\n\x01t\x1a\x01n" + b"\x12\x08" + b"\n\x03a/b\x12\x01x"
SECOND = b"\x12\x03\x12\x01y"


@pytest.fixture
async def talker() -> AsyncIterator[Talker]:
    async with Talker() as running:
        yield running


class Client:
    """One connection, on which a request is written bit by bit."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def of(cls, gateway: TalkGateway, octets: bytes) -> "Client":
        made = cls(*await asyncio.open_connection("127.0.0.1", gateway.port))
        made.write(octets)
        return made

    def write(self, octets: bytes) -> None:
        self._writer.write(octets)

    def leave(self) -> None:
        self._writer.transport.abort()

    async def reply(self) -> tuple[int, str]:
        """Status and body of the reply, after which the connection is closed."""
        async with asyncio.timeout(30):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
            size = int(head.partition("content-length: ")[2].partition("\r\n")[0])
            body = await self._reader.readexactly(size)
        self.leave()
        return int(head.split()[1]), body.decode()


def file_of(*, is_form: bool, route: str = "/load/t?note=n") -> tuple[bytes, bytes]:
    """A request that has sent the file's first octet; and what stands behind the last one."""
    if not is_form:
        return post(route, "a/b") + chunk(b"x"), LAST
    start = form_part("file", b"x", file="f", media="a/b")[:-2]
    return post(route, FORM) + chunk(start), chunk(b"\r\n" + END) + LAST


def names_of(error: str) -> list[str]:
    details = json.loads(error)["error"]["details"]
    return [each["field"] for d in details for each in d.get("fieldViolations", ())]


@pytest.mark.rule("transcoding.104", "transcoding.106")
@pytest.mark.parametrize("is_form", [False, True], ids=["file", "form"])
async def test_a_piece_is_at_the_service_before_the_next_is_sent(
    talker: Talker, tmp_path: Path, is_form: bool
) -> None:
    """Type, path and query are in the first alone."""
    start, end = file_of(is_form=is_form)
    async with TalkGateway(tmp_path, talker) as gateway:
        client = await Client.of(gateway, start)
        await talker.until(lambda: len(talker.heard) == 1)
        client.write(chunk(b"y"))
        await talker.until(lambda: len(talker.heard) == 2)
        client.write(chunk(b"y") + end)
        status, body = await client.reply()

    assert (status, json.loads(body)) == (200, {"text": "3"})
    assert talker.heard == [FIRST, SECOND, SECOND]
    assert talker.ends == ["done"]


@pytest.mark.rule("transcoding.106")
async def test_fields_of_a_form_are_in_the_first_message_alone(
    talker: Talker, tmp_path: Path
) -> None:
    fields = form_part("note", b"n")
    start = form_part("file", b"x", file="f", media="a/b")[:-2]
    async with TalkGateway(tmp_path, talker) as gateway:
        for route in ("/load/t", "/form/t"):
            client = await Client.of(gateway, post(route, FORM) + chunk(fields))
            client.write(chunk(start))
            await talker.until(lambda: len(talker.heard) == 1)
            client.write(chunk(b"y\r\n" + END) + LAST)
            status, body = await client.reply()

            assert (status, json.loads(body)) == (200, {"text": "2"})
            assert talker.heard == [FIRST, SECOND]
            talker.heard.clear()


@pytest.mark.rule("transcoding.104", "transcoding.106")
@pytest.mark.parametrize("is_form", [False, True], ids=["file", "form"])
async def test_a_large_file_arrives_whole_in_small_messages(
    talker: Talker, tmp_path: Path, is_form: bool
) -> None:
    """With everything in it that looks like the end of a part."""
    content = b"\r\n--\r\r\n--a\r\n-b\n--b--\r\n\0\xff-" * (5 * MIB // 2 // 24)
    body = form_part("data", content, file="f", media="a/b") + END if is_form else content
    async with TalkGateway(tmp_path, talker) as gateway:
        head = post("/pour", FORM if is_form else "a/b")
        client = await Client.of(gateway, head + chunk(body) + LAST)
        status, _ = await client.reply()

    assert status == 200
    pieces = [HttpBody.FromString(each) for each in talker.heard]
    assert b"".join([each.data for each in pieces]) == content
    assert [each.content_type for each in pieces] == ["a/b", *[""] * (len(pieces) - 1)]
    assert max(len(each.data) for each in pieces) <= MIB
    assert len(pieces) > 2


FILE = form_part("file", b"x", file="f", media="a/b")
FAULTS = {
    "a field behind the file": ("/form/t", FILE + form_part("note", b"n"), "last part", ["note"]),
    "a second file": ("/form/t", FILE + FILE, "last part", ["file"]),
    "no such field": ("/form/t", form_part("nope", b"n") + FILE, "UNKNOWN_PARAMETER", ["nope"]),
    "against the path": ("/form/t", form_part("topic", b"n") + FILE, "FIELD_CONFLICT", ["topic"]),
    "no such field beside a file": (
        "/load/t",
        form_part("nope", b"n") + FILE,
        "UNKNOWN_PARAMETER",
        ["nope"],
    ),
    "in query and form": (
        "/load/t?note=n",
        form_part("note", b"n") + FILE,
        "INVALID_PARAMETER",
        ["note"],
    ),
    "the file's own type as a text": (
        "/load/t",
        form_part("file.contentType", b"c/d") + FILE,
        "FIELD_CONFLICT",
        None,
    ),
    "a text beside a file that is all": (
        "/pour",
        form_part("contentType", b"c/d") + form_part("data", b"x", file="f"),
        "UNKNOWN_PARAMETER",
        ["contentType"],
    ),
    "text and file of one field": (
        "/form/t",
        form_part("raw", b"AQI=") + form_part("raw", b"x", file="f"),
        "INVALID_PARAMETER",
        ["raw"],
    ),
    "65 parts": ("/form/t", form_part("more", b"AQI=") * 65, "TOO_MANY_PARAMETERS", None),
    "large headers": (
        "/form/t",
        form_part("file", b"x", file="f", media="y" * 8192),
        "INVALID_PARAMETER",
        None,
    ),
    "no part at all": ("/form/t", b"x", "INVALID_PARAMETER", None),
}


@pytest.mark.rule("transcoding.106")
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_form_that_does_not_fit_ends_the_call(
    talker: Talker, tmp_path: Path, fault: str
) -> None:
    talker.lingers = True
    route, parts, says, names = FAULTS[fault]
    async with TalkGateway(tmp_path, talker) as gateway:
        client = await Client.of(gateway, post(route, FORM) + chunk(parts + END) + LAST)
        status, body = await client.reply()
        await talker.until(lambda: not talker.open)

    assert (status, says in body) == (400, True), body
    if names is not None:
        assert names_of(body) == names
    assert set(talker.ends) <= {"cancelled"}


@pytest.mark.rule("transcoding.106")
async def test_files_of_a_list_are_whole_and_stand_before_the_one_in_pieces(
    talker: Talker, tmp_path: Path
) -> None:
    more = [form_part("more", content, file="f") for content in (b"1", b"2")]
    async with TalkGateway(tmp_path, talker) as gateway:
        head = post("/form/t", FORM)
        client = await Client.of(gateway, head + chunk(b"".join(more) + FILE + END) + LAST)
        status, _ = await client.reply()

    assert status == 200
    assert talker.heard == [b"\n\x01t" + b"*\x011" + b"*\x012" + FIRST[6:]]


@pytest.mark.rule("transcoding.106")
async def test_a_part_behind_the_file_tells_what_the_service_has_got(
    talker: Talker, tmp_path: Path
) -> None:
    talker.lingers = True
    start, _ = file_of(is_form=True)
    async with TalkGateway(tmp_path, talker) as gateway:
        client = await Client.of(gateway, start)
        await talker.until(lambda: len(talker.heard) == 1)
        client.write(chunk(b"\r\n" + FILE))
        status, body = await client.reply()
        await talker.until(lambda: not talker.open)

    [info] = [each for each in json.loads(body)["error"]["details"] if "metadata" in each]
    assert (status, info["metadata"]) == (400, {"parameter": "file", "messages_sent": "1"})
    assert talker.ends == ["cancelled"]


@pytest.mark.rule("transcoding.106")
async def test_an_upload_without_its_end_is_no_upload(talker: Talker, tmp_path: Path) -> None:
    """The service is not told that the file is whole."""
    talker.lingers = True
    start, _ = file_of(is_form=True)
    async with TalkGateway(tmp_path, talker) as gateway:
        client = await Client.of(gateway, start)
        await talker.until(lambda: len(talker.heard) == 1)
        client.write(chunk(b"\r\n--b") + LAST)
        status, body = await client.reply()
        await talker.until(lambda: not talker.open)

    assert (status, "has no end" in body) == (400, True), body
    assert talker.ends == ["cancelled"]


@pytest.mark.rule("transcoding.106")
async def test_fields_before_the_file_have_the_size_of_a_body(
    talker: Talker, tmp_path: Path
) -> None:
    async with TalkGateway(tmp_path, talker, "caps: {body: 1KiB}") as gateway:
        texts = form_part("note", b"n" * 600) + form_part("more", b"A" * 600)
        client = await Client.of(gateway, post("/form/t", FORM) + chunk(texts))
        status, body = await client.reply()
        await talker.until(lambda: not talker.open)

    assert (status, "BODY_TOO_LARGE" in body) == (413, True), body
    assert talker.heard == []


@pytest.mark.rule("transcoding.107")
@pytest.mark.parametrize("is_form", [False, True], ids=["file", "form"])
async def test_a_client_that_leaves_within_a_file_ends_the_call_for_good(
    talker: Talker, tmp_path: Path, is_form: bool
) -> None:
    talker.lingers = True
    start, _ = file_of(is_form=is_form)
    async with TalkGateway(tmp_path, talker) as gateway:
        client = await Client.of(gateway, start)
        await talker.until(lambda: len(talker.heard) == 1)
        client.leave()
        await talker.until(lambda: not talker.open)

    # The gateway is gone too by now, and with it whatever could have come again.
    assert gateway.ends == [(499, "CLIENT_GONE")]
    assert talker.heard == [FIRST]
    assert talker.ends == ["cancelled"]
