"""What all workers of a node counted, as one scrape in Prometheus's text format."""

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from bff.telemetry.families import FAMILIES, Family
from bff.telemetry.metric_table import Sample

__all__ = ["CONTENT_TYPE", "NodeTotals", "render"]

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

Totals = dict[tuple[str, tuple[str, ...]], tuple[float, ...]]


def _add(totals: Totals, samples: Iterable[Sample]) -> None:
    for sample in samples:
        family = FAMILIES.get(sample.family)
        if family is None:
            continue
        key = (sample.family, sample.labels)
        before = totals.get(key)
        if before is None:
            totals[key] = sample.values
        elif family.merge == "max":
            totals[key] = tuple(map(max, before, sample.values))
        else:
            totals[key] = tuple(a + b for a, b in zip(before, sample.values, strict=True))


class NodeTotals:
    """Adds workers up. What a worker counted stays counted after it is gone; its gauges go with it."""

    def __init__(self) -> None:
        self._gone: Totals = {}

    def retire(self, samples: Iterable[Sample]) -> None:
        """Keep the last counts of a worker that has ended. Call once per worker."""
        _add(self._gone, (each for each in samples if FAMILIES[each.family].kind != "gauge"))

    def render(self, workers: Iterable[Iterable[Sample]]) -> bytes:
        """The node's scrape: the workers that live, and those that are gone."""
        totals = dict(self._gone)
        for samples in workers:
            _add(totals, samples)
        # A registry per scrape: nothing global, and the library checks the names once more.
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Totals(totals))
        ProcessCollector(registry=registry)
        return generate_latest(registry)


def render(samples: Iterable[Sample]) -> bytes:
    """The scrape of a node with a single process."""
    return NodeTotals().render([samples])


class _Totals(Collector):
    """The totals in the library's own values, which it prints."""

    def __init__(self, totals: Totals) -> None:
        self._totals = totals

    def collect(self) -> Iterator[Metric]:
        metrics = {name: _empty(family) for name, family in FAMILIES.items()}
        for (name, labels), values in sorted(self._totals.items()):
            metric = metrics[name]
            if isinstance(metric, HistogramMetricFamily):
                metric.add_metric(labels, _cumulated(FAMILIES[name], values), values[-1])
            else:
                metric.add_metric(labels, values[0])
        yield from metrics.values()


def _empty(family: Family) -> CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily:
    if family.kind == "counter":
        return CounterMetricFamily(family.name, family.help, labels=family.labels)
    if family.kind == "gauge":
        return GaugeMetricFamily(family.name, family.help, labels=family.labels)
    return HistogramMetricFamily(family.name, family.help, labels=family.labels)


def _cumulated(family: Family, values: tuple[float, ...]) -> list[tuple[str, float]]:
    buckets = []
    total = 0.0
    for bound, count in zip((*map(str, family.bounds), "+Inf"), values, strict=False):
        total += count
        buckets.append((bound, total))
    return buckets
