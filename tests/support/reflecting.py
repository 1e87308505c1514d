"""A gRPC server that tells its types by reflection, and changes them when a test says so.

    async with ReflectingServer(compile_set(SHELF)) as server:
        GatewayProcess(.., changes={"upstreams": {"shelf": {"endpoints": [server.address]}}, ..})
        server.types = compile_set(SHELF_WITH_MORE)

Every other method echoes its request. The messages of the conversation are those of grpcio-reflection.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Self

import grpc
import grpc.aio
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_reflection.v1alpha import reflection_pb2 as wire

__all__ = ["ReflectingServer"]

_REFLECTION = "ServerReflection/ServerReflectionInfo"


class ReflectingServer:
    """`types` is a FileDescriptorSet; `packages` are the versions of the protocol that it speaks.

    With `one_by_one` an answer holds one file, else all that it needs. While `silent` is set no
    question is answered. `held` counts echoes that wait for `go_on`.
    """

    def __init__(
        self,
        types: bytes,
        *,
        packages: tuple[str, ...] = ("v1",),
        one_by_one: bool = False,
        credentials: grpc.ServerCredentials | None = None,
    ) -> None:
        self.types = types
        self.packages = packages
        self.one_by_one = one_by_one
        self.silent = False
        self.asked = 0
        # How much of its time a client that got no answer had when it left.
        self.left = asyncio.Event()
        self.time_left_s = 0.0
        self.called: list[str] = []
        self.hold = False
        self.held = asyncio.Event()
        self.go_on = asyncio.Event()
        self._credentials = credentials
        self._server: grpc.aio.Server | None = None
        self.port = 0

    @property
    def address(self) -> str:
        """Where it listens, also while it is stopped."""
        return f"127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; again on the same port after `stop`."""
        self._server = grpc.aio.server()
        self._server.add_generic_rpc_handlers((_Handlers(self),))
        target = f"127.0.0.1:{self.port}"
        if self._credentials is None:
            self.port = self._server.add_insecure_port(target)
        else:
            self.port = self._server.add_secure_port(target, self._credentials)
        await self._server.start()

    async def stop(self) -> None:
        """Be down."""
        if self._server is not None:
            await self._server.stop(0)
            self._server = None

    # What it says

    def files(self) -> dict[str, FileDescriptorProto]:
        """Its files by name."""
        return {file.name: file for file in FileDescriptorSet.FromString(self.types).file}

    def keep(self, files: Sequence[FileDescriptorProto]) -> None:
        """Have these files alone."""
        self.types = FileDescriptorSet(file=files).SerializeToString()

    def answer(self, asked: wire.ServerReflectionRequest) -> wire.ServerReflectionResponse:
        """The answer to one question."""
        files = self.files()
        owner = {
            f"{file.package}.{service.name}": file
            for file in files.values()
            for service in file.service
        }
        found: FileDescriptorProto | None
        match asked.WhichOneof("message_request"):
            case "list_services":
                names = [*owner, "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"]
                listed = wire.ListServiceResponse(
                    service=[wire.ServiceResponse(name=name) for name in names]
                )
                return wire.ServerReflectionResponse(list_services_response=listed)
            case "file_by_filename":
                found = files.get(asked.file_by_filename)
            case _:
                found = owner.get(asked.file_containing_symbol)
        if found is None:
            return wire.ServerReflectionResponse(
                error_response=wire.ErrorResponse(error_code=5, error_message="not here")
            )
        given = [found] if self.one_by_one else [found, *_imports(found, files)]
        return wire.ServerReflectionResponse(
            file_descriptor_response=wire.FileDescriptorResponse(
                file_descriptor_proto=[file.SerializeToString() for file in given]
            )
        )


def _imports(
    file: FileDescriptorProto, files: dict[str, FileDescriptorProto]
) -> list[FileDescriptorProto]:
    reached: dict[str, FileDescriptorProto] = {}
    waiting = list(file.dependency)
    while waiting:
        name = waiting.pop()
        if name in files and name not in reached:
            reached[name] = files[name]
            waiting += files[name].dependency
    return list(reached.values())


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs alone
    def __init__(self, server: ReflectingServer) -> None:
        self._server = server

    def service(self, handler_call_details: Any) -> Any:
        path: str = handler_call_details.method
        if path.endswith(_REFLECTION):
            package = path.removeprefix("/grpc.reflection.").partition(".")[0]
            if package not in self._server.packages:
                return None
            return grpc.stream_stream_rpc_method_handler(
                self._reflect,
                request_deserializer=wire.ServerReflectionRequest.FromString,
                response_serializer=wire.ServerReflectionResponse.SerializeToString,
            )
        return grpc.unary_unary_rpc_method_handler(self._echo(path))

    async def _reflect(self, questions: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        self._server.asked += 1
        async for question in questions:
            if self._server.silent:
                await self._wait_until_left(context)
            yield self._server.answer(question)

    async def _wait_until_left(self, context: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self._server.time_left_s = context.time_remaining()
            self._server.left.set()

    def _echo(self, path: str) -> Callable[[bytes, Any], Awaitable[bytes]]:
        async def echo(message: bytes, _context: Any) -> bytes:
            self._server.called.append(path)
            if self._server.hold:
                self._server.held.set()
                await self._server.go_on.wait()
            return message

        return echo
