"""Types by server reflection: one conversation with a running service -> its descriptor files.

Bounded in time, files and bytes. What is asked for is what serves: the services, the files that hold
them, and what these import. See `reflection_process` for how a node runs this.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final, Protocol

from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import DecodeError

from bff.core.errors import UpstreamError
from bff.core.status import Code
from bff.transcoding.reflection_wire import (
    LIST_SERVICES,
    METHODS,
    Answer,
    AnswerError,
    ask_file,
    ask_symbol,
    read_answer,
)
from bff.transcoding.sources import MAX_FILES, MAX_SET_BYTES

__all__ = ["Bidi", "ReflectionError", "fetch_files"]

# Every server has some of these (health, reflection, channelz); they are not the API, and two
# upstreams that both show them would be two owners of one service.
_INFRASTRUCTURE: Final = "grpc."
# Supplied by us where the server does not have them.
_SUPPLIED: Final = "google/"
_SHOWN_TEXT = 300


class ReflectionError(Exception):
    """A service that did not give its types; the text says why, in words for an operator."""


class Bidi(Protocol):
    """The part of a channel that reflection needs."""

    def bidi(
        self,
        path: str,
        messages: AsyncGenerator[bytes, None],
        metadata: Sequence[tuple[str, str | bytes]],
        deadline_s: float | None,
    ) -> AsyncGenerator[bytes, None]:
        """A call that streams both ways. Raises UpstreamError."""
        ...


async def fetch_files(
    channel: Bidi, services: Sequence[str], *, deadline_s: float
) -> list[FileDescriptorProto]:
    """The files of these services (none named: of all that the server lists) and their imports.

    Speaks grpc.reflection.v1, and v1alpha to a server that lacks it. `deadline_s` is in the time of
    the channel's clock. Raises ReflectionError, and UpstreamError where the call itself failed.
    """
    for path in METHODS[:-1]:
        try:
            return await _converse(channel, path, services, deadline_s)
        except UpstreamError as error:
            if error.code != Code.UNIMPLEMENTED:
                raise
    try:
        return await _converse(channel, METHODS[-1], services, deadline_s)
    except UpstreamError as error:
        if error.code != Code.UNIMPLEMENTED:
            raise
        raise ReflectionError("the service does not offer server reflection") from error


async def _converse(
    channel: Bidi, path: str, services: Sequence[str], deadline_s: float
) -> list[FileDescriptorProto]:
    asked: asyncio.Queue[bytes] = asyncio.Queue()

    async def requests() -> AsyncGenerator[bytes, None]:
        while True:
            yield await asked.get()

    async with aclosing(channel.bidi(path, requests(), (), deadline_s)) as answers:

        async def ask(request: bytes) -> Answer:
            asked.put_nowait(request)
            try:
                return read_answer(await anext(answers))
            except StopAsyncIteration:
                raise ReflectionError("the service ended the stream before its answer") from None
            except AnswerError as error:
                raise ReflectionError(f"the service's answer does not parse: {error}") from error

        return await _Fetch(ask).run(services)


class _Asks(Protocol):
    async def __call__(self, request: bytes) -> Answer: ...


class _Fetch:
    """One conversation: what came so far, under the bounds."""

    def __init__(self, ask: _Asks) -> None:
        self._ask = ask
        self._files: dict[str, FileDescriptorProto] = {}
        self._size_bytes = 0

    async def run(self, services: Sequence[str]) -> list[FileDescriptorProto]:
        names = list(services) or await self._list()
        for name in names:
            await self._add_service(name, named=bool(services))
        # The files grow while we look: imports of imports.
        checked: set[str] = set()
        while wanted := self._wanted(checked):
            for name in wanted:
                checked.add(name)
                answer = await self._ask(ask_file(name))
                if answer.is_not_found and name.startswith(_SUPPLIED):
                    continue
                self._take(answer, f"the file {name}")
        return list(self._files.values())

    async def _list(self) -> list[str]:
        answer = await self._ask(LIST_SERVICES)
        if answer.code:
            raise _refused(answer, "its list of services")
        names = sorted(
            name for name in set(answer.services) if not name.startswith(_INFRASTRUCTURE)
        )
        if not names:
            raise ReflectionError("the service lists no service of its own")
        return names

    async def _add_service(self, name: str, *, named: bool) -> None:
        answer = await self._ask(ask_symbol(name))
        if answer.is_not_found:
            end = (
                "has no such service"
                if named
                else "has no descriptor of it; name those that you need under `services`"
            )
            raise ReflectionError(f"{name}: the server {'' if named else 'lists it but '}{end}")
        self._take(answer, name)

    def _wanted(self, checked: set[str]) -> list[str]:
        """Imports that neither came nor were asked for, in a fixed order."""
        imported = {name for file in self._files.values() for name in file.dependency}
        return sorted(imported - checked - self._files.keys())

    def _take(self, answer: Answer, what: str) -> None:
        if answer.code or not answer.files:
            raise _refused(answer, what)
        for data in answer.files:
            try:
                file = FileDescriptorProto.FromString(data)
            except DecodeError as error:
                raise ReflectionError(f"{what}: a file that does not parse: {error}") from error
            if file.name in self._files:
                continue
            self._files[file.name] = file
            self._size_bytes += len(data)
            if len(self._files) > MAX_FILES:
                raise ReflectionError(f"the service answers more than {MAX_FILES} files")
            if self._size_bytes > MAX_SET_BYTES:
                raise ReflectionError(f"the service's files hold more than {MAX_SET_BYTES} bytes")


def _refused(answer: Answer, what: str) -> ReflectionError:
    why = answer.text[:_SHOWN_TEXT] or (f"code {answer.code}" if answer.code else "no file came")
    return ReflectionError(f"{what}: {why}")
