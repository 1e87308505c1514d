"""Which changes on disk are changes of the configuration."""

from pathlib import Path

import pytest
from watchfiles import Change

from bff.control.watch import Concerned


def concerned(folder: Path, name: str) -> bool:
    """Whether a change of `name` matters, where `mappings/` and the file `types.binpb` are watched."""
    (folder / "mappings").mkdir(exist_ok=True)
    judge = Concerned([folder / "mappings"], [folder / "types.binpb"])
    return judge(Change.modified, str(folder / name))


@pytest.mark.parametrize(
    "name", ["mappings", "mappings/orders.yaml", "mappings/shop/users.yaml", "types.binpb"]
)
def test_what_is_watched_concerns(tmp_path: Path, name: str) -> None:
    assert concerned(tmp_path, name)


@pytest.mark.parametrize("name", ["access.log", "tmp/accepted", "types.binpb.partial", "mappings2"])
def test_what_lies_beside_a_file_does_not(tmp_path: Path, name: str) -> None:
    """A log beside the set of types would else compile the configuration with each of its lines."""
    assert not concerned(tmp_path, name)


@pytest.mark.parametrize("name", ["..data", "live"])
def test_a_link_beside_a_file_does(tmp_path: Path, name: str) -> None:
    """As certificates and configurations are mounted: the file leads through it."""
    (tmp_path / "release").mkdir()
    (tmp_path / name).symlink_to("release")

    assert concerned(tmp_path, name)


def test_a_folder_that_is_itself_a_link_is_known_by_both_names(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    judge = Concerned([tmp_path / "link"], [])

    assert judge(Change.added, str(tmp_path / "link" / "a.yaml"))
    assert judge(Change.added, str(tmp_path / "real" / "a.yaml"))


@pytest.mark.parametrize("name", ["mappings/.orders.yaml.swp", "mappings/orders.yaml~"])
def test_what_editors_keep_for_themselves_does_not(tmp_path: Path, name: str) -> None:
    assert not concerned(tmp_path, name)
