"""A stream's route behind an upgrade: the same call, its messages bound out of frames."""

from collections.abc import Callable, Sequence

from msgspec import structs

from bff.config.switches import Stream
from bff.core.schema import Method
from bff.pipeline.client_streams import ClientStreamed, Conversation
from bff.pipeline.sockets import Socketed
from bff.pipeline.streams import Streamed
from bff.snapshot.streams import file_field, file_reader
from bff.transcoding.binding import Binder
from bff.transcoding.switches import Switches

__all__ = ["carries_files", "make_socket"]

# Of a body, path variables and switches.
Bind = Callable[[str, Sequence[tuple[str, ...]], Switches], Binder]


def carries_files(method: Method, body: str, response_body: str) -> bool:
    """Whether octets of a file stand in place of a message, one way or the other."""
    return file_reader(method, response_body) is not None or file_field(method, body) is not None


def make_socket(
    work: Streamed | ClientStreamed | Conversation,
    *,
    body: str,
    bind: Bind,
    variables: Sequence[tuple[str, ...]],
    switches: Switches,
    write: Callable[[bytes], bytes],
    stream: Stream,
) -> Socketed:
    """The work over WebSocket.

    A rule without a body takes the whole request from the first frame, beside path and query.
    `write` is that of plain messages: nothing is wrapped within an envelope.
    """
    first = switches if body else structs.replace(switches, query_star_body="bind")
    return Socketed(
        work=work,
        first=bind(body or "*", variables, first),
        later=bind(body or "*", (), switches),
        write=write,
        write_timeout_s=stream.write_timeout,
        max_duration_s=stream.max_duration,
        idle_s=stream.idle,
    )
