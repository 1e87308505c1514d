"""Fetching key documents over HTTPS, under hard limits (RFC 8414, OpenID Connect Discovery).

The only place where `auth` touches the network. httpx's errors end here, as FetchFault.
"""

import asyncio
import ipaddress
import ssl
from typing import Final, Protocol, Self

import httpx
from msgspec import Struct

__all__ = ["Fetch", "FetchFault", "Fetched", "HttpxFetch", "check_url"]

DOCUMENT_BYTES: Final = 256 * 1024
FETCH_S: Final = 2.0


class Fetched(Struct, frozen=True):
    """A reply: status, body (empty for 304), ETag as sent, and `max-age` in seconds if it had one."""

    status: int
    body: bytes = b""
    etag: str = ""
    max_age_s: float | None = None


class FetchFault(Exception):
    """No usable reply. `kind` is a short word for metrics."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


class Fetch(Protocol):
    """Get one document; `etag` of the last good one, or empty. Raises FetchFault."""

    async def __call__(self, url: str, etag: str) -> Fetched:
        """The reply to one GET."""
        ...


def check_url(url: str) -> None:
    """Raise ValueError unless `url` may carry keys: https, or http on loopback; no userinfo."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ValueError(f"not a URL: {error}") from error
    if parsed.userinfo or not parsed.host:
        raise ValueError("a key URL has a host and no user or password")
    if parsed.scheme == "https" or (parsed.scheme == "http" and _is_loopback(parsed.host)):
        return
    raise ValueError("a key URL is https, or http on loopback")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class HttpxFetch:
    """Fetch by httpx: verified TLS, no redirects, no proxies of the environment, 2 s, 256 KiB.

    `tls` replaces the system's trust, for a private CA. Raises ValueError if it checks nothing.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        tls = tls or ssl.create_default_context()
        if tls.verify_mode is not ssl.CERT_REQUIRED or not tls.check_hostname:
            raise ValueError("certificates and host names of key servers are always checked")
        self._client = httpx.AsyncClient(
            verify=tls,
            trust_env=False,
            follow_redirects=False,
            timeout=FETCH_S,
            limits=httpx.Limits(max_connections=8, max_keepalive_connections=2),
            # A coded body would need a second limit, on what it unpacks to.
            headers={"accept": "application/json", "accept-encoding": "identity"},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close idle connections."""
        await self._client.aclose()

    async def __call__(self, url: str, etag: str) -> Fetched:
        """One GET. Raises FetchFault for a bad URL, no connection, too slow, too large."""
        try:
            check_url(url)
        except ValueError as error:
            raise FetchFault("url", str(error)) from error
        headers = {"if-none-match": etag} if etag else {}
        try:
            # httpx's timeouts run per read; a dripping server must not hold us longer.
            async with (
                asyncio.timeout(FETCH_S),
                self._client.stream("GET", url, headers=headers) as response,
            ):
                body = await _read(response)
        except TimeoutError as error:
            raise FetchFault("timeout", f"no reply within {FETCH_S} s") from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise FetchFault("connect", f"{type(error).__name__}") from error
        return Fetched(
            response.status_code,
            body,
            response.headers.get("etag", ""),
            _max_age_s(response.headers.get("cache-control", "")),
        )


async def _read(response: httpx.Response) -> bytes:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise FetchFault("coded", "the reply is compressed though we asked for none")
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_raw():
        size += len(part)
        if size > DOCUMENT_BYTES:
            raise FetchFault("too_large", f"more than {DOCUMENT_BYTES} bytes")
        parts.append(part)
    return b"".join(parts)


def _max_age_s(field: str) -> float | None:
    """RFC 9111 5.2.2.1; None when the reply names no age or must not be kept."""
    for directive in field.lower().split(","):
        name, _, value = directive.strip().partition("=")
        if name == "max-age" and value.isdecimal() and len(value) <= 9:
            return float(value)
    return None
