"""Bindings against descriptors, edge by edge."""

from pathlib import Path

import pytest

from bff.core.problems import Where
from bff.core.schema import HttpBinding, Method
from bff.transcoding.descriptors import Descriptors
from bff.transcoding.http_rules import (
    check_binding,
    find_field_path,
    unbound_binding,
)
from bff.transcoding.path_template import parse_template
from bff.transcoding.route_trie import Found, RouteTrie
from bff.transcoding.sources import compile_protos

PROTO = """syntax = "proto3";
package p.v1;
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/struct.proto";
service S { rpc Do(In) returns (Out); }
message Book { string name = 1; Book twin = 2; oneof k { string isbn = 3; string ean = 4; } }
message In {
  string id = 1; int64 page_size = 2; Book book = 3; repeated Book books = 4;
  map<string, Book> by_name = 5; repeated string tags = 6; bytes raw = 7; bool flag = 8;
  double ratio = 9; Kind kind = 10; google.protobuf.Timestamp at = 11;
  google.protobuf.Int64Value wrapped = 12; google.protobuf.FieldMask mask = 13;
  google.protobuf.Struct tree = 14;
  oneof choice { string one = 15; Book two = 16; string three = 17; }
}
enum Kind { K = 0; }
message Out { Book book = 1; }
"""


@pytest.fixture(scope="module")
def do(tmp_path_factory: pytest.TempPathFactory) -> Method:
    folder: Path = tmp_path_factory.mktemp("protos")
    (folder / "p.proto").write_text(PROTO)
    return Descriptors.build([compile_protos([folder])]).services["p.v1.S"].methods["Do"]


def _problems(
    method: Method, written: str, *, body: str = "", response_body: str = ""
) -> list[str]:
    kind, template = written.split(" ")
    binding = HttpBinding(
        method=kind,
        template=template,
        body=body,
        response_body=response_body,
        where=Where("a.proto", 7, 3),
    )
    return [str(problem) for problem in check_binding(method, binding, parse_template(template))]


# rule, binding, body, response_body, what the only problem says
REFUSED = [
    ("24", "GET /{id}/{id}", "", "", '"id" is bound twice (column 7'),
    ("24", "GET /{page_size}/{pageSize}", "", "", '"pageSize" is bound twice'),
    ("24", "GET /{ids}", "", "", 'p.v1.In has no field "ids" (column 2 of "/{ids}"); nearest: id'),
    ("24", "GET /{book.nam}", "", "", 'p.v1.Book has no field "nam"'),
    ("24", "GET /{books.name}", "", "", '"books" is repeated'),
    ("24", "GET /{by_name.name}", "", "", '"by_name" is a map'),
    ("24", "GET /{id.name}", "", "", '"id" is no message'),
    ("25", "GET /{tags}", "", "", '"tags" is repeated'),
    ("25", "GET /{by_name}", "", "", '"by_name" is a map'),
    ("25", "GET /{book}", "", "", '"book" is a p.v1.Book'),
    ("25", "GET /{tree}", "", "", '"tree" is a google.protobuf.Struct'),
    ("26", "GET /{one}/{three}", "", "", '"three" and "one" are members of one oneof "choice"'),
    ("26", "GET /{book.isbn}/{book.ean}", "", "", 'members of one oneof "k"'),
    ("26", "GET /{two.name}/{one}", "", "", '"one" and "two" are members'),
    ("26", "POST /{one}", "two", "", 'the body "two" and "one" are members'),
    ("27", "POST /a", "book.name", "", 'body: "book.name" is a path'),
    ("27", "GET /a", "", "book.name", 'response_body: "book.name" is a path'),
    ("27", "GET /a", "", "bok", 'response_body: p.v1.Out has no field "bok"; nearest: book'),
    ("27", "POST /a", "boks", "", 'body: p.v1.In has no field "boks"'),
    ("27", "POST /{id}", "id", "", '"id" is the body and a variable'),
    ("28", "GET /a", "*", "", "GET has no body"),
    ("28", "HEAD /a", "book", "", "HEAD has no body"),
    ("28", "DELETE /a", "*", "", "DELETE has no body"),
    ("30", "G@T /a", "", "", '"G@T" is no HTTP method'),
    ("30", " /a", "", "", '"" is no HTTP method'),
    ("44", "TRACE /a", "", "", "TRACE is never routed"),
]


@pytest.mark.parametrize(
    ("written", "body", "response_body", "words"),
    [
        pytest.param(*row[1:], id=row[1] + row[2], marks=pytest.mark.rule(f"transcoding.{row[0]}"))
        for row in REFUSED
    ],
)
def test_binding_is_refused(
    do: Method, written: str, body: str, response_body: str, words: str
) -> None:
    problems = _problems(do, written, body=body, response_body=response_body)

    assert len(problems) == 1
    # Nobody knows where the template itself stands, so no column of it is added.
    assert problems[0].startswith("a.proto:7:3: p.v1.S.Do: ")
    assert words in problems[0]


