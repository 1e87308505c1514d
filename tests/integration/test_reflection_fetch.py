"""The fetch itself, as the process that a node starts: endpoints, TLS, time, size."""

import asyncio
from typing import Any

import grpc
import pytest

from bff.transcoding.reflection import ReflectionError
from bff.transcoding.reflection_process import ReflectionFetch, ReflectionTarget
from bff.transcoding.sources import SourceSet
from bff.wire.grpcio import TlsSettings
from tests.support.bookshop import FIRST
from tests.support.proto_sets import compile_set
from tests.support.reflecting import ReflectingServer
from tests.support.upstream_lab import refused_address, self_signed


async def fetch(*endpoints: str, **more: Any) -> SourceSet:
    target = ReflectionTarget(
        origin="reflection://shelf", endpoints=endpoints, services=("shelf.v1.Shelf",), **more
    )
    return await asyncio.to_thread(ReflectionFetch(), target)


async def test_an_endpoint_that_is_down_is_passed_over() -> None:
    async with ReflectingServer(compile_set(FIRST)) as server:
        found = await fetch(await refused_address(), server.address)

    assert found.origin == "reflection://shelf"
    assert found.places["test.proto"] == "reflection://shelf/test.proto"


async def test_the_order_of_answers_does_not_change_the_types() -> None:
    """File by file or all at once: equal bytes, so no new version."""
    async with ReflectingServer(compile_set(FIRST)) as server:
        whole = await fetch(server.address)
        server.one_by_one = True
        assert await fetch(server.address) == whole


async def test_files_of_google_are_supplied_where_the_service_lacks_them() -> None:
    async with ReflectingServer(compile_set(FIRST)) as server:
        whole = await fetch(server.address)
        kept = [file for name, file in server.files().items() if not name.startswith("google/")]
        assert len(kept) == 1
        server.keep(kept)
        supplied = await fetch(server.address)

    assert b"google/api/annotations.proto" in supplied.files
    assert len(supplied.files) > 0.9 * len(whole.files)


@pytest.mark.rule("transcoding.6")
async def test_a_stream_that_stays_open_ends_with_the_time() -> None:
    """The limit is 10 s; here half of one."""
    async with ReflectingServer(compile_set(FIRST)) as server:
        server.silent = True
        with pytest.raises(ReflectionError, match=r"not answered in full within 0\.5 s"):
            await fetch(server.address, timeout_s=0.5)


@pytest.mark.parametrize("trusted", [True, False])
async def test_the_upstream_s_own_tls_is_used(trusted: bool) -> None:
    """Authority, name and our certificate; an unknown authority gives no types."""
    cert, key = self_signed("shelf.test")
    stranger, _ = self_signed("shelf.test")
    ours, our_key = self_signed("gateway.test")
    credentials = grpc.ssl_server_credentials([(key, cert)], ours, require_client_auth=True)
    tls = TlsSettings(ca=cert if trusted else stranger, name="shelf.test", cert=ours, key=our_key)
    async with ReflectingServer(compile_set(FIRST), credentials=credentials) as server:
        if trusted:
            assert (await fetch(server.address, tls=tls, authority="shelf.test")).files
        else:
            with pytest.raises(ReflectionError, match="UPSTREAM_TLS"):
                await fetch(server.address, tls=tls, authority="shelf.test")


async def test_an_import_that_the_service_does_not_have_is_named() -> None:
    text = FIRST.replace("import", 'import "own.proto"; import', 1)
    async with ReflectingServer(compile_set(text, own='syntax = "proto3";')) as server:
        server.keep([server.files()["test.proto"]])
        with pytest.raises(ReflectionError, match=r"the file own\.proto: not here"):
            await fetch(server.address)
