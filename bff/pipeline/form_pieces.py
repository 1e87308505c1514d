"""A form with a file for a method that takes a stream: the fields first, then the file in pieces.

The file is never held whole: each piece goes to the service before the next is read.
"""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

from msgspec import Struct

from bff.core.errors import ClientError, Violation
from bff.core.exchange import BodyLimits, Request
from bff.pipeline.form_bodies import MULTIPART, FileField, FormBound
from bff.pipeline.intake import PIECE_BYTES, Intake
from bff.pipeline.route import Match
from bff.transcoding.multipart import Part, PartReader, media_type

__all__ = ["FormPieces"]


class FormPieces(Struct, kw_only=True, eq=False):
    """Reads multipart/form-data whose last part is the file; any other body as `other` does.

    The first message has path, query, the form's fields, the file's type and its first piece. What
    stands before the file is held, up to `fields_cap_bytes`, files of lists among it.
    """

    other: Intake
    form: FormBound
    fields_cap_bytes: int

    def judge(self, request: Request, match: Match) -> None:
        """Path and query, and whether the body can be cut at all."""
        content_type = request.headers.get(b"content-type") or b""
        if media_type(content_type) != MULTIPART:
            self.other.judge(request, match)
            return
        self.form.binder.bind(match.captures, request.query, b"")
        PartReader(content_type)

    def open(
        self, request: Request, match: Match, limits: BodyLimits, *, held: bool = False
    ) -> AsyncGenerator[bytes, None]:
        """Each piece as it comes; one message of the fields alone where there is no file."""
        if media_type(request.headers.get(b"content-type")) != MULTIPART:
            return self.other.open(request, match, limits, held=held)
        return self._read(request, match, limits)

    async def _read(
        self, request: Request, match: Match, limits: BodyLimits
    ) -> AsyncGenerator[bytes, None]:
        upload = _Upload(self, request, match)
        assert request.read_parts is not None
        async with aclosing(request.read_parts(limits)) as parts:
            async for part in parts:
                for message in upload.take(part):
                    yield message
        last = upload.finish()
        if last is not None:
            yield last


class _Upload:
    """Where one upload stands: the parts before the file, then the field that it goes to."""

    def __init__(self, intake: FormPieces, request: Request, match: Match) -> None:
        self._form = intake.form
        self._cap_bytes = intake.fields_cap_bytes
        self._request = request
        self._match = match
        self._reader = PartReader(request.headers.get(b"content-type") or b"")
        self._parts: list[Part] = []
        self._content: list[bytes] = []
        self._held_bytes = 0
        self._file: FileField | None = None
        self._sent_count = 0

    def take(self, octets: bytes) -> Iterator[bytes]:
        """The messages that these make whole."""
        for each in self._reader.feed(octets):
            if isinstance(each, Part):
                self._begin(each)
            elif self._file is None:
                self._hold(each)
            else:
                for start in range(0, len(each), PIECE_BYTES):
                    yield self._message(self._file, each[start : start + PIECE_BYTES])

    def finish(self) -> bytes | None:
        """The message of a form whose file is empty or missing. Raises ClientError for a body cut short."""
        self._reader.finish()
        return None if self._sent_count else self._first(b"")

    def _begin(self, part: Part) -> None:
        if self._file is not None:
            text = "is not before the file, which has to be the last part"
            raise ClientError(
                "INVALID_PARAMETER",
                metadata={"parameter": part.name, "messages_sent": str(self._sent_count)},
                violations=(Violation(part.name, text),),
            )
        self._settle()
        self._parts.append(part)
        field = self._form.file_of(part)
        # Pieces of one file would be several of a list.
        if field is not None and not field.is_list:
            self._file = field

    def _hold(self, content: bytes) -> None:
        self._held_bytes += len(content)
        if self._held_bytes > self._cap_bytes:
            raise ClientError(
                "BODY_TOO_LARGE",
                f"The fields before the file are larger than {self._cap_bytes} bytes.",
                metadata={"limit": str(self._cap_bytes)},
            )
        self._content.append(content)

    def _settle(self) -> None:
        """The part that is held has all of its content."""
        if self._parts:
            self._parts[-1].content = b"".join(self._content)
            self._content = []

    def _message(self, file: FileField, piece: bytes) -> bytes:
        message = self._form.wrap(file.make(b"", piece)) if self._sent_count else self._first(piece)
        self._sent_count += 1
        return message

    def _first(self, piece: bytes) -> bytes:
        if self._file is not None:
            self._content = [piece]
        self._settle()
        parts, self._parts = self._parts, []
        head = self._form.binder.bind(self._match.captures, self._request.query, b"")
        return self._form.of_parts(self._request, self._match, head, parts)
