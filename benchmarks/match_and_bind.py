"""What the match costs in 10,000 routes, and binding a query: microseconds of CPU, best of several rounds.

    python -m benchmarks.match_and_bind

Figures to compare with the last ones; nothing is asserted. CPU time is counted, so that a busy
machine distorts little. The goals: a match 5 us, binding four parameters 8 us.
"""

import time
import timeit
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from bff.transcoding.binding import compile_binder
from bff.transcoding.json_codec import Codec
from bff.transcoding.path_template import parse_template
from bff.transcoding.route_trie import RouteTrie
from bff.transcoding.sources import compile_protos

SERVICES: Final = 1000
_CALLS: Final = 10_000
_ROUNDS: Final = 7
_PROTOS: Final = Path(__file__).parents[1] / "protos"
# Ten rules for each service; `%` is its number.
_RULES: Final = (
    ("GET", "/v1/s%/items"),
    ("GET", "/v1/s%/items/{id}"),
    ("GET", "/v1/s%/items/{id}/parts"),
    ("GET", "/v1/s%/items/{id}/parts/{part}"),
    ("GET", "/v1/s%/{name=files/**}"),
    ("POST", "/v1/s%/items"),
    ("POST", "/v1/s%/items/{id}:cancel"),
    ("POST", "/v1/s%/items:batch"),
    ("POST", "/v1/s%/*/x/{y}"),
    ("POST", "/v1/{a}/q%/{b}"),
)
_REQUESTS: Final = (
    ("literals alone", "GET", "/v1/s500/items"),
    ("one variable", "GET", "/v1/s500/items/i-77"),
    ("two variables", "GET", "/v1/s500/items/i-77/parts/p-1"),
    ("a tail", "GET", "/v1/s500/files/a/b/c"),
    ("a verb", "POST", "/v1/s500/items/i-77:cancel"),
    ("a colon", "GET", "/v1/s500/items/a:b"),
    ("an escape", "GET", "/v1/s500/items/i%2F77"),
    ("a dead end first", "POST", "/v1/s500/q7/zz"),
    ("no route", "GET", "/v1/s500/nope/x"),
    ("wrong method", "PUT", "/v1/s500/items/i-77"),
)
_REQUEST: Final = "sample.catalog.v1.SearchProductsRequest"
_QUERIES: Final = (
    ("nothing", b""),
    ("four parameters", b"pageSize=20&pageToken=abc&category=CATEGORY_TOYS&query=pen"),
    ("four, escaped", b"page_size=20&page_token=a%2Fb+c&category=CATEGORY_TOYS&query=red%20pen"),
    ("four, two nested", b"pageSize=20&query=pen&minPrice.currencyCode=EUR&minPrice.units=5"),
)


def main() -> None:
    """Measure and print every case."""
    trie: RouteTrie[int] = RouteTrie()
    for number in range(SERVICES):
        for method, template in _RULES:
            trie.insert(parse_template(template.replace("%", str(number))), method, number)
    for name, method, path in _REQUESTS:
        _report(f"match, {name}", partial(trie.find, method, path))
    codec = Codec(compile_protos([_PROTOS]).files)
    message = codec.message_type(_REQUEST)
    assert message is not None
    binder = compile_binder(codec=codec, message=message, variables=[])
    for name, query in _QUERIES:
        _report(f"bind, {name}", partial(binder.bind, (), query, b""))


def _report(name: str, call: Callable[[], object]) -> None:
    rounds = timeit.repeat(call, number=_CALLS, repeat=_ROUNDS, timer=time.process_time)
    print(f"{min(rounds) / _CALLS * 1e6:7.2f} us  {name}")


if __name__ == "__main__":
    main()