# binding, body, response_body, what to write instead
HINTS = [
    ("24", "GET /{id}/{id}", "", "", "give one of the two another field, or make its segment `*`"),
    ("24", "GET /{pageSiz}", "", "", "nearest: page_size"),
    ("24", "GET /{quux}", "", "",
     "its fields: id, page_size, book, books, by_name, tags, raw, flag and 9 more"),
    ("24", "GET /{books.name}", "", "", "leave it to the body"),
    ("24", "GET /{id.name}", "", "", "end the path at id"),
    ("24", "GET /{at.seconds}", "", "", "bind {at} itself"),
    ("25", "GET /{tags}", "", "", "leave it to the query (?tags=a&tags=b) or the body"),
    ("25", "GET /{by_name}", "", "", "leave it to the body"),
    ("25", "GET /{book}", "", "", "bind a field of it, such as {book.name}"),
    ("25", "GET /{book.twin}", "", "", "bind a field of it, such as {book.twin.name}"),
    ("25", "GET /{tree}", "", "", "leave it to the query (?tree=<JSON>) or the body"),
    ("26", "GET /{one}/{three}", "", "", "make the segment of the other `*`"),
    ("26", "POST /{one}", "two", "", 'write body: "*", or make the segment `*`'),
    ("27", "POST /a", "book.name", "", "write body: book"),
    ("27", "GET /a", "", "book.name", "write response_body: book"),
    ("27", "GET /a", "", "bok", "nearest: book"),
    ("27", "GET /a", "", "xyz", "its fields: book"),
    ("27", "POST /{id}", "id", "", 'write body: "*", which is every field that the path leaves'),
    ("28", "GET /a", "*", "", "remove `body`, or use POST"),
    ("30", "G@T /a", "", "", 'write one word, such as PURGE, or "*" for any method'),
    ("44", "TRACE /a", "", "", "remove the rule"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("written", "body", "response_body", "hint"),
    [
        pytest.param(*row[1:], id=row[1] + row[2], marks=pytest.mark.rule(f"transcoding.{row[0]}"))
        for row in HINTS
    ],
)
def test_what_to_write_instead_is_told(
    do: Method, written: str, body: str, response_body: str, hint: str
) -> None:
    problems = _problems(do, written, body=body, response_body=response_body)

    assert problems[0].endswith(hint), problems


VALID = [
    ("24", "GET /v1/{book.name=books/*}", ""),
    ("25", "GET /{raw}/{flag}/{ratio}/{kind}/{at}/{wrapped}/{mask}", ""),
    ("26", "GET /{two.isbn}/{two.name}", ""),
    ("27", "PATCH /{book.name=books/*}", "book"),
    ("27", "POST /{one}", "*"),
    ("29", "POST /a", "tags"),
    ("29", "POST /a", "by_name"),
    ("29", "POST /a", "id"),
    ("30", "REPORT /a", ""),
    ("43", "* /a", "*"),
]


@pytest.mark.parametrize(
    ("written", "body"),
    [
        pytest.param(*row[1:], id=row[1] + row[2], marks=pytest.mark.rule(f"transcoding.{row[0]}"))
        for row in VALID
    ],
)
def test_binding_is_taken(do: Method, written: str, body: str) -> None:
    problems = _problems(do, written, body=body)

    assert problems == []


@pytest.mark.rule("transcoding.28")
@pytest.mark.parametrize("kind", ["GET", "HEAD", "DELETE"])
def test_body_is_taken_where_a_switch_allows_it(do: Method, kind: str) -> None:
    binding = HttpBinding(method=kind, template="/a", body="*")

    template = parse_template("/a")

    assert check_binding(do, binding, template, body_on_get=True, body_on_delete=True) == []


def test_every_problem_is_reported(do: Method) -> None:
    problems = _problems(do, "GET /{tags}/{nope}", body="boks", response_body="bok")

    assert len(problems) == 5


def test_binding_without_a_place_is_placed_at_its_method(do: Method) -> None:
    binding = HttpBinding(method="GET", template="/{nope}")

    (problem,) = check_binding(do, binding, parse_template(binding.template))

    assert problem.where == do.where


def test_paths_lead_through_both_kinds_of_names(do: Method) -> None:
    path = find_field_path(do.input, ("book", "twin", "isbn"))

    assert [field.name for field in path] == ["book", "twin", "isbn"]
    assert [field.name for field in find_field_path(do.input, ("pageSize",))] == ["page_size"]
    assert find_field_path(do.input, ("byName",))[0].is_map


@pytest.mark.rule("transcoding.14")
def test_unbound_method_is_posted_to_its_grpc_path(do: Method) -> None:
    binding = unbound_binding(do)
    trie: RouteTrie[Method] = RouteTrie()

    template = parse_template(binding.template)

    trie.insert(template, binding.method, do)

    assert check_binding(do, binding, template) == []
    assert (binding.method, binding.template, binding.body) == ("POST", "/p.v1.S/Do", "*")
    assert trie.find("POST", "/p.v1.S/Do") == Found(do)
    assert trie.find("POST", "/p.v1.S/Other") is None
