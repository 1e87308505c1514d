"""Bodies made to cost more than their size: by family, in any size, with the answer that each gets.

Run as a program it reads one body of each family under a limit of CPU time that the square of its
size would exceed by far, and prints the answers: `python -m tests.support.hostile_json OCTETS SECONDS`.
"""

import json
import resource
import sys
from collections.abc import Callable, Iterator

from msgspec import Struct

from bff.core.errors import ClientError
from bff.transcoding.json_codec import Codec
from bff.transcoding.switches import STRICT, Switches
from tests.support.vector_kitchen import vector_types

__all__ = ["FAMILIES", "SWITCHES", "Family", "answer", "readers"]

SWITCHES = {
    "strict": STRICT,
    "lenient": Switches(
        json_unknown="ignore",
        json_duplicates="last",
        enum_case="ignore",
        json_depth=90,
        nul="reject",
    ),
}


class Family(Struct, frozen=True):
    """`before`, as many of `unit` as fit, `after`; a unit's `%d` counts. What reading it says: `strict`, `lenient`."""

    before: str
    unit: str
    after: str
    strict: str = "read"
    lenient: str = "read"

    def body(self, size_bytes: int) -> bytes:
        """About so many octets."""
        if "%d" not in self.unit:
            count = max(1, size_bytes // len(self.unit.encode()))
            return (self.before + self.unit * count + self.after).encode()
        count = max(1, size_bytes // (len(self.unit) + len(str(size_bytes))))
        units = "".join([self.unit.replace("%d", str(each)) for each in range(count)])
        return (self.before + units.removesuffix(",") + self.after).encode()


def _everywhere(answer: str) -> tuple[str, str]:
    return answer, answer


FAMILIES = {
    # Brackets
    "lists without end": Family("", "[", "", *_everywhere("TOO_DEEP")),
    "objects without end": Family("", '{"child":', "", *_everywhere("TOO_DEEP")),
    "deep lists of an unknown key": Family('{"nope":', "[", "]", *_everywhere("TOO_DEEP")),
    "a flat list of lists": Family('{"value":[', "[],", "[]]}"),
    "lists in lists of a wrong type": Family(
        '{"tags":[', "[],", "[]]}", *_everywhere("INVALID_FIELD")
    ),
    # Numbers
    "digits": Family('{"i32":', "1", "}", *_everywhere("INVALID_FIELD")),
    "digits in quotes": Family('{"i32":"', "1", '"}', *_everywhere("INVALID_FIELD")),
    "digits of a double": Family('{"real":', "1", "}", *_everywhere("INVALID_FIELD")),
    "digits of a value": Family('{"value":', "1", "}", *_everywhere("INVALID_FIELD")),
    "digits of an exponent": Family('{"real":1e', "9", "}", *_everywhere("INVALID_FIELD")),
    "zeros of an exponent": Family('{"real":1e', "0", "1}"),
    "digits of a whole number's exponent": Family(
        '{"i64":"1e', "9", '"}', *_everywhere("INVALID_FIELD")
    ),
    "a long fraction": Family('{"real":0.', "0", "1}"),
    "a long fraction in quotes": Family('{"real":"0.', "0", '1"}'),
    "many numbers": Family('{"value":[', "1,", "1]}"),
    "many tiny numbers": Family('{"value":[', "1e-300,", "1]}"),
    "digits of a duration": Family('{"lasts":"', "1", 's"}', *_everywhere("INVALID_FIELD")),
    "digits of a time": Family(
        '{"at":"2024-01-02T03:04:05.', "0", 'Z"}', *_everywhere("INVALID_FIELD")
    ),
    # Texts
    "underscores": Family('{"text":"', "_", '"}'),
    "underscores before an escape": Family('{"text":"', "_", '\\n"}'),
    "underscores between escapes": Family('{"text":"', '_\\"', '"}'),
    "underscores in many texts": Family('{"tags":["', '_","', '"]}'),
    "digits and underscores": Family('{"text":"', "1_", '"}'),
    "dots": Family('{"text":"', ".", '"}'),
    "dots and quotes": Family('{"text":"', '.\\"', '"}'),
    "dots and seconds": Family('{"text":"', ".s", '"}'),
    "minuses": Family('{"text":"', "-", '"}'),
    "numbers in quotes in a text": Family('{"text":"', '\\"-01_', '"}'),
    "zeros in a text": Family('{"text":"', "0", '"}'),
    "plus signs": Family('{"text":"', '\\"+', '"}'),
    "digits of another script": Family('{"text":"', "٣", '"}'),
    "escapes": Family('{"text":"', "\\u0041", '"}'),
    "backslashes": Family('{"text":"', "\\\\", '"}'),
    "NUL behind backslashes": Family('{"text":"', "\\\\", '\\u0000"}', "read", "INVALID_FIELD"),
    "a text of quotes without end": Family('{"text":"', '\\"', "", *_everywhere("INVALID_JSON")),
    "a body of quotes": Family("", '"', "", *_everywhere("INVALID_JSON")),
    "white space": Family('{"tags":[', " ", "]}"),
    "base64": Family('{"octets":"', "AAAA", '"}'),
    "base64 that ends badly": Family('{"octets":"', "AAAA", '!"}', *_everywhere("INVALID_FIELD")),
    "a long name of an enum": Family('{"state":"', "A", '"}', "INVALID_FIELD", "read"),
    "a mask of many paths": Family('{"mask":"', "a,", 'a"}'),
    "a mask of one long path": Family('{"mask":"', "aB.", 'a"}'),
    "a mask that ends badly": Family('{"mask":"', "a,", '-"}', *_everywhere("INVALID_FIELD")),
    # Keys
    "a long key": Family('{"', "a", '":1}', "UNKNOWN_FIELD", "read"),
    "a long key of underscores": Family('{"', "_", '":1}', "UNKNOWN_FIELD", "read"),
    "many unknown keys": Family("{", '"k%d":1,', "}", "UNKNOWN_FIELD", "read"),
    "one key again and again": Family("{", '"i32":1,', '"i32":2}', "DUPLICATE_FIELD", "read"),
    "two of a oneof again and again": Family(
        "{", '"choiceText":"a","choiceNumber":1,', '"choiceNumber":2}', "DUPLICATE_FIELD", "read"
    ),
    "names of a oneof in a text": Family('{"text":"', '\\"choiceText\\":', '"}'),
    "many entries of a map": Family('{"labels":{', '"k%d":"1",', "}}"),
    "many entries with underscores": Family('{"labels":{', '"k_%d":"1",', "}}"),
    "many numbered entries": Family('{"byNumber":{', '"%d":"x",', "}}"),
    "one entry again and again": Family(
        '{"byNumber":{', '"1":"x",', '"1":"y"}}', "DUPLICATE_FIELD", "read"
    ),
    "many members of a struct": Family('{"struct":{', '"k%d":1,', "}}"),
    "an Any without a type": Family('{"any":{', '"k%d":1,', "}}", *_everywhere("INVALID_FIELD")),
    "a long list in an Any": Family(
        '{"any":{"@type":"x/kitchen.v1.Kitchen","tags":[', '"x",', '"x"]}}'
    ),
    "a long text below many Anys": Family(
        '{"any":'
        + '{"@type":"x/kitchen.v1.Kitchen","any":' * 40
        + '{"@type":"x/kitchen.v1.Kitchen","text":"',
        "x",
        '"}' + "}" * 41,
    ),
    "a long list of a wrong type": Family('{"text":[', "1,", "1]}", *_everywhere("INVALID_FIELD")),
}


def readers() -> dict[str, Callable[[bytes], bytes]]:
    """A reader of the kitchen's message for each set of switches."""
    codec = Codec(vector_types())
    return {
        name: codec.reader("kitchen.v1.Kitchen", switches) for name, switches in SWITCHES.items()
    }


def answer(read: Callable[[bytes], bytes], body: bytes) -> str:
    """The reason of the refusal, or `read`."""
    try:
        read(body)
    except ClientError as error:
        return error.reason
    return "read"


def _answers(size_bytes: int) -> Iterator[dict[str, str]]:
    made = readers()
    for name, family in FAMILIES.items():
        body = family.body(size_bytes)
        yield {"family": name, **{each: answer(read, body) for each, read in made.items()}}


if __name__ == "__main__":
    size, seconds = map(int, sys.argv[1:])
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    for line in _answers(size):
        print(json.dumps(line), flush=True)
