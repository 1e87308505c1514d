"""References to secrets."""

from pathlib import Path

import pytest

from bff.config.secret_refs import SecretRef, is_secret_ref
from bff.core.errors import ConfigError
from tests.support.config_files import lines, loaded, problems

pytestmark = pytest.mark.rule("control.CF8")

KEY = "gateway: {listen: [{address: '127.0.0.1:1', tls: {cert: a.pem, key: %s}}]}"


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("env:REDIS_PASSWORD", True),
        ("file:/run/key", True),
        ("file:key", False),
        ("env:", False),
        ("env:A B", False),
        ("store:a#b", False),
        ("hunter2", False),
        (5, False),
    ],
)
def test_only_env_and_absolute_files_are_references(text: object, right: bool) -> None:
    assert is_secret_ref(text) is right


def test_a_reference_resolves_when_asked_and_never_prints_its_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text("hunter2\n")
    monkeypatch.setenv("CONFIG_TEST_SECRET", "hunter3")
    of_file, of_env = SecretRef(f"file:{tmp_path}/key"), SecretRef("env:CONFIG_TEST_SECRET")

    assert (of_file.resolve(), of_env.resolve()) == ("hunter2", "hunter3")
    assert "hunter" not in f"{of_file!r}{of_env!r}{of_file}{of_env}"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("env:CONFIG_TEST_NOT_SET", "has no CONFIG_TEST_NOT_SET"),
        ("file:/no/such", "cannot be read"),
    ],
)
def test_an_unresolved_reference_is_a_problem(name: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        SecretRef(name).resolve()


def test_a_secret_in_clear_is_refused_and_shown_nowhere(tmp_path: Path) -> None:
    """Neither its own problem nor another one of the same line repeats it."""
    found = problems(tmp_path, KEY % "hunter2, cret: x")

    assert [problem.code for problem in found] == ["BFF-C017", "BFF-C010"]
    assert "env:NAME" in found[0].hint
    assert "hunter2" not in repr(found)


@pytest.mark.parametrize("url", ["redis://user:hunter2@host:1", "redis://host:1?password=hunter2"])
def test_a_store_url_with_a_password_is_refused(tmp_path: Path, url: str) -> None:
    found = problems(tmp_path, f"stores: {{main: {{redis: '{url}'}}}}")

    assert [problem.code for problem in found] == ["BFF-C017"]
    assert "hunter2" not in repr(found)


def test_a_secret_key_becomes_a_reference(tmp_path: Path) -> None:
    listener = loaded(tmp_path, KEY % "file:/run/tls.key").gateway.value.gateway.listen[0]

    assert listener.tls is not None
    assert listener.tls.key == SecretRef("file:/run/tls.key")


def test_secrets_of_a_store_are_not_built(tmp_path: Path) -> None:
    assert "not built" in lines(problems(tmp_path, KEY % "'store:a#b'"))[0]
