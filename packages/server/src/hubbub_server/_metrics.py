"""The figures of a supervisor in the formats of Prometheus, by the package ``prometheus-client``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hubbub_server._report import ENDS

__all__ = ["expose", "is_installed"]

_GAUGES = {
    "greenlets": "Greenlets that live",
    "native_threads": "Native threads of the hub's pool",
    "descriptors": "Descriptors that the event loop knows",
    "timers": "Timers that run",
    "streams": "Streams of HTTP/2 that are open",
    "loop_lag_seconds": "How late a timer of the event loop was just now",
    "longest_loop_lag_seconds": "How late one was at most in the last ten seconds",
    "memory_bytes": "Resident memory of the process",
    "silent_seconds": "Time since the worker has published figures; it does not while it computes",
}
_EVENTS = {
    "reloads": "Generations of workers that were started after the first",
    "failed_reloads": "Generations that did not start",
    "upgrades": "Times that the program was replaced in place",
    "failed_upgrades": "Times that it could not be",
}


def is_installed() -> bool:
    """Whether the package is there. It is loaded, so that no scraper waits for that."""
    try:
        import prometheus_client
    except ImportError:
        return False
    return bool(prometheus_client)


def expose(report: dict[str, Any], accept: str) -> tuple[str, bytes]:
    """The type and text of a response to a scraper.

    :param report: what :func:`hubbub_server._report.report` has said.
    :param accept: the scraper's ``Accept`` field, which chooses between the text format and OpenMetrics.
    """
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import choose_encoder

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(report))
    encode, kind = choose_encoder(accept)
    return kind, encode(registry)


class _Collector:
    """What a registry asks for its metrics."""

    def __init__(self, report: dict[str, Any]) -> None:
        self._report = report

    def describe(self) -> list[Any]:
        """Nothing is registered beforehand."""
        return []

    def collect(self) -> Iterator[Any]:
        """All metrics."""
        yield from self._service()
        yield from self._requests()
        yield from self._workers()

    def _service(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        report = self._report
        up = GaugeMetricFamily("hubbub_up", "Whether requests are served", value=report["status"] == "serving")
        yield up
        yield GaugeMetricFamily("hubbub_uptime_seconds", "Age of the service", value=report["uptime_seconds"])
        yield GaugeMetricFamily("hubbub_workers_wanted", "Workers that there shall be", value=report["workers_wanted"])
        states = GaugeMetricFamily("hubbub_workers", "Workers that there are", labels=["state"])
        for state in ("starting", "serving", "leaving"):
            states.add_metric([state], sum(one["state"] == state for one in report["workers"]))
        yield states
        yield CounterMetricFamily("hubbub_worker_starts", "Workers that were started", value=report["starts"])
        ends = CounterMetricFamily("hubbub_worker_ends", "Workers that ended and were not to", labels=["reason"])
        for reason in ENDS:
            ends.add_metric([reason], report["ends"][reason])
        yield ends
        for name, text in _EVENTS.items():
            yield CounterMetricFamily(f"hubbub_{name}", text, value=report[name])

    def _requests(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        total = self._report["total"]
        responses = CounterMetricFamily(
            "hubbub_requests", "Requests by the class of their responses", labels=["status"]
        )
        for status, count in total["responses"].items():
            responses.add_metric([status], count)
        yield responses
        yield CounterMetricFamily("hubbub_sent_bytes", "Bytes of bodies of responses", value=total["sent_bytes"])
        times = total["request_seconds"]
        reached, buckets = 0, []
        for bound, count in zip([*times["bounds"], "+Inf"], times["counts"], strict=True):
            reached += count
            buckets.append((str(bound), reached))
        histogram = HistogramMetricFamily("hubbub_request_seconds", "Time from a request's head to its answer's end")
        histogram.add_metric([], buckets, sum_value=times["sum"])
        yield histogram

    def _workers(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        workers = self._report["workers"]
        requests = CounterMetricFamily("hubbub_worker_requests", "Requests of one worker", labels=["worker"])
        cpu = CounterMetricFamily("hubbub_worker_cpu_seconds", "CPU time of one worker", labels=["worker"])
        connections = GaugeMetricFamily("hubbub_connections", "Connections", labels=["worker", "state"])
        gauges = {
            name: GaugeMetricFamily(f"hubbub_worker_{name}", text, labels=["worker"]) for name, text in _GAUGES.items()
        }
        for one in workers:
            label = str(one["number"])
            requests.add_metric([label], one["requests"])
            cpu.add_metric([label], one["cpu_seconds"])
            for state, count in one["connections"].items():
                connections.add_metric([label, state], count)
            for name, gauge in gauges.items():
                gauge.add_metric([label], one[name] or 0.0)
        yield from (requests, cpu, connections, *gauges.values())
