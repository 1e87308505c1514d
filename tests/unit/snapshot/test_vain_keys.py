"""What a route writes in vain is refused at its place."""

from pathlib import Path

import pytest

from tests.unit.snapshot.test_compiler import ORDERS, compiled, problems

# A rule about callers needs a provider of identity.
ISSUER = 'auth: {issuers: {main: {issuer: "http://127.0.0.1:1", audience: [shop]}}}\n'


@pytest.mark.parametrize(
    ("rule", "column", "told"),
    [
        (
            "when: 'auth.sub == path.oder_id'",
            34,
            "`path.oder_id`: no path of this route has a variable `oder_id`; did you mean `order_id`?",
        ),
        (
            "tenant: path.zone",
            36,
            "`path.zone`: no path of this route has a variable `zone`; its variables: order_id",
        ),
    ],
    ids=["when", "tenant"],
)
@pytest.mark.rule("edge.9")
def test_a_rule_about_a_variable_that_is_not_there(
    tmp_path: Path, rule: str, column: int, told: str
) -> None:
    """It would refuse everyone, on the first day in production."""
    routes = f"routes:\n  - {{rpc: GetOrder, auth: {{{rule}}}}}\n"

    assert problems(tmp_path, orders=ORDERS + routes, more=ISSUER) == [
        f"orders.yaml:4:{column} {told}"
    ]


def test_a_rule_may_read_the_message_that_stands_for_a_path(tmp_path: Path) -> None:
    """GraphQL and aggregates have no path: `path.user_id` is the field of the request there."""
    when = "when: \"'admin' in auth.roles || auth.sub == path.user_id\""
    routes = f"routes:\n  - {{rpc: ListOrders, get: /v1/all, auth: {{{when}}}}}\n"

    assert compiled(tmp_path, orders=ORDERS + routes, more=ISSUER).routes


def test_settings_of_streams_on_a_method_that_is_none(tmp_path: Path) -> None:
    routes = "routes: [{rpc: GetOrder, stream: {default: sse}}]"

    assert problems(tmp_path, orders=ORDERS + routes) == [
        "orders.yaml:3:34 GetOrder is no stream; remove `stream`"
    ]


def test_settings_of_streams_for_a_whole_file_are_for_its_streams(tmp_path: Path) -> None:
    file = ORDERS + "stream: {default: sse}\nroutes: annotations\n"

    assert compiled(tmp_path, orders=file).routes


def test_a_method_routed_twice_by_its_annotation_is_told_where_it_is_written(
    tmp_path: Path,
) -> None:
    routes = "routes:\n  - {rpc: GetOrder}\n  - {rpc: GetOrder, deadline: 1s}\n"

    (told,) = problems(tmp_path, orders=ORDERS + routes)

    assert told.startswith("orders.yaml:5:11 GetOrder has the paths of its annotation by routes[0]")
    assert told.endswith("; write both in one entry, or give this one a path")


def test_a_stream_is_told_apart_from_an_operation_that_is_not_there(tmp_path: Path) -> None:
    """A near name would send its reader astray."""
    screen = "aggregate: GET /v1/screen\nsources: {one: {rpc: orders.WatchOrder}}\n"
    fields = "routes: annotations\ngraphql: {queries: {watch: WatchOrder}}\n"

    assert problems(tmp_path, orders=ORDERS + fields, screen=screen) == [
        "screen.yaml:2:22 orders.WatchOrder is a stream; a source is one call: name a unary method",
        "orders.yaml:4:28 WatchOrder is a stream; fields and joins take unary methods",
    ]


@pytest.mark.rule("transcoding.134")
@pytest.mark.parametrize(
    ("way", "warned"),
    [("", 1), (", websocket: true", 0), (", transcoding: {bidi_http1: half_duplex}", 0)],
    ids=["HTTP/1.1 alone", "WebSocket", "in turns"],
)
def test_a_conversation_that_nobody_can_hold_is_warned_of(
    tmp_path: Path, way: str, warned: int
) -> None:
    routes = f"routes: [{{rpc: TrackOrders{way}}}]"

    found = compiled(tmp_path, orders=ORDERS + routes).warnings

    told = [problem.message for problem in found if "both ways" in problem.message]
    assert len(told) == warned
    assert all(text.endswith("no listener speaks HTTP/2: all get 426") for text in told)
