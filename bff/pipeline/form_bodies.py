"""Bodies of HTML forms: pairs and files bound onto the body's message by the rules of the query."""

from collections.abc import Callable, Mapping
from urllib.parse import quote_from_bytes

from bff.core.errors import ClientError, Violation
from bff.core.exchange import Inputs, Request, Ticket
from bff.pipeline.calls import Bound
from bff.pipeline.route import Match
from bff.transcoding.binding import Binder
from bff.transcoding.multipart import Part, media_type, read_parts

__all__ = ["FORM", "MULTIPART", "FormBound"]

FORM = b"application/x-www-form-urlencoded"
MULTIPART = b"multipart/form-data"


class FormBound(Bound, kw_only=True):
    """As `Bound`, which still reads JSON; `formats` are the media types of forms that are taken too.

    `form` binds pairs onto the body's message, with the path's variables where that is the request
    (`with_path`); `wrap` puts it into its field; `files` make octets of the fields that take a file.
    """

    formats: frozenset[bytes]
    form: Binder
    with_path: bool
    wrap: Callable[[bytes], bytes]
    files: Mapping[str, Callable[[bytes, bytes], bytes]]

    async def validate(self, request: Request, ticket: Ticket, match: Match) -> Inputs:
        """Bind path, query and a form; anything else as `Bound` does."""
        content_type = request.headers.get(b"content-type")
        found = media_type(content_type)
        if found not in self.formats:
            return await Bound.validate(self, request, ticket, match)
        # Path and query alone: a field of the body that the query names too is refused here.
        head = self.binder.bind(match.captures, request.query, b"")
        body = await request.read_body(self.body_cap_bytes)
        files = b""
        if found == MULTIPART:
            body, files = self._split(read_parts(body, content_type or b""))
        captures = match.captures if self.with_path else ()
        message = self.wrap(self.form.bind(captures, body, b"") + files)
        # What the path sets stands last, where the last value counts.
        return Inputs(ticket=ticket, message=message if self.with_path else message + head)

    def _split(self, parts: list[Part]) -> tuple[bytes, bytes]:
        """Texts as the pairs of a query, and the octets of files."""
        pairs: list[str] = []
        files: dict[str, bytes] = {}
        for part in parts:
            make = self.files.get(part.name)
            if make is None or not part.is_file:
                pairs.append(
                    quote_from_bytes(part.name.encode(), "")
                    + "="
                    + quote_from_bytes(part.content, "")
                )
            elif part.name in files:
                raise ClientError(
                    "INVALID_PARAMETER",
                    metadata={"parameter": part.name},
                    violations=(Violation(part.name, "is given more than once"),),
                )
            else:
                files[part.name] = make(part.content_type, part.content)
        return "&".join(pairs).encode(), b"".join(files.values())
