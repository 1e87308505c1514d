"""The messages of gRPC server reflection as bytes: requests written, answers read.

grpc.reflection.v1 and v1alpha differ in their package alone (grpc/doc/server-reflection.md). Four
requests and one answer are all we need, so no generated code stands behind them. Pure.
"""

from typing import Final

from msgspec import Struct

from bff.transcoding.option_bytes import OptionError, read_fields

__all__ = [
    "LIST_SERVICES",
    "METHODS",
    "Answer",
    "AnswerError",
    "ask_file",
    "ask_symbol",
    "read_answer",
]

# The newer package first; a server that lacks it says UNIMPLEMENTED.
METHODS: Final = (
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
)

# ServerReflectionRequest
_FILE_BY_NAME, _FILE_WITH_SYMBOL, _LIST_SERVICES = 3, 4, 7
# ServerReflectionResponse, and the one field that we read of each part
_FILES, _SERVICES, _ERROR = 4, 6, 7
_FIRST = 1
_ERROR_TEXT = 2
_LEN = 2
# google.rpc.Code
_NOT_FOUND = 5


class AnswerError(Exception):
    """An answer whose bytes are no ServerReflectionResponse."""


class Answer(Struct, frozen=True, kw_only=True):
    """One answer: serialized files, or names of services, or an error with `code` above 0."""

    files: tuple[bytes, ...] = ()
    services: tuple[str, ...] = ()
    code: int = 0
    text: str = ""

    @property
    def is_not_found(self) -> bool:
        """The server does not have what was asked for."""
        return self.code == _NOT_FOUND


def ask_file(name: str) -> bytes:
    """The request for a file by its proto name."""
    return _request(_FILE_BY_NAME, name)


def ask_symbol(full_name: str) -> bytes:
    """The request for the file that holds a service, message or enum."""
    return _request(_FILE_WITH_SYMBOL, full_name)


def _request(number: int, text: str) -> bytes:
    content = text.encode()
    return bytes([number << 3 | _LEN]) + _varint(len(content)) + content


# The text is not read by servers, but the field decides what is asked.
LIST_SERVICES: Final = bytes([_LIST_SERVICES << 3 | _LEN, 1]) + b"*"


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def read_answer(data: bytes) -> Answer:
    """What a ServerReflectionResponse says. Raises AnswerError."""
    files: tuple[bytes, ...] = ()
    services: tuple[str, ...] = ()
    code, text = 0, ""
    try:
        for number, value in read_fields(data):
            if not isinstance(value, bytes):
                continue
            if number == _FILES:
                files += tuple(_parts(value))
            elif number == _SERVICES:
                services += tuple(
                    name.decode() for service in _parts(value) for name in _parts(service)
                )
            elif number == _ERROR:
                code, text = _read_error(value)
    except (OptionError, UnicodeDecodeError) as error:
        raise AnswerError(str(error)) from error
    return Answer(files=files, services=services, code=code, text=text)


def _parts(data: bytes) -> list[bytes]:
    return [
        value
        for number, value in read_fields(data)
        if number == _FIRST and isinstance(value, bytes)
    ]


def _read_error(data: bytes) -> tuple[int, str]:
    code, text = 2, ""
    for number, value in read_fields(data):
        if number == _FIRST and isinstance(value, int):
            code = value
        elif number == _ERROR_TEXT and isinstance(value, bytes):
            text = value.decode(errors="replace")
    return code, text
