"""What a route's `stream` block says, checked against its messages; bodies that are no one JSON message."""

import sys
from collections.abc import Callable, Iterator

import msgspec
from msgspec import Struct, structs

from bff.config.policies import Caps
from bff.config.switches import Stream
from bff.core.errors import ClientError
from bff.core.exchange import BodyLimits
from bff.core.problems import nearest
from bff.core.schema import Field, MessageType, Method
from bff.pipeline.calls import Bound, Download, FileBound, Unary
from bff.pipeline.client_streams import ClientStreamed, Conversation
from bff.pipeline.form_bodies import MULTIPART, FormBound
from bff.pipeline.form_pieces import FormPieces
from bff.pipeline.framings import EventFields
from bff.pipeline.intake import Elements, Intake, Pieces
from bff.pipeline.read_masks import Masked
from bff.pipeline.streams import Streamed, StreamForm
from bff.snapshot.forms import MakeBinder, form_bound_of, takes_forms, upload_form_of
from bff.transcoding.binding import Binder
from bff.transcoding.elements import (
    ArraySplitter,
    ConcatenatedSplitter,
    LineSplitter,
    Splitter,
)
from bff.transcoding.forms import HTTP_BODY, http_body_reader, http_body_wrapper
from bff.transcoding.json_codec import Codec
from bff.transcoding.scalars import encoder
from bff.transcoding.setters import compile_setter, is_leaf
from bff.transcoding.switches import Switches

__all__ = ["StreamFault", "Work", "file_field", "file_reader", "stream_form", "with_body"]

Replying = Unary | Download | Streamed
Work = Replying | ClientStreamed | Conversation | Masked

_LINES = frozenset({b"application/x-ndjson", b"application/jsonl"})
# By `client_stream`: what reads lines, what reads JSON, and the media types that are taken.
_LINE_SPLITTERS: dict[str, type[LineSplitter | ConcatenatedSplitter] | None] = {
    "ndjson+array": LineSplitter,
    "array": None,
    "concatenated": ConcatenatedSplitter,
}
_ACCEPTED = {
    "ndjson+array": b"application/x-ndjson, application/json",
    "array": b"application/json",
    "concatenated": b"application/json, application/x-ndjson",
}


class StreamFault(Struct, frozen=True):
    """What does not fit, and the key under `stream` that says so (empty: the method itself)."""

    message: str
    path: tuple[str, ...] = ()
    hint: str = ""


def stream_form(
    stream: Stream,
    method: Method,
    *,
    codec: Codec,
    write: Callable[[bytes], bytes],
    response_body: str = "",
    status: int = 200,
) -> StreamForm | list[StreamFault]:
    """How the messages of `method` are framed; or everything that does not fit.

    `write` makes JSON of a message's wire octets, of its one field `response_body` if there is one.
    """
    faults = list(_faults(stream, method, response_body))
    if faults:
        return faults
    sse = stream.sse
    return StreamForm(
        write=_wrapped(write) if stream.wrap else write,
        raw=file_reader(method, response_body),
        status=status,
        default_framing=stream.default,
        events=EventFields(
            event_id=_text_of(codec, method.output, sse.id) if sse.id else None,
            event=_text_of(codec, method.output, sse.event) if sse.event else None,
            resume=_resume(codec, method.input.by_name[sse.resume]) if sse.resume else None,
            heartbeat_s=sse.heartbeat,
            retry_ms=round(sse.retry * 1000),
        ),
        first_wait_s=stream.first_wait,
        write_timeout_s=stream.write_timeout,
        max_duration_s=stream.max_duration,
        idle_s=stream.idle,
    )


def file_field(method: Method, body: str) -> int | None:
    """The number of the field of type google.api.HttpBody that is the body; 0: the request is one."""
    if body == "*":
        return 0 if method.input.full_name == HTTP_BODY else None
    field = method.input.by_name.get(body)
    if field is None or field.repeated or field.is_map or field.message is None:
        return None
    return field.number if field.message.full_name == HTTP_BODY else None


def file_reader(method: Method, response_body: str) -> Callable[[bytes], tuple[str, bytes]] | None:
    """What reads a reply that is a file, or None where it is none: an HttpBody, or the field that holds one."""
    if not response_body:
        return http_body_reader() if method.output.full_name == HTTP_BODY else None
    field = method.output.by_name[response_body]
    is_one = field.message is not None and not (field.repeated or field.is_map)
    if is_one and field.message is not None and field.message.full_name == HTTP_BODY:
        return http_body_reader(field.number)
    return None


