"""The guided tour: real requests, each with its reply and one line of what happened.

A step that does not go as it should is a surprise; surprises make the demo fail.
"""

import base64
import hashlib
import json
import secrets
from collections.abc import Callable
from typing import Any

import httpx
from rich.console import Console
from rich.text import Text

from sample_services.stage import Stage

__all__ = ["Tour"]

_SHOWN_CHARS = 460
_HEADERS = (
    "retry-after", "ratelimit-policy", "ratelimit", "www-authenticate", "aggregate-status",
)  # fmt: skip
_GUEST_LIMIT = 60


class Tour:
    """Walks through the gateway on a stage. `surprises` is what went otherwise than it should."""

    def __init__(self, stage: Stage, console: Console) -> None:
        self._stage = stage
        self._out = console
        self._http = httpx.Client(base_url=stage.public, timeout=15)
        self._token = ""
        self._step = 0
        self.surprises: list[str] = []

    def walk(self) -> None:
        """Every stop, in order."""
        for stop in (
            self.guest_call, self.token, self.get_and_patch, self.validation_error,
            self.ownership, self.api_key, self.home_screen, self.home_with_a_failure,
            self.graphql, self.stream, self.too_many, self.breaker, self.bad_config,
        ):  # fmt: skip
            stop()
        self._http.close()

    # The stops

    def guest_call(self) -> None:
        """An open route needs nobody."""
        self._title("A guest reads the catalog: no credential, the guest tier, by address")
        reply = self._ask("GET", "/v1/products/p-1")
        self._say(
            "REST in, gRPC CatalogService/GetProduct behind, JSON out; RateLimit tells what is left."
        )
        self._expect(reply.status_code == 200 and reply.json()["productId"] == "p-1", "a product")

    def token(self) -> None:
        """The code flow with PKCE, as an app would do it."""
        self._title("A user signs in at the identity provider (authorization code with PKCE)")
        verifier = secrets.token_urlsafe(48)
        digest = hashlib.sha256(verifier.encode()).digest()
        back = "http://127.0.0.1/callback"
        query = {
            "response_type": "code", "client_id": "mobile", "redirect_uri": back,
            "scope": "users.read users.write orders.read orders.write", "state": "tour",
            "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
            "code_challenge_method": "S256",
        }  # fmt: skip
        with httpx.Client(base_url=self._stage.identity, timeout=15) as idp:
            login = {"username": "premium", "password": "premium-demo"}
            sent = idp.post("/authorize", params=query, data=login)
            code = httpx.URL(sent.headers["location"]).params["code"]
            form = {
                "grant_type": "authorization_code", "code": code, "redirect_uri": back,
                "client_id": "mobile", "code_verifier": verifier,
            }  # fmt: skip
            reply = idp.post("/token", data=form)
        self._out.print(f"  [bold]POST[/] {self._stage.identity}/token", highlight=False)
        self._token = reply.json()["access_token"]
        middle = self._token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
        shown = {key: claims[key] for key in ("iss", "aud", "sub", "scope", "plan", "tenant_id")}
        self._out.print(Text(f"  claims {json.dumps(shown)}", "cyan"))
        self._say("The gateway knows the provider only by its key set; it never sees the password.")
        self._expect(claims["sub"] == "u-1", "a token for u-1")

    def get_and_patch(self) -> None:
        """Read and change."""
        self._title("The user reads and changes their profile")
        reply = self._ask("GET", "/v1/users/u-1", auth=True)
        self._expect(reply.status_code == 200, "the profile")
        reply = self._ask("PATCH", "/v1/users/u-1", auth=True, body={"displayName": "Ada Lovelace"})
        self._say(
            "PATCH became UpdateUser with update_mask=display_name: the fields that were sent, no others."
        )
        self._expect(reply.json().get("displayName") == "Ada Lovelace", "the new name")

    def validation_error(self) -> None:
        """Errors name the field."""
        self._title("A mistake gets an answer that helps")
        reply = self._ask("GET", "/v1/products?page_sise=5")
        violations = _detail(reply, "BadRequest").get("fieldViolations", [{}])
        self._say(
            "400 before any service was asked; it names the parameter and the nearest right one."
        )
        self._expect(
            reply.status_code == 400 and "page_size" in violations[0].get("description", ""),
            "400 with the nearest name",
        )

    def ownership(self) -> None:
        """Rules on routes."""
        self._title("Someone else's profile stays closed")
        reply = self._ask("GET", "/v1/users/u-5", auth=True)
        self._say("The mapping says when: auth.sub == path.user_id || 'admin' in auth.roles.")
        self._expect(reply.status_code == 403, "403")

    def api_key(self) -> None:
        """A partner's key."""
        self._title("A partner calls with an API key: premium tier, 5,000 requests a minute")
        headers = {"x-api-key": self._stage.api_key}
        reply = self._ask("GET", "/v1/products/p-2", headers=headers, shown="x-api-key: bff_...")
        self._say(
            "The file holds only a keyed hash of the key; the policy header shows the tier's rate."
        )
        self._expect(
            reply.status_code == 200 and "q=5000" in reply.headers.get("ratelimit-policy", ""),
            "the premium policy",
        )

    def home_screen(self) -> None:
        """One request, three services."""
        self._title("The mobile home screen: one request, three services")
        reply = self._ask("GET", "/v1/mobile/home", auth=True)
        calls = self._calls(reply)
        self._say(
            f"{len(calls)} calls: {', '.join(calls)}; the products of all orders in one batch."
        )
        self._expect(reply.headers.get("aggregate-status") == "complete", "a complete screen")
        self._expect(len(calls) == 3, "three calls")

    def home_with_a_failure(self) -> None:
        """Optional parts may be missing."""
        self._title("The same screen while the catalog fails")
        self._stage.set_fault("catalog", "fail=INTERNAL", "*BatchGetProducts")
        reply = self._ask("GET", "/v1/mobile/home", auth=True, tail=True)
        self._stage.clear_faults("catalog")
        self._say(
            "Still 200: products are optional, the header and `problems` say what is missing and why."
        )
        self._expect(
            reply.status_code == 200 and "missing=(products" in reply.headers["aggregate-status"],
            "a screen without products",
        )

    def graphql(self) -> None:
        """A join, batched."""
        self._title("A frontend asks GraphQL for 20 orders, each with its customer")
        query = (
            '{ orders(userId: "u-1", first: 20) { orders { id status customer { displayName } } } }'
        )
        reply = self._ask("POST", "/graphql", auth=True, body={"query": query})
        calls = self._calls(reply)
        self._say(
            f"{len(calls)} upstream calls: {', '.join(calls)}. Twenty customers cost one BatchGetUsers."
        )
        orders = (reply.json().get("data") or {}).get("orders") or {}
        self._expect(len(orders.get("orders", [])) == 20 and len(calls) == 2, "20 orders, 2 calls")

    def stream(self) -> None:
        """Server streaming."""
        self._title("A server stream, one JSON document a line")
        path = "/v1/orders/o-81:watch"
        headers = {"authorization": f"Bearer {self._token}"}
        self._show_request("GET", path, "authorization: Bearer ...")
        with self._http.stream("GET", path, headers=headers) as reply:
            self._show_status(reply)
            lines = []
            for line in reply.iter_lines():
                lines.append(line)
                self._out.print(Text(f"  {line}", "cyan"))
        self._say(
            "Each line left as the service sent it; closing the connection cancels the gRPC call."
        )
        self._expect(len(lines) >= 2 and "error" not in lines[-1], "a stream of events")

    def too_many(self) -> None:
        """429."""
        self._title(f"A guest asks more than {_GUEST_LIMIT} times in a minute")
        for _ in range(_GUEST_LIMIT + 10):
            reply = self._http.get("/v1/products/p-3")
            if reply.status_code == 429:
                break
        self._show_request("GET", "/v1/products/p-3", "(until refused)")
        self._show(reply)
        self._say("429 with Retry-After; users with a token have buckets of their own and go on.")
        self._expect(reply.status_code == 429 and "retry-after" in reply.headers, "429")
        allowed = self._http.get("/v1/products/p-3", headers=self._bearer())
        self._expect(allowed.status_code == 200, "200 for the user meanwhile")

    def breaker(self) -> None:
        """Open and closed again."""
        self._title("The orders service goes down: its breaker opens, and closes when it is back")
        path = "/v1/orders/o-81"
        self._stage.set_fault("orders", "fail=UNAVAILABLE", "*GetOrder")
        opened = self._until(path, lambda reply: _reason(reply) == "BREAKER_OPEN", 60)
        self._show_request("GET", path, "(until the breaker opens)")
        self._show(opened)
        self._say("Now refused at once, without a call, with the time to come back in Retry-After.")
        self._expect(_reason(opened) == "BREAKER_OPEN", "an open breaker")
        self._stage.clear_faults("orders")
        closed = self.wait_for_event("breaker_moved", '"after":"closed"', lambda: self._probe(path))
        self._show_request("GET", path, "(service is well again)")
        reply = self._http.get(path, headers=self._bearer())
        self._show(reply)
        self._say(f"Probes went through, one at a time, and closed it: {closed}")
        self._expect(reply.status_code == 200, "200 again")

    def bad_config(self) -> None:
        """A bad edit changes nothing."""
        self._title("Somebody saves a bad mapping while traffic goes on")
        file = self._stage.mappings / "orders.yaml"
        good = file.read_text()
        file.write_text(good.replace("- rpc: GetOrder\n", "- rpc: GetOrdr\n", 1))
        line = self._stage.events.wait(lambda text: "config_refused" in text, 30)
        problem = json.loads(line)["problem"]
        self._out.print(Text(f"  {problem}", "red"))
        reply = self._ask("GET", "/v1/orders/o-81", auth=True)
        self._say(
            "The file, line and nearest name were told; the last good version goes on serving."
        )
        self._expect("GetOrdr" in problem and reply.status_code == 200, "a refused edit, 200")
        file.write_text(good)

    # How they are shown

    def wait_for_event(self, name: str, part: str, nudge: Callable[[], None]) -> str:
        """The event line with these words; `nudge` sends traffic that brings it about."""
        for _ in range(2_000):
            nudge()
            try:
                line = self._stage.events.wait(lambda text: name in text and part in text, 0.1)
            except TimeoutError:
                continue
            event = json.loads(line)
            return f"{event.get('before')} -> {event.get('after')} ({event.get('why')})"
        raise TimeoutError(f"no event {name} with {part}")

    def _probe(self, path: str) -> None:
        self._http.get(path, headers=self._bearer())

    def _until(
        self, path: str, holds: Callable[[httpx.Response], bool], most: int
    ) -> httpx.Response:
        for _ in range(most):
            reply = self._http.get(path, headers=self._bearer())
            if holds(reply):
                break
        return reply

    def _bearer(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self._token}"}

    def _ask(
        self,
        method: str,
        path: str,
        *,
        auth: bool = False,
        body: Any = None,
        headers: dict[str, str] | None = None,
        shown: str = "",
        tail: bool = False,
    ) -> httpx.Response:
        sent = {**(self._bearer() if auth else {}), **(headers or {})}
        self._show_request(
            method, path, shown or ("authorization: Bearer ..." if auth else ""), body
        )
        reply = self._http.request(method, path, headers=sent, json=body)
        self._show(reply, tail=tail)
        return reply

    def _calls(self, reply: httpx.Response) -> list[str]:
        line = self._stage.log_line(reply.headers["x-request-id"])
        return [call["operation"] for call in line["calls"]]

    def _title(self, text: str) -> None:
        self._step += 1
        self._out.print()
        self._out.print(Text(f"{self._step}. {text}", "bold"))

    def _show_request(self, method: str, path: str, note: str = "", body: Any = None) -> None:
        line = Text("  ")
        line.append(method, "bold")
        line.append(f" {path}")
        if note:
            line.append(f"   {note}", "dim")
        self._out.print(line)
        if body is not None:
            self._out.print(Text(f"  {json.dumps(body)}", "dim"))

    def _show_status(self, reply: httpx.Response) -> None:
        colour = "green" if reply.status_code < 400 else "yellow"
        line = Text(f"  {reply.status_code} {reply.reason_phrase}", colour)
        for name in _HEADERS:
            if name in reply.headers:
                line.append(f"   {name}: {reply.headers[name]}", "dim")
        self._out.print(line)

    def _show(self, reply: httpx.Response, *, tail: bool = False) -> None:
        self._show_status(reply)
        text = reply.text
        if len(text) > _SHOWN_CHARS:
            text = f"... {text[-_SHOWN_CHARS:]}" if tail else f"{text[:_SHOWN_CHARS]} ..."
        self._out.print(Text(f"  {text}", "cyan"))

    def _say(self, text: str) -> None:
        self._out.print(Text(f"  -> {text}", "green"))

    def _expect(self, holds: bool, what: str) -> None:
        if not holds:
            surprise = f"step {self._step}: expected {what}"
            self.surprises.append(surprise)
            self._out.print(Text(f"  !! {surprise}", "bold red"))


def _detail(reply: httpx.Response, kind: str) -> dict[str, Any]:
    details = reply.json().get("error", {}).get("details", [])
    return next((d for d in details if d.get("@type", "").endswith(f".{kind}")), {})


def _reason(reply: httpx.Response) -> str:
    return str(_detail(reply, "ErrorInfo").get("reason", "")) if reply.status_code >= 400 else ""
