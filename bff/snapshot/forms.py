"""What a route's `body_formats` bring: the fields of its body that a form may set, and those that take a file."""

from collections.abc import Callable, Collection

from msgspec import structs

from bff.core.errors import ClientError
from bff.core.schema import Field, MessageType, Method
from bff.pipeline.calls import Bound
from bff.pipeline.form_bodies import FORM, MULTIPART, FileField, FormBound
from bff.transcoding.binding import Binder
from bff.transcoding.forms import file_fields, filename_key, http_body_wrapper, is_http_body
from bff.transcoding.scalars import delimited, tag
from bff.transcoding.switches import Switches

__all__ = ["MakeBinder", "form_bound_of", "takes_forms", "upload_form_of"]

# Of the body's message and its field (None: the request); with it the path's variables that lie in it.
MakeBinder = Callable[[MessageType, Field | None], tuple[Binder, tuple[int, ...]]]

_FORMS = {"form": FORM, "multipart": MULTIPART}
# The field of a google.api.HttpBody that a file goes to where the request is one.
_DATA = "data"


def takes_forms(switches: Switches) -> bool:
    """Whether the route takes a form of any kind beside JSON."""
    return not _FORMS.keys().isdisjoint(switches.body_formats)


def form_bound_of(
    bound: Bound, method: Method, body: str, switches: Switches, make: MakeBinder
) -> FormBound | None:
    """The route's front with forms taken beside JSON; None where the body is no message."""
    formats = [_FORMS[each] for each in switches.body_formats if each in _FORMS]
    field = method.input.by_name.get(body)
    message = method.input if body == "*" else field.message if field is not None else None
    if message is None or (field is not None and (field.repeated or field.is_map)):
        return None
    form, within = make(message, field)
    rest = structs.asdict(bound) | {"judge": _naming(formats, bound.judge)}
    return FormBound(
        **rest,
        formats=frozenset(formats),
        form=form,
        within=within,
        is_whole=body == "*",
        joins_query=body == "*" and switches.query_star_body == "bind",
        wrap=_in_field(0 if field is None else field.number),
        files=_files_of(message, form.captured),
        filename=filename_key(message),
        last_holds=switches.query_oneof == "last",
    )


def upload_form_of(
    bound: Bound,
    method: Method,
    body: str,
    number: int | None,
    switches: Switches,
    make: MakeBinder,
) -> FormBound | None:
    """What reads a form with a file for a method that takes a stream; None where no field takes one.

    `number` is that of the body's field where it is a google.api.HttpBody, 0 where the request is
    one. Parts beside such a file are parameters as of a query. A file of a list is whole.
    """
    if number is None:
        form = form_bound_of(bound, method, body, switches, make)
        if form is None or all(each.is_list for each in form.files.values()):
            return None
        return form
    _, within = make(method.input, None)
    file = FileField(path=body if number else _DATA, make=http_body_wrapper(number), takes_any=True)
    names = [name for name, each in method.input.by_name.items() if each.number == number]
    return FormBound(
        **structs.asdict(bound),
        formats=frozenset({MULTIPART}),
        # Nothing of the file can be set by a text.
        form=bound.binder,
        within=within,
        is_whole=True,
        joins_query=True,
        wrap=_in_field(0),
        files=dict.fromkeys(names or [_DATA], file),
        filename=filename_key(method.input),
        last_holds=switches.query_oneof == "last",
    )


def _naming(
    formats: list[bytes], judge: Callable[[bytes | None], None]
) -> Callable[[bytes | None], None]:
    """As `judge`, with forms among the types that a refusal names (RFC 9110 15.5.16)."""
    accept = ((b"accept", b", ".join([b"application/json", *formats])),)

    def judge_and_name(value: bytes | None) -> None:
        try:
            judge(value)
        except ClientError as error:
            raise ClientError(error.reason, headers=accept) from error

    return judge_and_name


def _in_field(number: int) -> Callable[[bytes], bytes]:
    head = tag(number, 2) if number else b""

    def wrap(octets: bytes) -> bytes:
        return head + delimited(octets) if head else octets

    return wrap


def _files_of(message: MessageType, bound: Collection[tuple[int, ...]]) -> dict[str, FileField]:
    """By each name of a field that takes a file; those of messages within too, one deep.

    What the path sets (`bound`) is not among them: as a text it must be what the path says.
    """
    files: dict[str, FileField] = {}
    for *above, field in file_fields(message, bound):
        is_body = is_http_body(field)
        make = http_body_wrapper(field.number) if is_body else _octets_of(field.number)
        for outer in above:
            make = _within(_in_field(outer.number), make)
        file = FileField(
            path=".".join([each.name for each in (*above, field)]),
            make=make,
            is_list=field.repeated,
            takes_any=is_body,
            rivals=_rivals_of(message, (*above, field)),
        )
        files.update(dict.fromkeys(_names_of(message, (*above, field)), file))
    return files


def _rivals_of(message: MessageType, chain: tuple[Field, ...]) -> tuple[str, ...]:
    """The other members of each oneof that a path of fields enters, by their proto names."""
    rivals: list[str] = []
    here: MessageType | None = message
    for depth, field in enumerate(chain):
        assert here is not None  # a chain leads through messages
        above = [each.name for each in chain[:depth]]
        members = here.oneofs.get(field.oneof, ()) if field.oneof is not None else ()
        rivals += [".".join((*above, each.name)) for each in members if each is not field]
        here = field.message
    return tuple(rivals)


def _names_of(message: MessageType, chain: tuple[Field, ...]) -> list[str]:
    """Each spelling of a path of fields."""
    names = [""]
    here: MessageType | None = message
    for field in chain:
        assert here is not None  # a chain leads through messages
        own = [name for name, each in here.by_name.items() if each is field]
        names = [f"{above}.{name}" if above else name for above in names for name in own]
        here = field.message
    return names


def _within(
    wrap: Callable[[bytes], bytes], make: Callable[[bytes, bytes], bytes]
) -> Callable[[bytes, bytes], bytes]:
    def make_within(content_type: bytes, content: bytes) -> bytes:
        return wrap(make(content_type, content))

    return make_within


def _octets_of(number: int) -> Callable[[bytes, bytes], bytes]:
    head = tag(number, 2)

    def make(_content_type: bytes, content: bytes) -> bytes:
        return head + delimited(content)

    return make
