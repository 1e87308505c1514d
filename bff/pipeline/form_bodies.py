"""Bodies of HTML forms: pairs and files bound onto the body's message by the rules of the query."""

from collections.abc import Callable, Iterable, Mapping
from urllib.parse import quote_from_bytes

from msgspec import Struct

from bff.core.errors import ClientError, Violation
from bff.core.exchange import Inputs, Request, Ticket
from bff.pipeline.calls import Bound
from bff.pipeline.route import Match
from bff.transcoding.binding import Binder
from bff.transcoding.multipart import Part, media_type, read_parts

__all__ = ["FORM", "MULTIPART", "FileField", "FormBound"]

FORM = b"application/x-www-form-urlencoded"
MULTIPART = b"multipart/form-data"


class FileField(Struct, frozen=True, kw_only=True):
    """A field that takes a file: `make` gives its octets in the body's message, of media type and content.

    `path` are its proto names, dotted; `takes_any` where no text could be its value. `rivals` are the
    other members of the oneofs that it is in.
    """

    path: str
    make: Callable[[bytes, bytes], bytes]
    is_list: bool = False
    takes_any: bool = False
    rivals: tuple[str, ...] = ()


class FormBound(Bound, kw_only=True):
    """As `Bound`, which still reads JSON; `formats` are the media types of forms that are taken too.

    `form` binds pairs onto the body's message, with those of the path's variables (`within`, by their
    index) that lie in it; `wrap` puts it into its field. `is_whole`: it is the request itself, and
    parameters of the query stand beside its pairs (`joins_query`). `files` are the fields that take a
    file, by each of their names; `filename` is the field that takes a file's name, if there is one.
    `last_holds`: of two members of a oneof, where the path sets none.
    """

    formats: frozenset[bytes]
    form: Binder
    within: tuple[int, ...]
    is_whole: bool
    joins_query: bool
    wrap: Callable[[bytes], bytes]
    files: Mapping[str, FileField]
    filename: str
    last_holds: bool

    async def validate(self, request: Request, ticket: Ticket, match: Match) -> Inputs:
        """Bind path, query and a form; anything else as `Bound` does."""
        content_type = request.headers.get(b"content-type")
        found = media_type(content_type)
        if found not in self.formats:
            return await Bound.validate(self, request, ticket, match)
        # Path and query alone: a field of the body that the query names too is refused here.
        head = self.binder.bind(match.captures, request.query, b"")
        body = await request.read_body(self.body_cap_bytes)
        if found == MULTIPART:
            message = self.of_parts(request, match, head, read_parts(body, content_type or b""))
        else:
            message = self._bind(request, match, head, body, b"", set())
        return Inputs(ticket=ticket, message=message)

    def file_of(self, part: Part) -> FileField | None:
        """The field that the part is a file of, if it is one."""
        field = self.files.get(part.name)
        return None if field is None or not (part.is_file or field.takes_any) else field

    def of_parts(self, request: Request, match: Match, head: bytes, parts: list[Part]) -> bytes:
        """The request message; `head` is that of path and query. Raises ClientError for what does not fit."""
        return self._bind(request, match, head, *self._split(parts))

    def _bind(
        self,
        request: Request,
        match: Match,
        head: bytes,
        body: bytes,
        files: bytes,
        named: set[str],
    ) -> bytes:
        if named:
            self._judge_oneofs(body, named)
        if self.joins_query and request.query:
            body = body + b"&" + request.query if body else request.query
        captures = [match.captures[index] for index in self.within]
        message = self.wrap(self.form.bind(captures, body, b"") + files)
        if not self.is_whole:
            # The body holds against the query, and has the path's values in it.
            message = head + message if body or files else head
            message += self.binder.mask_of(request.query, self.form.paths_of(body) | named)
        return message

    def _judge_oneofs(self, body: bytes, named: set[str]) -> None:
        """A file beside another member of its oneof, which texts, files or the path set."""
        files = [field for field in self.files.values() if field.path in named and field.rivals]
        if not files:
            return
        others = set(self.form.captured.values())
        if not self.last_holds:
            others |= named | self.form.paths_of(body)
        for field in files:
            for rival in field.rivals:
                if any(other == rival or other.startswith(f"{rival}.") for other in others):
                    raise _refused(field.path, f"is in one oneof with {rival}")

    def _split(self, parts: list[Part]) -> tuple[bytes, bytes, set[str]]:
        """Texts as the pairs of a query, the octets of files, and the fields that these are in."""
        pairs: list[tuple[str, bytes]] = []
        files: list[bytes] = []
        named: set[str] = set()
        for part in parts:
            field = self.file_of(part)
            if field is None:
                pairs.append((part.name, part.content))
                continue
            if field.path in named and not field.is_list:
                raise _given_twice(part.name)
            named.add(field.path)
            files.append(field.make(part.content_type, part.content))
            if self.filename and part.filename:
                pairs.append((self.filename, part.filename))
        for name, _ in pairs:
            known = self.files.get(name)
            if known is not None and known.path in named and not known.is_list:
                raise _given_twice(name)
        return _as_query(pairs), b"".join(files), named


def _as_query(pairs: Iterable[tuple[str, bytes]]) -> bytes:
    return "&".join(
        [
            f"{quote_from_bytes(name.encode(), '')}={quote_from_bytes(text, '')}"
            for name, text in pairs
        ]
    ).encode()


def _given_twice(name: str) -> ClientError:
    return _refused(name, "is given more than once")


def _refused(name: str, text: str) -> ClientError:
    return ClientError(
        "INVALID_PARAMETER",
        metadata={"parameter": name},
        violations=(Violation(name, text),),
    )
