"""Binders and writers: one for all routes that ask for the same, since both are large and routes are many."""

from collections.abc import Callable, Sequence

from bff.core.schema import MessageType, Method
from bff.transcoding.binding import Binder, compile_binder
from bff.transcoding.json_codec import Codec
from bff.transcoding.switches import Switches
from bff.transcoding.type_sets import CodecOf

__all__ = ["Translators", "Write"]

Write = Callable[[bytes], bytes]


class Translators:
    """What translates the requests and replies of one version. Nothing of it belongs to one route alone."""

    def __init__(self, codec_of: CodecOf, *, max_parameters: int) -> None:
        self._codec_of = codec_of
        self._max_parameters = max_parameters
        self._binders: dict[tuple[object, ...], Binder] = {}
        self._writers: dict[tuple[object, ...], Write] = {}

    def binder(
        self,
        method: Method,
        message: MessageType,
        variables: Sequence[tuple[str, ...]],
        switches: Switches,
        *,
        body: str = "",
        patch_mask: bool = False,
    ) -> Binder:
        """A binder of `message`, with the codec of the method; raises as `compile_binder`."""
        codec = self._codec_of(method)
        key = (codec, message, tuple(variables), switches, body, patch_mask)
        binder = self._binders.get(key)
        if binder is None:
            binder = self._binders[key] = compile_binder(
                codec=codec,
                message=message,
                variables=variables,
                body=body,
                max_parameters=self._max_parameters,
                patch_mask=patch_mask,
                switches=switches,
            )
        return binder

    def writer(self, method: Method, switches: Switches, response_body: str) -> Write:
        """Wire octets of the method's reply to JSON, as the switches spell it; raises as `Codec.writer`."""
        codec, name = self._codec_of(method), method.output.full_name
        key = (codec, name, *_spelling(switches), response_body)
        write = self._writers.get(key)
        if write is None:
            write = self._writers[key] = _writer(codec, name, switches, response_body)
        return write


def _spelling(switches: Switches) -> tuple[object, ...]:
    return switches.emit_unpopulated, switches.names, switches.enums, switches.int64


def _writer(codec: Codec, full_name: str, switches: Switches, response_body: str) -> Write:
    return codec.writer(
        full_name,
        emit_unpopulated=switches.emit_unpopulated,
        proto_names=switches.names == "proto",
        enum_numbers=switches.enums == "number",
        long_numbers=switches.int64 == "number",
        short_enums=switches.enums == "no_prefix",
        response_body=response_body,
    )
