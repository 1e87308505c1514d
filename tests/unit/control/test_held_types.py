"""What a node holds of services that give their types: newest, good, stored; stale and absent."""

import threading
from pathlib import Path

import pytest

from bff.config.documents import Document
from bff.control.held_types import HeldTypes
from bff.control.stored_types import StoredTypes
from bff.control.type_refresh import pause_s
from bff.core.errors import ConfigError
from bff.snapshot.type_sources import Reflected, Sources, read_sources, reflected_sources
from bff.transcoding.reflection import ReflectionError
from bff.transcoding.sources import SourceSet
from tests.support.config_files import loaded

A = SourceSet(origin="reflection://a", files=b"", digest="1")
B = SourceSet(origin="reflection://a", files=b"", digest="2")
GATEWAY = """
control: {state: state}
upstreams: {a: {endpoints: ["127.0.0.1:1"]}, b: {endpoints: ["127.0.0.1:1"]}}
descriptors: [{reflection: a%s}]
"""


class Service:
    """A fetch that gives what a test sets: types, or why there are none."""

    def __init__(self, answer: SourceSet | str) -> None:
        self.answer = answer
        self.asked = 0

    def __call__(self, source: Reflected) -> SourceSet:
        self.asked += 1
        if isinstance(self.answer, str):
            raise ReflectionError(self.answer)
        return self.answer


def document(folder: Path, more: str = "") -> Document:
    return loaded(folder, GATEWAY % more)


def accepted(held: HeldTypes, document: Document) -> Sources:
    """A version is judged by the newest types and goes live."""
    held.gather(document)
    sources = read_sources(document, fetch=held.newest)
    assert held.accept(sources) == ""
    return sources


def key_of(document: Document) -> str:
    return reflected_sources(document)[0].key


@pytest.mark.rule("transcoding.4")
def test_what_was_accepted_is_there_after_a_restart(tmp_path: Path) -> None:
    """With the service down: stale, and not absent."""
    written = document(tmp_path)
    accepted(HeldTypes(fetch=Service(A)), written)
    held = HeldTypes(fetch=Service("down"))

    assert accepted(held, written).sets == (A,)
    assert held.stale() == {"reflection://a": "down"}
    assert held.absent() == frozenset()
    assert held.unreached() == [("reflection://a", "down")]


@pytest.mark.rule("transcoding.4")
def test_nothing_stored_and_down_is_a_problem_or_absent(tmp_path: Path) -> None:
    held = HeldTypes(fetch=Service("down"))
    held.gather(document(tmp_path))
    with pytest.raises(ConfigError, match="no types of a by server reflection: down"):
        read_sources(document(tmp_path), fetch=held.newest)

    optional = document(tmp_path, ", required: false, services: [a.B]")
    sources = accepted(held, optional)
    assert [(one.origin, one.services) for one in sources.absent] == [("reflection://a", ("a.B",))]
    assert held.absent() == {"reflection://a"}


@pytest.mark.rule("transcoding.5")
def test_refused_types_are_newest_and_not_good(tmp_path: Path) -> None:
    """Until the service goes back to what is good."""
    service = Service(A)
    held = HeldTypes(fetch=service)
    written = document(tmp_path)
    accepted(held, written)
    source = reflected_sources(written)[0]
    service.answer = B

    assert held.refresh(source.key).result == "changed"
    assert held.has_newer()
    assert (held.newest(source), held.last_good(source)) == (B, A)
    held.refuse("no field")
    assert held.stale() == {"reflection://a": "no field"}
    assert held.refresh(source.key).result == "unchanged"
    assert held.stale() == {"reflection://a": "no field"}
    service.answer = A
    assert held.refresh(source.key).result == "changed"
    assert held.stale() == {}


@pytest.mark.rule("transcoding.6")
def test_a_failed_refresh_changes_nothing_and_is_news_once(tmp_path: Path) -> None:
    service = Service(A)
    held = HeldTypes(fetch=service)
    written = document(tmp_path)
    accepted(held, written)
    key = key_of(written)
    told = []
    for answer in ("late", "late", "down", A, A):
        service.answer = answer
        found = held.refresh(key)
        told.append((found.result, found.is_news))

    assert told == [
        ("failed", True), ("failed", False), ("failed", True),
        ("unchanged", True), ("unchanged", False),
    ]  # fmt: skip
    assert not held.has_newer()


def test_a_change_of_the_files_does_not_wait_for_the_services(tmp_path: Path) -> None:
    """What is held is not asked for again; what is new is."""
    service = Service(A)
    held = HeldTypes(fetch=service)
    accepted(held, document(tmp_path))
    accepted(held, document(tmp_path, ", every: 5s"))
    assert service.asked == 1
    accepted(held, document(tmp_path, ", services: [a.B]"))
    assert service.asked == 2
    assert list(held.plan().values()) == [60.0]


def test_sources_are_asked_side_by_side(tmp_path: Path) -> None:
    """Each waits until the other is asked as well."""
    both = threading.Barrier(2, timeout=10)

    def fetch(source: Reflected) -> SourceSet:
        both.wait()
        return SourceSet(origin=source.origin, files=b"", digest=source.key)

    held = HeldTypes(fetch=fetch)
    accepted(held, document(tmp_path, "}, {reflection: b"))
    assert held.sources == ("reflection://a", "reflection://b")


@pytest.mark.parametrize(
    ("failures", "every_s", "wait_s"),
    [(0, 60, 1), (1, 60, 2), (5, 60, 32), (6, 60, 60), (0, 0.5, 0.5), (99, 3600, 1024)],
)
def test_the_pause_doubles_up_to_every(failures: int, every_s: float, wait_s: float) -> None:
    assert pause_s(failures, every_s) == wait_s


# On disk


@pytest.mark.rule("control.LK1")
def test_torn_bytes_give_way_to_the_ones_before(tmp_path: Path) -> None:
    """Cut at any place, or with any octet changed."""
    store = StoredTypes(tmp_path)
    first = SourceSet(origin="a", files=b"first", digest="1", places={"a.proto": "a/a.proto"})
    second = SourceSet(origin="a", files=b"second", digest="2")
    store.write("k", first)
    store.write("k", second)
    assert store.read("k") == second
    path = store.folder / "k.types"
    whole = path.read_bytes()

    for at in range(len(whole)):
        path.write_bytes(whole[:at])
        assert store.read("k") == first
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert store.read("k") == first
    (store.folder / "k.before").write_bytes(b"")
    assert store.read("k") is None
    assert store.read("other") is None


def test_a_folder_that_cannot_be_written_says_why(tmp_path: Path) -> None:
    written = document(tmp_path)
    (tmp_path / "state").write_text("")
    held = HeldTypes(fetch=Service(A))
    held.gather(written)

    why = held.accept(read_sources(written, fetch=held.newest))
    assert why.endswith("state/descriptors: Not a directory")