def with_body(
    work: Replying,
    method: Method,
    *,
    body: str,
    make_later: Callable[[], Binder],
    make_form: MakeBinder,
    stream: Stream,
    caps: Caps,
    switches: Switches,
) -> Work | StreamFault:
    """The work of a route whose body is no one JSON message: a file, or a stream.

    `work` is what was made of its reply. `make_later` gives a binder of the body alone, for all
    messages but the first, `make_form` one of pairs onto the body's message.
    """
    number = file_field(method, body)
    if not method.client_streaming:
        if takes_forms(switches) and body and number is None:
            form_bound = form_bound_of(work.bound, method, body, switches, make_form)
            if form_bound is None:
                return StreamFault(
                    f"{method.name}: a form needs a message as its body",
                    hint="leave forms out of its `body_formats`, or name a message as `body`",
                )
            work.bound = form_bound
        elif number is not None:
            work.bound = FileBound(**structs.asdict(work.bound), wrap=http_body_wrapper(number))
        return work
    if not body:
        return StreamFault(
            f"{method.name} takes a stream, and the rule has no body", hint='write body: "*"'
        )
    intake = _intake(
        work.bound,
        method,
        body=body,
        number=number,
        make_later=make_later,
        make_form=make_form,
        cap_bytes=caps.body,
        switches=switches,
    )
    if isinstance(intake, StreamFault):
        return intake
    if isinstance(work, Streamed):
        # A conversation has no size of its own; its messages have.
        limits = BodyLimits(cap_bytes=sys.maxsize, paced=False)
        waits = switches.bidi_http1 == "half_duplex"
        return Conversation(
            bound=work.bound,
            intake=intake,
            form=work.form,
            limits=limits,
            # All of its messages are held at once, so they have the size of one body.
            whole=BodyLimits(cap_bytes=caps.body) if waits else None,
        )
    return ClientStreamed(
        bound=work.bound,
        intake=intake,
        limits=BodyLimits(cap_bytes=caps.upload),
        reply=work,
        max_duration_s=stream.max_duration,
    )


def _intake(
    bound: Bound,
    method: Method,
    *,
    body: str,
    number: int | None,
    make_later: Callable[[], Binder],
    make_form: MakeBinder,
    cap_bytes: int,
    switches: Switches,
) -> Intake | StreamFault:
    """How the client's stream is read; `number` is that of the file in the body, if it is one."""
    if "form" in switches.body_formats and number is None:
        return StreamFault(
            f"{method.name} takes a stream, and a URL-encoded form is a single message",
            hint="leave `form` out of its `body_formats`",
        )
    upload: FormBound | None = None
    if "multipart" in switches.body_formats:
        upload = upload_form_of(bound, method, body, number, switches, make_form)
        if upload is None:
            return StreamFault(
                f"{method.name} takes a stream, and no field of its messages takes a file",
                hint="leave `multipart` out of its `body_formats`",
            )
    intake: Intake
    if number is not None:
        intake = Pieces(first=bound.binder, wrap=http_body_wrapper(number))
    else:
        accept = _ACCEPTED[switches.client_stream]
        intake = Elements(
            first=bound.binder,
            later=make_later(),
            splitter=_splitters(switches.client_stream, bound.judge),
            accept=accept if upload is None else accept + b", " + MULTIPART,
            element_cap_bytes=cap_bytes,
        )
    if upload is not None:
        intake = FormPieces(other=intake, form=upload, fields_cap_bytes=cap_bytes)
    return intake


def _splitters(
    mode: str, judge: Callable[[bytes | None], None]
) -> Callable[[bytes | None], Callable[[int], Splitter] | None]:
    """What cuts messages out of a body, by its content type; `judge` knows which of them are JSON."""
    lines = _LINE_SPLITTERS[mode]
    plain = ConcatenatedSplitter if mode == "concatenated" else ArraySplitter

    def choose(content_type: bytes | None) -> Callable[[int], Splitter] | None:
        media_type = (content_type or b"").lower().partition(b";")[0].strip()
        if media_type in _LINES:
            return lines
        try:
            judge(content_type)
        except ClientError:
            return None
        return plain

    return choose


def _faults(stream: Stream, method: Method, response_body: str) -> Iterator[StreamFault]:
    shown: MessageType | None = method.output
    if response_body:
        field = method.output.by_name[response_body]
        shown = None if field.repeated or field.is_map else field.message
    if not stream.wrap and shown is not None and "error" in shown.by_name:
        yield StreamFault(
            f"{shown.full_name} has a field `error`, which a client could not tell "
            "from the stream's own error",
            hint="write `stream: {wrap: true}`",
        )
    sse = stream.sse
    for key, name, message in (
        ("id", sse.id, method.output),
        ("event", sse.event, method.output),
        ("resume", sse.resume, method.input),
    ):
        if name is None:
            continue
        found = message.by_name.get(name)
        if found is None:
            close = nearest(name, [each.name for each in message.fields])
            yield StreamFault(
                f"no field {name} in {message.full_name}",
                ("sse", key),
                f"nearest: {close}" if close else "",
            )
        elif found.repeated or found.is_map or found.kind == "message" or not is_leaf(found):
            yield StreamFault(f"{name} of {message.full_name} is no single value", ("sse", key))


def _wrapped(write: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    def wrap(wire: bytes) -> bytes:
        return b'{"result":' + write(wire) + b"}"

    return wrap


def _text_of(codec: Codec, message: MessageType, name: str) -> Callable[[bytes], str]:
    """A reader of one field as JSON shows it, without the quotes of a text."""
    read = codec.writer(message.full_name, response_body=message.by_name[name].name)

    def text(wire: bytes) -> str:
        shown = read(wire)
        return str(msgspec.json.decode(shown)) if shown[:1] == b'"' else shown.decode()

    return text


def _resume(codec: Codec, field: Field) -> Callable[[str], bytes]:
    """Octets of the field with the value of a text; a default is written too, to overrule another."""
    encode = compile_setter((field,), codec).encode
    head = encoder(field)[0]

    def resume(text: str) -> bytes:
        return head + encode(text)

    return resume
