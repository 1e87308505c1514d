"""What the options of `python -m benchmarks` make it measure, and in which order."""

import pytest

from benchmarks.__main__ import settings_of
from benchmarks.cases import PARTS, cases_of, entries_of, open_cases_of


def names(*arguments: str) -> list[str]:
    settings, _ = settings_of(list(arguments))
    return [case.name for case in cases_of(settings)]


def test_without_options_everything_is_measured_and_shown_as_the_latest() -> None:
    settings, is_latest = settings_of([])

    assert is_latest
    assert settings.parts == frozenset(PARTS)
    assert settings.runs >= 5
    assert {"ours/policies/aggregate", "naive/plain/graphql", "ours/redis/medium"} <= set(names())


@pytest.mark.parametrize(
    "arguments",
    [
        ("--quick",),
        ("--only", "ours"),
        ("--scenario", "plain"),
        ("--size", "small"),
        ("--part", "open"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_part_never_becomes_the_latest(arguments: tuple[str, ...]) -> None:
    assert settings_of(list(arguments))[1] is False


def test_more_runs_or_requests_are_still_everything() -> None:
    assert settings_of(["--runs", "7", "--requests", "500", "--connections", "16"])[1] is True


def test_scenario_and_size_narrow_together() -> None:
    assert names("--scenario", "policies", "--size", "post", "--size", "small") == [
        "ours/policies/small",
        "envoy/policies/small",
        "ours/policies/post",
        "envoy/policies/post",
    ]


def test_only_takes_what_has_one_of_the_texts() -> None:
    assert names("--only", "ours/plain/small", "--only", "ours/policies/graphql") == [
        "ours/plain/small",
        "ours/policies/graphql",
    ]


def test_rivals_take_turns_with_ours_at_each_number_of_connections() -> None:
    assert names("--part", "connections") == [
        f"{name}/policies/medium@{number}" for number in (1, 8, 64) for name in ("ours", "envoy")
    ]


def test_at_each_rate_the_service_itself_is_asked_first() -> None:
    settings, _ = settings_of(["--part", "open"])

    assert [case.name for case in open_cases_of(settings)] == [
        f"{name} at {rate}/s"
        for rate in (500, 2000)
        for name in ("upstream", "ours/policies", "envoy/policies")
    ]


def test_the_store_is_measured_beside_its_partner_even_if_that_has_no_line() -> None:
    settings, _ = settings_of(["--scenario", "redis"])

    assert [(entry.name, entry.mode) for entry in entries_of(settings)] == [
        ("ours", "policies"),
        ("ours", "redis"),
    ]


def test_nothing_is_started_that_no_case_needs() -> None:
    settings, _ = settings_of(["--only", "envoy/plain"])

    assert [(entry.name, entry.mode) for entry in entries_of(settings)] == [("envoy", "plain")]


def test_a_quick_look_is_at_ours_and_envoy() -> None:
    settings, _ = settings_of(["--quick"])

    assert {entry.name for entry in entries_of(settings)} == {"ours", "envoy"}
    assert {entry.mode for entry in entries_of(settings)} == {"plain", "policies"}
    assert settings.runs == 1


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--runs", "0"), "must lie in 1..50"),
        (("--requests", "199"), "must lie in 200..200000"),
        (("--connections", "513"), "must lie in 1..512"),
        (("--scenario", "fast"), "invalid choice: 'fast'"),
        (("--size", "huge"), "invalid choice: 'huge'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_an_option_out_of_its_bounds_is_refused(
    arguments: tuple[str, ...], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        settings_of(list(arguments))

    assert ended.value.code == 2
    assert why in capsys.readouterr().err


def test_the_command_is_kept_as_it_can_be_typed_again() -> None:
    settings, _ = settings_of(["--only", "ours plain"])

    assert settings.command == "python -m benchmarks --only 'ours plain'"
