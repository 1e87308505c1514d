"""References to secrets. A reference may be shown; its value exists only where `resolve` hands it out."""

import os
from pathlib import Path

from msgspec import Struct

from bff.core.errors import ConfigError
from bff.core.problems import Problem, Where

__all__ = ["SECRET_HINT", "SecretRef", "is_secret_ref"]

SECRET_HINT = "write env:NAME or file:/path"  # noqa: S105 - a sentence, no password
# A secret is a line or a key file; more is a wrong path.
_MOST_BYTES = 64 * 1024


class SecretRef(Struct, frozen=True):
    """Where a secret is found: `text` is `env:NAME` or `file:/path`. Printing it shows only that."""

    text: str

    def __str__(self) -> str:
        """The reference; never the value."""
        return self.text

    def resolve(self) -> str:
        """Read the secret now; a file's last line end is dropped. Raises ConfigError if there is none."""
        kind, _, name = self.text.partition(":")
        value = _from_environment(name) if kind == "env" else _from_file(name)
        if isinstance(value, Problem):
            raise ConfigError([value])
        return value


def is_secret_ref(text: object) -> bool:
    """Whether this text has the shape of a reference that this version reads."""
    if not isinstance(text, str) or "\0" in text:
        return False
    kind, _, name = text.partition(":")
    if kind == "env":
        return name.replace("_", "a").isalnum() and name.isascii()
    return kind == "file" and Path(name).is_absolute()


def _fault(message: str, hint: str = "") -> Problem:
    return Problem(Where(""), message, hint=hint, code="BFF-C018")


def _from_environment(name: str) -> str | Problem:
    value = os.environ.get(name)  # noqa: TID251 - this is where secrets are read
    if not value:
        return _fault(f"the environment has no {name}", f"set {name} before the gateway starts")
    return value


def _from_file(name: str) -> str | Problem:
    try:
        with Path(name).open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        return _fault(f"the secret file {name} cannot be read: {error.strerror}")
    if len(content) > _MOST_BYTES:
        return _fault(f"the secret file {name} is larger than {_MOST_BYTES // 1024} KiB")
    try:
        value = content.decode()
    except UnicodeDecodeError:
        return _fault(f"the secret file {name} is no text")
    value = value.removesuffix("\n").removesuffix("\r")
    return value or _fault(f"the secret file {name} is empty")
