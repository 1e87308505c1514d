"""The sample services as real processes, for integration tests.

    @pytest.fixture(scope="module")
    def samples() -> Iterator[SampleServices]:
        with SampleServices() as running:
            yield running

    async def test_...(samples: SampleServices) -> None:
        await samples.set_fault("orders", "fail=UNAVAILABLE", method="*/GetOrder", remaining=2)
        token = await samples.user_token("premium")
        ...
        assert (await samples.calls("orders", "GetOrder")).calls == 3

One start (about a second) serves a module; `reset` between tests takes faults back and counts anew,
once the calls of the test before have ended.
The data are those of `sample_services.seed`: "u-1" (premium) owns "o-1" (paid), "o-81" (delivered)
and "o-161" (shipped); "u-2" (administrator) owns "o-2" (shipped).
"""

import asyncio
import base64
import hashlib
import json
import secrets
import select
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, Self

import grpc
import httpx
import msgspec
import pytest

from sample_services.generated.sample.catalog.v1 import catalog_pb2_grpc
from sample_services.generated.sample.faults.v1 import faults_pb2, faults_pb2_grpc
from sample_services.generated.sample.orders.v1 import orders_pb2_grpc
from sample_services.generated.sample.users.v1 import users_pb2_grpc
from sample_services.identity_accounts import ACCOUNTS, CLIENTS

__all__ = ["Calls", "SampleServices", "ServiceName", "UserName", "refusal"]

ServiceName = Literal["users", "catalog", "orders"]
UserName = Literal["guest", "premium", "admin"]
Algorithm = Literal["RS256", "ES256"]

_SERVICES: tuple[ServiceName, ...] = ("users", "catalog", "orders")
_STUBS: Mapping[ServiceName, Callable[[grpc.aio.Channel], Any]] = {
    "users": users_pb2_grpc.UserServiceStub,
    "catalog": catalog_pb2_grpc.CatalogServiceStub,
    "orders": orders_pb2_grpc.OrderServiceStub,
}
_READY_S = 40.0  # above the launcher's own limit, so that it is the one to say what was late
_END_S = 15.0
_CONDITION_S = 30.0
_REDIRECT_URI = "http://127.0.0.1/callback"  # never fetched: the code is read from the redirect


class Calls(msgspec.Struct, frozen=True, kw_only=True):
    """What one method was asked since the last reset.

    `cancelled` were given up by the caller (cancel or deadline), `in_flight` run now. `metadata`
    and `time_remaining_s` (None = no deadline) are those of the latest call.
    """

    calls: int = 0
    cancelled: int = 0
    in_flight: int = 0
    max_in_flight: int = 0
    metadata: Mapping[str, str] = msgspec.field(default_factory=dict)
    time_remaining_s: float | None = None


