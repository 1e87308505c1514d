"""Whatever the switches: a request binds or is the client's fault, and the path holds."""

import json
from collections.abc import Sequence
from typing import get_args, get_type_hints

from hypothesis import given, settings
from hypothesis import strategies as st

from bff.core.errors import ClientError
from bff.transcoding.binding import compile_binder
from bff.transcoding.json_codec import Codec
from bff.transcoding.path_template import parse_template
from bff.transcoding.route_trie import Found, RouteTrie
from bff.transcoding.switches import Switches
from tests.support.proto_sets import KITCHEN, compile_set

KIND = "kitchen.v1.Kitchen"
CODEC = Codec(compile_set(KITCHEN))
SHAPE = CODEC.message_type(KIND)
assert SHAPE is not None
WRITE = CODEC.writer(KIND)
WORDS = {name: get_args(hint) for name, hint in get_type_hints(Switches).items() if get_args(hint)}
# Without verbatim masks, of which some have no JSON form to compare.
CHOICES = {
    name: words
    for name, words in WORDS.items()
    if ... not in words and str not in words and name != "query_mask"
}

switches = st.fixed_dictionaries(
    {name: st.sampled_from(words) for name, words in CHOICES.items()}
).map(lambda values: Switches(**values))

KEYS = ["text", "i32", "flag", "state", "choiceText", "choice_number", "choiceMoney.units", "at",
        "boxedText", "tags", "labels[a]", "child.text", "child.choiceText", "nope", "lasts", "mask"]  # fmt: skip
TEXTS = [
    "",
    "1",
    "true",
    "T",
    "STATE_NEW",
    "new",
    "99",
    "a+b",
    "%00",
    "1h",
    "a.b_c",
    "x,,y",
    "2024-01-02T03:04:05Z",
]
queries = st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(TEXTS)), max_size=4).map(
    lambda pairs: "&".join(f"{key}={text}" for key, text in pairs).encode()
)
VALUES = [
    "1",
    '"1"',
    "null",
    "true",
    '"STATE_NEW"',
    '"new"',
    "[]",
    "{}",
    '{"text":"a"}',
    '"a,,b"',
    "[1,null]",
]
bodies = st.lists(
    st.tuples(st.sampled_from([key for key in KEYS if "[" not in key]), st.sampled_from(VALUES)),
    max_size=4,
).map(lambda pairs: ("{" + ",".join(f'"{key}":{text}' for key, text in pairs) + "}").encode())


@settings(deadline=None, max_examples=150)
@given(
    switches, queries, st.one_of(st.just(b""), bodies), st.sampled_from(["", "*", "child", "tags"])
)
def test_a_request_binds_or_is_the_client_s_fault(
    chosen: Switches, query: bytes, body: bytes, rule: str
) -> None:
    assert SHAPE is not None
    binder = compile_binder(
        codec=CODEC, message=SHAPE, variables=[("text",)], body=rule, switches=chosen
    )
    try:
        wire = binder.bind(("the path",), query, body if rule else b"")
    except ClientError:
        return
    shown = json.loads(WRITE(wire))
    if chosen.same_field in {"reject", "path_wins"}:
        assert shown["text"] == "the path"


TEMPLATES = [
    "/a",
    "/a/{x}",
    "/a/{x}/b",
    "/a/{x=**}",
    "/a/{x=**}/b",
    "/a/{x}:go",
    "/{x}/b",
    "/a/{x=**}:go",
]
paths = st.lists(
    st.sampled_from(["a", "b", "", "c:go", "c:no", "b:go", "%2F"]), min_size=1, max_size=4
)


def _takes(template: str, chosen: Switches, segments: list[str]) -> bool:
    """A straightforward reading of one template, without verbs in literals."""
    parsed = parse_template(template, tail=True)
    here, kinds = list(segments), [(each.kind, each.text) for each in parsed.segments]
    if parsed.verb:
        last, colon, verb = here[-1].rpartition(":")
        if not colon or not last or verb != parsed.verb:
            return False
        here[-1] = last
    slashed = chosen.trailing_slash == "ignore" and not parsed.verb and kinds[-1][0] != "**"
    readings = [here, here[:-1]] if slashed and here[-1] == "" and len(here) > 1 else [here]
    return any(_fits(kinds, each, chosen, verb=bool(parsed.verb)) for each in readings)


def _fits(
    kinds: Sequence[tuple[str, str]], here: list[str], chosen: Switches, *, verb: bool
) -> bool:
    if ("**", "") in kinds:
        at = kinds.index(("**", ""))
        rest = len(kinds) - at - 1
        if len(here) < at + rest:
            return False
        middle = here[at : len(here) - rest]
        if not rest and middle and not verb and _hides_verb(middle[-1], chosen):
            return False
        ends = here[len(here) - rest :]
        return _plain(kinds[:at], here[:at], chosen) and _plain(kinds[at + 1 :], ends, chosen)
    if len(here) != len(kinds):
        return False
    if kinds[-1][0] == "*" and not verb and _hides_verb(here[-1], chosen):
        return False
    return _plain(kinds, here, chosen)


def _hides_verb(segment: str, chosen: Switches) -> bool:
    return chosen.verb_unregistered == "no_match" and ":" in segment[1:-1]


def _plain(kinds: Sequence[tuple[str, str]], here: list[str], chosen: Switches) -> bool:
    return all(
        text == each if kind == "literal" else bool(each) or chosen.empty_segment == "bind"
        for (kind, text), each in zip(kinds, here, strict=True)
    )


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(TEMPLATES), switches, paths)
def test_one_route_takes_what_its_switches_say(
    template: str, chosen: Switches, segments: list[str]
) -> None:
    trie: RouteTrie[str] = RouteTrie()
    trie.insert(parse_template(template, tail=True), "GET", template, switches=chosen)

    found = trie.find("GET", "/" + "/".join(segments))

    assert isinstance(found, Found) == _takes(template, chosen, segments)
