"""How a sample service says no: a gRPC code with google.rpc details that a client can read."""

from collections.abc import Mapping

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

__all__ = ["DETAILS_KEY", "DOMAIN", "Refused", "invalid", "not_found"]

DOMAIN = "sample"  # ErrorInfo.domain of all of them
DETAILS_KEY = "grpc-status-details-bin"  # where gRPC carries a google.rpc.Status


class Refused(Exception):
    """The call is refused with `code`; `message` is meant for developers.

    `reason` (UPPER_SNAKE_CASE) becomes a google.rpc.ErrorInfo, `fields` (field path -> what is
    wrong) a google.rpc.BadRequest.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        *,
        reason: str = "",
        fields: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self._reason = reason
        self._fields = fields or {}

    def trailers(self) -> tuple[tuple[str, bytes], ...]:
        """The trailing metadata with the details; none if there are no details."""
        details: list[AnyMessage] = []
        if self._reason:
            info = error_details_pb2.ErrorInfo(reason=self._reason, domain=DOMAIN)
            details.append(_packed(info))
        if self._fields:
            bad = error_details_pb2.BadRequest()
            for field, description in self._fields.items():
                bad.field_violations.add(field=field, description=description)
            details.append(_packed(bad))
        if not details:
            return ()
        status = status_pb2.Status(code=self.code.value[0], message=self.message, details=details)
        return ((DETAILS_KEY, status.SerializeToString()),)


def _packed(message: Message) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(message)
    return packed


def invalid(field: str, description: str) -> Refused:
    """INVALID_ARGUMENT about one field of the request."""
    return Refused(
        grpc.StatusCode.INVALID_ARGUMENT,
        f"{field}: {description}",
        reason="FIELD_INVALID",
        fields={field: description},
    )


def not_found(kind: str, key: str) -> Refused:
    """NOT_FOUND for one thing asked for by its id."""
    return Refused(
        grpc.StatusCode.NOT_FOUND,
        f"there is no {kind} {key!r}",
        reason=f"{kind.upper()}_NOT_FOUND",
    )