class SampleServices:
    """The launcher as a process on free ports; a context manager, both `with` and `async with`.

    Inside: `users`, `catalog`, `orders` are "host:port", `identity` is a URL and the issuer.
    Raises RuntimeError on entering if the services do not start; they then said why on stderr.
    """

    users: str
    catalog: str
    orders: str
    identity: str

    def __init__(self, *, folder: Path | None = None) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The launcher's process id."""
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "sample_services", "--stop-with-stdin"]
        if self._folder is not None:
            command.append(f"--folder={self._folder}")
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
        )
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], _READY_S)
        line = self._process.stdout.readline() if readable else b""
        if not line:
            self.stop()
            raise RuntimeError("the sample services did not start")
        found = json.loads(line)
        self.users, self.catalog, self.orders = (found[name] for name in _SERVICES)
        self.identity = found["identity"]
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(self, *_exc: object) -> None:
        await asyncio.to_thread(self.stop)

    def stop(self) -> int:
        """End the services now and return the launcher's exit status; again is no mistake."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        try:
            return process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()
        finally:
            process.stdout.close()

    def address(self, service: ServiceName) -> str:
        """Where a service listens, as "host:port"."""
        found: str = getattr(self, service)
        return found

    @asynccontextmanager
    async def stub(self, service: ServiceName) -> AsyncIterator[Any]:
        """A grpc.aio stub of the service's own methods, over a channel of its own."""
        async with grpc.aio.insecure_channel(self.address(service)) as channel:
            yield _STUBS[service](channel)

    async def set_fault(
        self, service: ServiceName, fault: str, *, method: str = "*", remaining: int = 0
    ) -> None:
        """Let the next `remaining` calls (0 = all) of matching methods suffer a fault.

        `fault`: "delay=250ms", "fail=UNAVAILABLE", "hang", "drop", "garbage". `method`: a shell
        pattern over "package.Service/Method", such as "*/GetOrder".
        """
        await self._control(
            service,
            "SetFault",
            faults_pb2.SetFaultRequest(method=method, fault=fault, remaining=remaining),
        )

    async def reset(self) -> None:
        """Take back every fault, wait until no call runs, and count anew, on all services.

        Raises TimeoutError if calls run on after 30 s.
        """
        await asyncio.gather(*(self._reset(service) for service in _SERVICES))

    async def _reset(self, service: ServiceName) -> None:
        async with grpc.aio.insecure_channel(self.address(service)) as channel:
            control = faults_pb2_grpc.FaultServiceStub(channel)
            await control.ClearFaults(faults_pb2.ClearFaultsRequest())
            # What the test before gave up ends here a moment later, and would be counted for the next.
            async with asyncio.timeout(_CONDITION_S):
                while await _is_busy(control):
                    pass
            await control.ResetCalls(faults_pb2.ResetCallsRequest())

    async def calls(self, service: ServiceName, method: str) -> Calls:
        """What a method, such as "GetOrder", was asked since the last reset."""
        request = faults_pb2.GetCallsRequest(method=f"*/{method}")
        reply = await self._control(service, "GetCalls", request)
        if not reply.methods:
            return Calls()
        found = reply.methods[0]
        has_deadline = found.HasField("last_time_remaining")
        return Calls(
            calls=found.calls,
            cancelled=found.cancelled,
            in_flight=found.in_flight,
            max_in_flight=found.max_in_flight,
            metadata=dict(found.last_metadata),
            time_remaining_s=(
                found.last_time_remaining.ToNanoseconds() / 1e9 if has_deadline else None
            ),
        )

    async def wait_calls(
        self, service: ServiceName, method: str, until: Callable[[Calls], bool]
    ) -> Calls:
        """Ask until the answer satisfies `until`; raises TimeoutError after 30 s.

        For what a service learns a moment later than the test, such as a cancellation.
        """
        async with asyncio.timeout(_CONDITION_S):
            while True:
                found = await self.calls(service, method)
                if until(found):
                    return found

    async def client_token(
        self,
        client: str = "bff",
        *,
        scopes: Sequence[str] = (),
        expires_in_s: int = 3600,
        alg: Algorithm | None = None,
        audience: str | None = None,
    ) -> str:
        """An access token for a client itself: "bff" (RS256) or "reports" (ES256).

        No scopes = all it may have. A negative lifetime gives a token that is expired.
        """
        form = _token_form(expires_in_s, alg, audience) | {"grant_type": "client_credentials"}
        if scopes:
            form["scope"] = " ".join(scopes)
        secret = CLIENTS[client].secret
        assert secret is not None
        reply = await self._post("/token", form | {"client_id": client, "client_secret": secret})
        return str(reply["access_token"])

    async def user_token(
        self,
        user: UserName = "premium",
        *,
        scopes: Sequence[str] = (),
        expires_in_s: int = 3600,
        alg: Algorithm | None = None,
        audience: str | None = None,
    ) -> str:
        """An access token for a user, by way of the sign-in page, a code and PKCE.

        Subjects: guest "u-3", premium "u-1", admin "u-2". No scopes = all the user may have.
        """
        verifier = secrets.token_urlsafe(32)
        digest = hashlib.sha256(verifier.encode()).digest()
        query = {
            "response_type": "code",
            "client_id": "mobile",
            "redirect_uri": _REDIRECT_URI,
            "scope": " ".join(scopes or sorted(ACCOUNTS[user].scopes)),
            "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
            "code_challenge_method": "S256",
        }
        form = {"username": user, "password": ACCOUNTS[user].password}
        async with httpx.AsyncClient(base_url=self.identity) as http:
            answer = await http.post("/authorize", params=query, data=form)
        location = httpx.URL(answer.headers["location"])
        exchange = _token_form(expires_in_s, alg, audience) | {
            "grant_type": "authorization_code",
            "client_id": "mobile",
            "code": location.params["code"],
            "redirect_uri": _REDIRECT_URI,
            "code_verifier": verifier,
        }
        reply = await self._post("/token", exchange)
        return str(reply["access_token"])

    async def rotate_keys(self, *, keep_old: bool = True) -> None:
        """Let the provider sign with new keys; without `keep_old` the old ones vanish at once."""
        await self._post("/rotate", {"keep_old": "true" if keep_old else "false"})

    async def _control(self, service: ServiceName, method: str, request: Any) -> Any:
        async with grpc.aio.insecure_channel(self.address(service)) as channel:
            return await getattr(faults_pb2_grpc.FaultServiceStub(channel), method)(request)

    async def _post(self, path: str, form: Mapping[str, str]) -> dict[str, Any]:
        async with httpx.AsyncClient(base_url=self.identity) as http:
            answer = await http.post(path, data=dict(form))
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found


async def _is_busy(control: Any) -> bool:
    reply = await control.GetCalls(faults_pb2.GetCallsRequest())
    return any(method.in_flight for method in reply.methods)


def _token_form(expires_in_s: int, alg: Algorithm | None, audience: str | None) -> dict[str, str]:
    form = {"expires_in": str(expires_in_s)}
    if alg is not None:
        form["alg"] = alg
    if audience is not None:
        form["audience"] = audience
    return form


async def refusal(call: Any) -> grpc.aio.AioRpcError:
    """How a call that must fail ends."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value
