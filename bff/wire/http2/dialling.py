"""Opening a connection: sockets, TLS with ALPN, and what a failure to connect means."""

import asyncio
import os
import socket
import ssl
from collections.abc import Callable

from bff.core.ports import Random
from bff.core.status import Code
from bff.wire.grpcio import TlsSettings
from bff.wire.http2.connection import Connection
from bff.wire.http2.headers import BlockDecoder, BlockMemo, MemoDecoder, TableDecoder
from bff.wire.http2.link import Hub, Link, NoH2Error
from bff.wire.http2.stream import Fault
from bff.wire.http2.vigil import Vigil

__all__ = ["Dialler", "fault_of_dial", "tls_context"]

_IDLE_S = 30 * 60.0
_AGE_JITTER = 0.1
_KEEPALIVE_S = 30
_USER_TIMEOUT_MS = 20_000


def tls_context(tls: TlsSettings) -> ssl.SSLContext:
    """TLS 1.2 up, chain and name verified, `h2` offered. Reads files of the system: call it in a thread."""
    ca = None if tls.ca is None else tls.ca.decode("ascii")
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cadata=ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    if tls.cert is not None and tls.key is not None:
        _load_pair(context, tls.cert, tls.key)
    return context


def _load_pair(context: ssl.SSLContext, cert: bytes, key: bytes) -> None:
    """`ssl` reads certificates from files alone; this one never touches a disk."""
    number = os.memfd_create("bff-client-cert")
    try:
        os.write(number, cert + b"\n" + key)
        context.load_cert_chain(f"/proc/self/fd/{number}")
    finally:
        os.close(number)


class Dialler:
    """Connects to one address, `host:port`, `[v6]:port` or `unix:/path`.

    `memo` None: each block is decoded, with a table. `keepalive_s` None: no periodic pings.
    """

    def __init__(
        self,
        address: str,
        *,
        tls: TlsSettings | None,
        connect_s: float,
        max_age_s: float,
        keepalive_s: float | None,
        reply_max_bytes: int,
        memo: BlockMemo | None,
        now_s: Callable[[], float],
        random: Random,
    ) -> None:
        self._address = address
        self._tls = tls
        self._context: ssl.SSLContext | None = None
        self._connect_s = connect_s
        self._max_age_s = max_age_s
        self._keepalive_s = keepalive_s
        self._reply_max_bytes = reply_max_bytes
        self._memo = memo
        self._now_s = now_s
        self._random = random

    def ping_less(self) -> None:
        """The peer had too many pings (gRFC A8): later connections ping half as often."""
        if self._keepalive_s is not None:
            self._keepalive_s *= 2

    async def dial(self, hub: Hub) -> Link:
        """A link whose peer has sent its SETTINGS. Raises OSError or ValueError."""
        async with asyncio.timeout(self._connect_s):
            if self._tls is not None and self._context is None:
                self._context = await asyncio.to_thread(tls_context, self._tls)
            link = await self._open(hub)
            try:
                _tune(link.transport.get_extra_info("socket"))
                await link.ready
            finally:
                if link.connection.state in {"connecting", "closed"}:
                    link.transport.abort()
            if link.connection.state == "closed":
                raise link.lost_by or ConnectionError(link.connection.why_closed)
            return link

    async def _open(self, hub: Hub) -> Link:
        loop = asyncio.get_running_loop()
        context = self._context

        def make() -> Link:
            return self._make_link(hub)

        if self._address.startswith("unix:"):
            path = self._address.removeprefix("unix:")
            name = None if self._tls is None else self._tls.name or "localhost"
            return (
                await loop.create_unix_connection(make, path, ssl=context, server_hostname=name)
            )[1]
        host, _, port = self._address.rpartition(":")
        host = host.strip("[]")
        name = None if self._tls is None else self._tls.name or host
        return (
            await loop.create_connection(make, host, int(port), ssl=context, server_hostname=name)
        )[1]

    def _make_link(self, hub: Hub) -> Link:
        now_s, memo = self._now_s(), self._memo
        decoder: BlockDecoder = TableDecoder() if memo is None else MemoDecoder(memo)
        connection = Connection(
            now_s=now_s,
            decoder=decoder,
            table_bytes=4096 if memo is None else 0,
            reply_max_bytes=self._reply_max_bytes,
            vigil=Vigil(idle_s=_IDLE_S, keepalive_s=self._keepalive_s),
        )
        age_s = self._max_age_s * self._random.uniform(1 - _AGE_JITTER, 1 + _AGE_JITTER)
        return Link(connection, hub=hub, now_s=self._now_s, renew_at_s=now_s + age_s)


def _tune(sock: socket.socket | None) -> None:
    if sock is None or sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)


def fault_of_dial(error: Exception) -> Fault:
    """What waiting calls end with; nothing of them was sent."""
    is_tls = isinstance(error, ssl.SSLError | ssl.CertificateError | NoH2Error)
    return Fault(
        reason="UPSTREAM_TLS" if is_tls else "UPSTREAM_UNAVAILABLE",
        code=Code.UNAVAILABLE,
        sent="never",
        # That of asyncio's timeout has no words.
        detail=f"not connected: {type(error).__name__}: {str(error) or 'no answer in time'}",
    )
