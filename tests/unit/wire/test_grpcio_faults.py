"""Every way in which a grpcio call can fail has its reason, its origin, and what the peer may have seen."""

import pytest

from bff.core.status import Code
from bff.wire.grpcio import TlsSettings
from bff.wire.grpcio_faults import RawStatus, fault_of, no_message

OWN = "127.0.0.1:5000"
REFUSED = f"failed to connect to all addresses; last error: UNKNOWN: ipv4:{OWN}: Connection refused"
BAD_CERT = (
    f"failed to connect to all addresses; last error: UNKNOWN: ipv4:{OWN}: "
    "Ssl handshake failed: certificate verify failed"
)
OTHERS = "failed to connect to all addresses; last error: UNKNOWN: ipv4:10.9.9.9:1: refused"


@pytest.mark.rule("upstreams.15")
@pytest.mark.parametrize(
    ("code", "text", "ready", "reason", "final", "origin", "sent"),
    [
        (14, REFUSED, False, "UPSTREAM_UNAVAILABLE", 14, "wire", "never"),
        (14, BAD_CERT, False, "UPSTREAM_TLS", 14, "wire", "never"),
        (14, REFUSED, True, "UNAVAILABLE", 14, "service", "maybe"),
        (14, OTHERS, False, "UNAVAILABLE", 14, "service", "maybe"),
        (5, "no such order", True, "NOT_FOUND", 5, "service", "maybe"),
        (13, "boom", True, "INTERNAL", 13, "service", "maybe"),
        (4, "mine", True, "DEADLINE_EXCEEDED", 4, "service", "maybe"),
        (4, "Stream removed (Deadline Exceeded)", True, "TIMEOUT", 4, "wire", "maybe"),
        (14, "Stream removed (Socket closed)", False, "UPSTREAM_UNAVAILABLE", 14, "wire", "maybe"),
        (14, "Stream removed (GOAWAY received; Error code: 0; Debug Text: )", False,
         "UPSTREAM_UNAVAILABLE", 14, "wire", "refused"),
        (14, "Stream removed (GOAWAY received; Error code: 0; Debug Text: )", True,
         "UPSTREAM_UNAVAILABLE", 14, "wire", "maybe"),
        (14, "Received http2 header with status: 502", True,
         "UPSTREAM_UNAVAILABLE", 14, "wire", "maybe"),
        (14, "Received http2 header with status: 429", True,
         "UPSTREAM_UNAVAILABLE", 14, "wire", "maybe"),
        (12, "Received http2 header with status: 404", True,
         "UPSTREAM_PROTOCOL", 12, "wire", "maybe"),
        (2, "No status received", True, "UPSTREAM_PROTOCOL", 2, "wire", "maybe"),
        (13, "Decompression failed due to zlib error", True,
         "UPSTREAM_PROTOCOL", 13, "wire", "maybe"),
        (8, "Stream removed (CLIENT: Received message larger than max (9 vs. 4))", True,
         "REPLY_TOO_LARGE", 8, "wire", "maybe"),
        (8, "CLIENT: Sent message larger than max (9 vs. 4)", True,
         "BODY_TOO_LARGE", 8, "local", "never"),
        (1, "Stream removed (RST_STREAM (Received RST_STREAM with error code 8))", True,
         "CANCELLED", 1, "wire", "maybe"),
        (13, "Stream removed (RST_STREAM (Received RST_STREAM with error code 2))", True,
         "UPSTREAM_PROTOCOL", 13, "wire", "maybe"),
    ],
    ids=[
        "refused", "bad-certificate", "relayed-refusal", "relayed-refusal-of-another",
        "not-found", "internal", "service-deadline", "our-deadline", "reset", "goaway",
        "relayed-goaway", "html-502", "html-429", "html-404", "no-status", "gzip", "oversize-reply",
        "oversize-request", "reset-cancel", "reset-internal",
    ],
)  # fmt: skip
def test_status_becomes_this_error(
    code: int, text: str, ready: bool, reason: str, final: int, origin: str, sent: str
) -> None:
    error = fault_of(RawStatus(code=code, text=text, ready=ready), own_mark=OWN)

    assert (error.reason, error.code, error.origin, error.sent) == (reason, final, origin, sent)


@pytest.mark.rule("upstreams.2")
@pytest.mark.parametrize("code", [Code.DEADLINE_EXCEEDED, Code.CANCELLED])
def test_what_the_service_says_after_our_deadline_is_our_timeout(code: Code) -> None:
    error = fault_of(RawStatus(code=code, text="mine", overdue=True), own_mark=OWN)

    assert (error.reason, error.code, error.origin) == ("TIMEOUT", Code.DEADLINE_EXCEEDED, "wire")


@pytest.mark.rule("transcoding.155")
def test_no_word_of_a_foreign_peer_reaches_the_client() -> None:
    error = fault_of(RawStatus(code=2, text="Received http2 header with status: 400"), own_mark=OWN)

    assert error.message == ""
    assert "http2" not in error.public


@pytest.mark.rule("transcoding.156")
def test_ok_without_a_message_is_a_protocol_fault() -> None:
    error = no_message()

    assert (error.reason, error.status, error.code) == ("UPSTREAM_PROTOCOL", 502, Code.INTERNAL)


@pytest.mark.rule("upstreams.9")
@pytest.mark.parametrize(
    ("value", "milliseconds"),
    [("250", 250), ("0", 0), ("-1", -1), ("soon", -1), ("٣", -1), ("9" * 10, -1), ("", -1)],
)
def test_unreadable_pushback_forbids_a_retry(value: str, milliseconds: int) -> None:
    trailing = (("grpc-retry-pushback-ms", value),)

    error = fault_of(RawStatus(code=14, text="busy", trailing=trailing), own_mark=OWN)

    assert error.pushback_ms == milliseconds


@pytest.mark.rule("transcoding.151")
@pytest.mark.parametrize(("size", "kept"), [(16_384, 16_384), (16_385, 0)])
def test_details_beyond_16_kib_are_dropped(size: int, kept: int) -> None:
    trailing = (("grpc-status-details-bin", b"d" * size),)

    error = fault_of(RawStatus(code=9, text="", trailing=trailing), own_mark=OWN)

    assert len(error.details_bin) == kept


def test_tls_settings_never_print_the_key() -> None:
    settings = TlsSettings(name="orders", cert=b"CERT", key=b"PRIVATE")

    assert "PRIVATE" not in repr(settings)
    assert "PRIVATE" not in str(list(settings.__rich_repr__()))
