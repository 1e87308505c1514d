"""The measure of the first answer: it stands on a real gateway, and says why if there is none."""

from pathlib import Path

import pytest

from benchmarks.processes import free_port
from benchmarks.startup import first_answer_s, moved, sample_services

SERVICES = {
    "users": "127.0.0.1:1001",
    "catalog": "127.0.0.1:1002",
    "orders": "127.0.0.1:1003",
    "identity": "http://127.0.0.1:1004",
}


def test_the_sample_mappings_are_moved_to_other_ports(tmp_path: Path) -> None:
    text = (moved(tmp_path, SERVICES, 1005) / "gateway.yaml").read_text(encoding="utf-8")

    for address in (*SERVICES.values(), "listen: 127.0.0.1:1005"):
        assert address in text
    assert "127.0.0.1:50051" not in text
    assert "protos: [../protos]" not in text


def test_an_answer_is_a_200_of_a_gateway_that_was_just_started(tmp_path: Path) -> None:
    port = free_port()

    with sample_services() as services:
        took_s = first_answer_s(moved(tmp_path, services, port), port)

    assert took_s > 0


def test_a_gateway_that_does_not_start_is_quoted(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text("gatewai: {}\n")

    with pytest.raises(RuntimeError, match="did you mean `gateway`"):
        first_answer_s(tmp_path, free_port())
