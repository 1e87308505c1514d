"""The users service: `python -m sample_services.users`.

Anybody may read; a user is changed by nobody but himself and administrators (`Caller`).
"""

import json
import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import grpc

from sample_services import seed
from sample_services.generated.sample.users.v1 import users_pb2
from sample_services.refusal import Refused, invalid, not_found
from sample_services.serving import Caller, Streaming, Unary, main
from sample_services.store import Database

__all__ = ["Users"]

_MAX_BATCH = 100
_MAX_NAME_CHARS = 100
_MAX_ENTRIES = 20
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,190}")
_PHONE = re.compile(r"\+[1-9]\d{6,14}")  # E.164
# A mask may name fields that only we write; they are passed over (AIP-203).
_NOT_YOURS = frozenset({"user_id", "tier", "created_at"})

_TABLES = """
CREATE TABLE users (
    number INTEGER PRIMARY KEY, email TEXT NOT NULL, display_name TEXT NOT NULL,
    tier INTEGER NOT NULL, phone TEXT, created_unix_s INTEGER NOT NULL,
    addresses TEXT NOT NULL, preferences TEXT NOT NULL
)"""


class Users:
    """`sample.users.v1.UserService` over one SQLite file."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.unary: Mapping[str, Unary] = {
            "GetUser": self._get_user,
            "BatchGetUsers": self._batch_get_users,
            "UpdateUser": self._update_user,
        }
        self.streaming: Mapping[str, Streaming] = {}

    @classmethod
    async def open(cls, folder: Path) -> Self:
        """Open `users.sqlite` in the folder, filled if it is new."""
        return cls(await Database.open(folder / "users.sqlite", _fill))

    async def close(self) -> None:
        """Close the file."""
        await self._database.close()

    async def _get_user(self, request: Any, _caller: Caller) -> Any:
        if not request.user_id:
            raise invalid("user_id", "is required")
        found = await self._database.run(lambda db: _read(db, [request.user_id]))
        if not found:
            raise not_found("user", request.user_id)
        return found[0]

    async def _batch_get_users(self, request: Any, _caller: Caller) -> Any:
        keys = list(request.user_ids)
        if not 1 <= len(keys) <= _MAX_BATCH:
            raise invalid("user_ids", f"must be 1 to {_MAX_BATCH} ids")
        return users_pb2.BatchGetUsersResponse(
            users=await self._database.run(lambda db: _read(db, keys))
        )

    async def _update_user(self, request: Any, caller: Caller) -> Any:
        wanted = request.user
        if not wanted.user_id:
            raise invalid("user.user_id", "is required")
        if not caller.may_act_for(wanted.user_id):
            raise Refused(
                grpc.StatusCode.PERMISSION_DENIED,
                "only the user and administrators may change a user",
                reason="NOT_YOUR_USER",
            )
        paths = _paths_of(request)
        return await self._database.run(lambda db: _update(db, wanted, paths))


def _paths_of(request: Any) -> list[str]:
    """The fields to take over: those of the mask, or without one those that are set."""
    if not request.HasField("update_mask"):
        return [field.name for field, _ in request.user.ListFields() if field.name in _CHANGES]
    paths = [path for path in request.update_mask.paths if path not in _NOT_YOURS]
    for path in paths:
        if path not in _CHANGES:
            raise invalid("update_mask", f"there is no field {path!r} to change")
    return paths


def _update(db: sqlite3.Connection, wanted: Any, paths: Sequence[str]) -> Any:
    found = _read(db, [wanted.user_id])
    if not found:
        raise not_found("user", wanted.user_id)
    user = found[0]
    for path in paths:
        _CHANGES[path](wanted)
        user.ClearField(path)
    taken = users_pb2.User()
    taken.CopyFrom(wanted)
    for field, _ in wanted.ListFields():
        if field.name not in paths:
            taken.ClearField(field.name)
    user.MergeFrom(taken)
    db.execute(
        "UPDATE users SET email = ?, display_name = ?, phone = ?, addresses = ?, preferences = ?"
        " WHERE number = ?",
        (
            user.email,
            user.display_name,
            user.phone if user.HasField("phone") else None,
            _addresses_text(user),
            json.dumps(dict(user.preferences)),
            seed.number_of(user.user_id, "u-"),
        ),
    )
    return user


def _check_email(user: Any) -> None:
    if not _EMAIL.fullmatch(user.email):
        raise invalid("user.email", "is no mail address")


def _check_display_name(user: Any) -> None:
    if not 1 <= len(user.display_name) <= _MAX_NAME_CHARS:
        raise invalid("user.display_name", f"must be 1 to {_MAX_NAME_CHARS} characters")


def _check_phone(user: Any) -> None:
    if user.HasField("phone") and not _PHONE.fullmatch(user.phone):
        raise invalid("user.phone", "must be in E.164 form, such as +4930123456")


def _check_addresses(user: Any) -> None:
    if len(user.addresses) > _MAX_ENTRIES:
        raise invalid("user.addresses", f"must be at most {_MAX_ENTRIES}")


def _check_preferences(user: Any) -> None:
    if len(user.preferences) > _MAX_ENTRIES:
        raise invalid("user.preferences", f"must be at most {_MAX_ENTRIES}")


_CHANGES: Mapping[str, Callable[[Any], None]] = {
    "email": _check_email,
    "display_name": _check_display_name,
    "phone": _check_phone,
    "addresses": _check_addresses,
    "preferences": _check_preferences,
}


def _read(db: sqlite3.Connection, keys: Sequence[str]) -> list[Any]:
    """The users that exist, in the order of the keys; a key given twice is answered twice."""
    numbers = [number for key in keys if (number := seed.number_of(key, "u-")) is not None]
    marks = ", ".join("?" * len(numbers))
    rows = db.execute(f"SELECT * FROM users WHERE number IN ({marks})", numbers)
    by_number = {row["number"]: row for row in rows}
    return [_to_message(by_number[number]) for number in numbers if number in by_number]


def _to_message(row: sqlite3.Row) -> Any:
    user = users_pb2.User(
        user_id=f"u-{row['number']}",
        email=row["email"],
        display_name=row["display_name"],
        tier=row["tier"],
        phone=row["phone"],
        addresses=[users_pb2.Address(**entry) for entry in json.loads(row["addresses"])],
        preferences=json.loads(row["preferences"]),
    )
    user.created_at.FromSeconds(row["created_unix_s"])
    return user


def _addresses_text(user: Any) -> str:
    return json.dumps(
        [
            {
                "label": address.label,
                "lines": list(address.lines),
                "city": address.city,
                "postal_code": address.postal_code,
                "country_code": address.country_code,
            }
            for address in user.addresses
        ]
    )


def _fill(db: sqlite3.Connection) -> None:
    db.execute(_TABLES)
    db.executemany(
        "INSERT INTO users VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (
                row.number,
                row.email,
                row.display_name,
                row.tier,
                row.phone,
                row.created_unix_s,
                json.dumps([_seed_address(row)]),
                json.dumps({"language": row.language, "newsletter": "weekly"}),
            )
            for row in seed.users()
        ),
    )


def _seed_address(row: seed.UserRow) -> dict[str, str | list[str]]:
    city, postal_code, country = row.city
    return {
        "label": "home",
        "lines": [row.street],
        "city": city,
        "postal_code": postal_code,
        "country_code": country,
    }


if __name__ == "__main__":
    main(
        name="users",
        descriptor=users_pb2.DESCRIPTOR.services_by_name["UserService"],
        opener=Users.open,
    )
