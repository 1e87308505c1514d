"""Bodies to messages: the codec reads fast, our rules decide where it is laxer, switches where we are.

Parsers are stacked when a route is compiled; under `strict` there is one, and nothing is asked of it
that its route does not use.
"""

import re
from collections.abc import Callable
from typing import Any

import msgspec

from bff.core.errors import ClientError, Violation
from bff.core.exchange import Json
from bff.core.schema import MessageType
from bff.transcoding.exact_json import Fault, Resolve, examine, nesting
from bff.transcoding.float_bounds import clamp_floats
from bff.transcoding.json_doubt import compact_form, compile_doubt
from bff.transcoding.json_rewrite import BodyRewrite, TooDeepError, has_name_clash, is_lenient
from bff.transcoding.switches import STRICT, Switches

__all__ = ["REFUSALS", "Parse", "client_error", "compile_parser", "to_octets"]

# What protobuf-py raises on texts and octets that it refuses; JSONDecodeError and
# UnicodeDecodeError are ValueErrors, OverflowError is an ArithmeticError.
REFUSALS = (ValueError, TypeError, ArithmeticError, RecursionError, LookupError, AttributeError)

# JSON text to a message of the codec's.
Parse = Callable[[bytes], Any]

_FOREIGN_URL = re.compile(rb'"@type":"(?!type\.googleapis\.com/[^/"]*")')
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
# Refusals that a rewritten body may escape.
_MENDABLE = frozenset({"UNKNOWN_FIELD", "INVALID_FIELD", "DUPLICATE_FIELD"})
# Counted by the codec in messages, so that no scan is needed.
_CODEC_DEPTH = 100


def client_error(fault: Fault, detail: str = "") -> ClientError:
    """A fault of a body as the error that a client reads."""
    violations = (Violation(fault.path, fault.text),) if fault.path or fault.text else ()
    metadata = {"field": fault.path} if fault.path else {}
    return ClientError(fault.reason, detail=detail, metadata=metadata, violations=violations)


def to_octets(message: Any) -> bytes:
    """A message that was read from a body, in wire octets. Raises ClientError if a required field is not set."""
    try:
        octets: bytes = message.to_binary()
    except REFUSALS as error:
        fault = Fault("INVALID_FIELD", text="a required field is not set")
        raise client_error(fault, detail=str(error)) from error
    return octets


def compile_parser(
    *,
    message: MessageType,
    from_json: Parse,
    restore_urls: Callable[[Any, Json], None],
    resolve: Resolve,
    switches: Switches,
) -> Parse:
    """The parser of one message type under these switches; it raises ClientError.

    `from_json` is the codec's, `restore_urls` puts `@type` back as the client wrote it.
    """
    strict = _Parser(message, from_json, restore_urls, resolve)
    parse: Parse = strict.parse
    if has_name_clash(message):
        parse = _renaming(strict, BodyRewrite(message, resolve, STRICT, rename=True))
    if is_lenient(switches):
        parse = _mending(parse, BodyRewrite(message, resolve, switches))
    if switches.json_depth < _CODEC_DEPTH:
        parse = _shallow(parse, switches.json_depth)
    return _without_nul(parse) if switches.nul == "reject" else parse


class _Parser:
    """JSON text to messages of one class; `parse` is the bound method that runs per request."""

    def __init__(
        self,
        message: MessageType,
        from_json: Parse,
        restore_urls: Callable[[Any, Json], None],
        resolve: Resolve,
    ) -> None:
        self._message = message
        self._from_json = from_json
        self._restore_urls = restore_urls
        self._resolve = resolve
        self._doubt = compile_doubt(message)

    def parse(self, text: bytes) -> Any:
        compact = compact_form(text)
        if compact is None:
            raise client_error(self.examine(text) or Fault("INVALID_JSON"))
        try:
            message = self._from_json(text)
        except REFUSALS as error:
            message = self._again(text, error)
        if self._doubt(text, compact):
            fault = self.examine(text)
            if fault is not None:
                raise client_error(fault)
            if _FOREIGN_URL.search(compact):
                self._restore_urls(message, msgspec.json.decode(text))
        return message

    def examine(self, text: bytes) -> Fault | None:
        """The first fault by every rule, slowly."""
        return examine(text, self._message, self._resolve)

    def _again(self, text: bytes, refusal: Exception) -> Any:
        """Find the fault that the codec saw, or read the text in a form that it takes."""
        fault = self.examine(text)
        if fault is None and isinstance(refusal, RecursionError):
            fault = Fault("TOO_DEEP")
        if fault is not None:
            raise client_error(fault, detail=type(refusal).__name__) from refusal
        try:
            tree = clamp_floats(msgspec.json.decode(text), self._message)
            return self._from_json(msgspec.json.encode(tree))
        except REFUSALS as error:
            # Only the codec sees this fault; without a path, the body as a whole has it.
            raise client_error(Fault("INVALID_FIELD"), detail=type(error).__name__) from error


def _renaming(strict: _Parser, rename: BodyRewrite) -> Parse:
    """For types where the codec would take the JSON name of a field for the name of another."""

    def parse(text: bytes) -> Any:
        fault = strict.examine(text)
        if fault is not None:
            raise client_error(fault)
        return strict.parse(rename(text))

    return parse


def _mending(parse: Parse, rewrite: BodyRewrite) -> Parse:
    """A body that the rules take costs nothing more; a refused one is rewritten and read again."""

    def parse_or_mend(text: bytes) -> Any:
        try:
            return parse(text)
        except ClientError as error:
            if error.reason not in _MENDABLE:
                raise
            refusal = error
        try:
            mended = rewrite(text)
        except TooDeepError as error:
            raise client_error(Fault("TOO_DEEP")) from error
        if mended == text:
            raise refusal
        return parse(mended)

    return parse_or_mend


def _shallow(parse: Parse, depth: int) -> Parse:
    def parse_shallow(text: bytes) -> Any:
        if nesting(text) > depth:
            raise client_error(Fault("TOO_DEEP"))
        return parse(text)

    return parse_shallow


def _without_nul(parse: Parse) -> Parse:
    def parse_without_nul(text: bytes) -> Any:
        if _NUL.search(text):
            raise client_error(Fault("INVALID_FIELD", text="must not hold U+0000"))
        return parse(text)

    return parse_without_nul
