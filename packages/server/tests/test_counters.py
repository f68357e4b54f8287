"""What a worker counts, the page in which its supervisor reads it, and how it is told."""

from __future__ import annotations

import json
import math
import os
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import hubbub
import pytest
from hubbub_server._counters import STATES, Counters, Page
from hubbub_server._meter import Meter
from hubbub_server._metrics import expose
from hubbub_server._report import is_healthy, report
from hubbub_server._status import StatusApplication
from hubbub_server.http.tally import BOUNDS, STATUSES, Tally


@pytest.fixture
def descriptor() -> Iterator[int]:
    made = Page.make()
    yield made
    os.close(made)


@pytest.fixture
def page(descriptor: int) -> Iterator[Page]:
    made = Page(descriptor)
    yield made
    made.close()


def some(seed: int = 1) -> Counters:
    """Counters of which no two are the same."""
    return Counters.of_numbers([seed * 1000.0 + number for number in range(len(Counters().as_numbers()))])


# The page ------------------------------------------------------------------------------------------------------------


def test_numbers() -> None:
    """Counters come back from the numbers that they are, each to its place; other numbers are refused."""
    one = some()
    assert Counters.of_numbers(one.as_numbers()) == one
    assert len(set(one.as_numbers())) == len(one.as_numbers())
    with pytest.raises(ValueError, match="numbers are needed, not 3"):
        Counters.of_numbers([1.0, 2.0, 3.0])


def test_page(page: Page, descriptor: int) -> None:
    """What is written is read through another mapping of the page, and nothing before something is written."""
    other = Page(descriptor)
    assert other.read() == Counters()
    for seed in range(5):
        page.write(some(seed))
        assert other.read() == some(seed)
    other.close()


@pytest.mark.parametrize("cut", [0, 3, 4, 12, 100, 200])
def test_cut_write(page: Page, descriptor: int, cut: int) -> None:
    """A worker that is killed in the middle of a write leaves what it had written before."""
    page.write(some(1))
    page.write(some(2))
    before = bytes(page._memory)
    page.write(some(3))
    after = bytes(page._memory)
    changed = next(place for place in range(len(before)) if before[place] != after[place])
    start = changed // 2048 * 2048
    page._memory[start + cut : start + 2048] = before[start + cut : start + 2048]
    assert Page(descriptor).read() == some(2)
    assert page.read() == some(2)


def test_page_is_not_inherited(descriptor: int) -> None:
    """No program that is started meanwhile gets the page."""
    assert not os.get_inheritable(descriptor)


def test_sum() -> None:
    """Of several workers the counts add up, of lags the longest counts, and of those that have ended only what they
    had counted."""
    total = Counters()
    total.add(Counters(sent=1, greenlets=5, lag=0.5, statuses=[1.0] * len(STATUSES)))
    total.add(Counters(sent=2, greenlets=7, lag=0.25, statuses=[2.0] * len(STATUSES)))
    total.add(Counters(sent=4, greenlets=9, lag=9.0, statuses=[4.0] * len(STATUSES)), live=False)
    assert (total.sent, total.greenlets, total.lag, total.requests) == (7, 12, 0.5, 7 * len(STATUSES))


# Counting ------------------------------------------------------------------------------------------------------------


def test_meter(serve: Any, connect: Any, page: Page) -> None:
    """Requests are counted by status, time and bytes, refused ones too; connections by what they do."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/wait":
            hubbub.sleep(0.03)
        start_response("404 Not Found" if environ["PATH_INFO"] == "/none" else "200 OK", [])
        return [b"12345"]

    server = serve(application)
    meter = Meter(page, [server])
    meter.start()
    client = connect(server)
    for path in (b"/", b"/wait", b"/none"):
        client.send(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path)
        client.response()
    bad = connect(server)
    bad.send(b"nonsense\r\n\r\n")
    bad.response()
    waiting = connect(server)
    waiting.send(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
    reading = connect(server)
    reading.send(b"GET / HT")
    hubbub.sleep(0.01)
    meter.publish()
    found = page.read()
    assert dict(zip(STATUSES, found.statuses, strict=True)) == {
        **dict.fromkeys(STATUSES, 0.0),
        "2xx": 2.0,
        "4xx": 2.0,
    }
    assert sum(found.times) == 4
    assert sum(found.times[BOUNDS.index(0.05) :]) >= 1
    assert 0.03 <= found.seconds < 60
    assert found.sent == 15
    states = dict(zip(STATES, found.states, strict=True))
    assert states["answering"] == 1
    assert states["idle"] == 1
    assert states["reading"] == 1
    assert states["closing"] == 1
    assert found.greenlets >= 4
    assert found.descriptors >= 1
    meter.stop()


def test_metered_log_keeps_the_other(serve: Any, connect: Any, page: Page) -> None:
    """The access log that a server has goes on, and what it holds back is still pumped."""
    lines: list[str] = []

    class Log:
        def write(self, text: str) -> None:
            lines.append(text)

    server = serve(log=Log())
    stream = server.access_log.stream
    Meter(page, [server])
    client = connect(server)
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    client.response()
    with hubbub.Timeout(5):
        while not lines:
            hubbub.sleep(0.001)
    assert '"GET / HTTP/1.1" 200' in lines[0]
    assert server.access_log.stream is stream


def test_classes_of_times() -> None:
    """Each time is counted in the first class whose bound it does not exceed."""
    tally = Tally(None)
    times = [0.0, BOUNDS[0], BOUNDS[0] * 1.01, BOUNDS[3], BOUNDS[-1], BOUNDS[-1] * 1.01, 1e9]
    for time in times:
        tally.count(200, time, 0)
    assert tally.times == [2, 1, 0, 1, *[0] * (len(BOUNDS) - 5), 1, 2]
    assert tally.seconds == sum(times)


def test_classes_of_statuses() -> None:
    """Each status is counted in its class; what has none, or one that there is not, as having none."""
    tally = Tally(None)
    for status in (0, 99, 600, 103, 200, 299, 304, 499, 503):
        tally.count(status, 1.0, 10)
    assert tally.statuses == [3, 1, 2, 1, 1, 1]
    assert (tally.sent, tally.seconds, sum(tally.times)) == (90, 9.0, 9)


def test_several_servers(serve: Any, connect: Any, page: Page) -> None:
    """The servers of a process are counted together, and a figure that was published does not count twice."""
    servers = [serve(), serve()]
    meter = Meter(page, servers)
    for count in (1, 2):
        for server in servers:
            client = connect(server)
            client.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            client.rest()
        meter.publish()
        meter.publish()
        assert page.read().requests == 2 * count


def test_streams(serve: Any, http2: Any, page: Page) -> None:
    """Streams of HTTP/2 are counted beside the connection that has them, and each is a request."""
    go_on = hubbub.event.Event()

    def application(environ: Any, start_response: Any) -> list[bytes]:
        go_on.wait()
        start_response("200 OK", [])
        return [b"12345"]

    server = serve(application, http2=True)
    meter = Meter(page, [server])

    def wait_for(state: str, count: int) -> None:
        with hubbub.Timeout(5):
            while page.read().states[STATES.index(state)] != count:
                hubbub.sleep(0.001)
                meter.publish()

    client = http2(server)
    for number in (1, 3, 5):
        client.request(number)
    wait_for("stream", 3)
    wait_for("answering", 1)
    go_on.set()
    for number in (1, 3, 5):
        client.answer(number)
    wait_for("stream", 0)
    wait_for("idle", 1)
    assert (page.read().requests, page.read().sent) == (3, 15)


def test_connections_that_were_handed_over() -> None:
    """What went on with another protocol, such as a WebSocket, counts as a request, and has no response time."""
    tally = Tally(None)
    for status, seconds, sent in ((101, 3600.0, 0), (200, 0.5, 3), (101, 7200.0, 5)):
        tally.count(status, seconds, sent)
    assert (sum(tally.statuses), tally.statuses[1], sum(tally.times), tally.seconds, tally.sent) == (3, 2, 1, 0.5, 8)


def test_lag(hub: Any, page: Page) -> None:
    """What kept the loop from turning shows as its lag, for ten seconds as the longest one."""
    meter = Meter(page, [])
    meter.start()
    meter._expected -= 0.5
    meter._tick()
    assert 0.2 < page.read().lag < 5
    meter._tick()
    assert page.read().lag == 0.0
    assert 0.2 < page.read().longest_lag < 5
    meter.stop()


# Telling -------------------------------------------------------------------------------------------------------------


class Process:
    """A process that there is."""

    pid = os.getpid()


class Served:
    """A worker that serves."""

    process = Process()
    generation, born, state = 3, 0.0, "serving"

    def __init__(self, number: int, counters: Counters) -> None:
        self.number = number
        self.counters = counters


class Service:
    """A supervisor with two workers, and with the counts of one that has ended."""

    count, generation, stopping, began = 2, 3, False, 0.0

    def __init__(self, *workers: Any) -> None:
        self.workers = list(workers)
        self.happened: Counter[str] = Counter(starts=3, stuck=1)

    def census(self) -> tuple[list[Any], Counters]:
        return self.workers, Counters(
            sent=7, statuses=[0.0, 0.0, 5.0, 0.0, 0.0, 1.0], times=[6.0] + [0.0] * len(BOUNDS)
        )


@pytest.fixture
def service() -> Service:
    counters = Counters(
        published=1.0,
        sent=10,
        seconds=0.5,
        statuses=[0.0, 0.0, 3.0, 0.0, 0.0, 0.0],
        times=[0.0, 2.0, *[0.0] * (len(BOUNDS) - 2), 1.0],
        states=[0.0, 4.0, 0.0, 1.0, 0.0, 2.0],
    )
    return Service(Served(0, counters), Served(1, counters))


def ask(
    application: Any, path: str = "/-/status", host: str = "127.0.0.1:9000", method: str = "GET"
) -> tuple[str, Any]:
    """Status and body of a page."""
    said: list[Any] = []
    body = application(
        {"PATH_INFO": path, "HTTP_HOST": host, "REQUEST_METHOD": method}, lambda *answer: said.append(answer)
    )
    assert ("Cache-Control", "no-store") in said[0][1]
    return said[0][0][:3], b"".join(body)


def test_report(service: Service) -> None:
    """The report has each worker, and their sum with what those that have ended had counted."""
    found = report(service)
    assert json.loads(json.dumps(found)) == found
    assert found["status"] == "serving"
    assert found["total"]["requests"] == 12
    assert found["total"]["responses"] == {"none": 0, "1xx": 0, "2xx": 11, "3xx": 0, "4xx": 0, "5xx": 1}
    assert found["total"]["sent_bytes"] == 27
    assert found["total"]["request_seconds"]["counts"] == [6, 4, *[0] * (len(BOUNDS) - 2), 2]
    assert found["total"]["connections"] == {"handshake": 0, "idle": 8, "reading": 0, "answering": 2, "closing": 0}
    assert found["total"]["streams"] == 4
    assert [one["requests"] for one in found["workers"]] == [3, 3]
    assert found["ends"] == {"died": 0, "stuck": 1, "late": 0}
    if sys.platform == "linux":
        assert found["workers"][0]["memory_bytes"] > 1_000_000
        assert found["workers"][0]["cpu_seconds"] > 0


def test_ended_process(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that has just ended costs its figures of memory and CPU, and not the report."""
    monkeypatch.setattr(Process, "pid", 2**22 + 1)
    assert report(service)["workers"][0]["memory_bytes"] == 0


def test_health(service: Service) -> None:
    """Healthy is a service that has a worker that serves and is not about to end."""
    application = StatusApplication(service, local=True)
    assert is_healthy(service)
    assert ask(application, "/-/health") == ("200", b"ok\n")
    service.stopping = True
    assert ask(application, "/-/health") == ("503", b"stopping\n")
    service.stopping = False
    service.workers = []
    assert ask(application, "/-/health") == ("503", b"starting\n")
    assert report(service)["status"] == "starting"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *((host, "200") for host in ("127.0.0.1:9000", "localhost", "LOCALHOST:1", "[::1]:9000", "10.0.0.1", "")),
        *((host, "421") for host in ("evil.example", "127.0.0.1.evil.example:9000", "localhost.evil", "[x]", "a:b:c")),
    ],
)
def test_hosts(service: Service, host: str, status: str) -> None:
    """On the loopback interface nobody gets in by a name of his own; elsewhere names are the operator's."""
    assert ask(StatusApplication(service, local=True), host=host)[0] == status
    assert ask(StatusApplication(service, local=False), host=host)[0] == "200"


def test_pages(service: Service) -> None:
    """Another path is 404 and names those that there are; another method than GET and HEAD is 405."""
    application = StatusApplication(service, local=True)
    status, body = ask(application, "/")
    assert status == "404"
    assert b"/-/health, /-/status, /-/metrics" in body
    assert ask(application, method="POST")[0] == "405"
    assert ask(application, method="HEAD")[0] == "200"


def test_metrics(service: Service) -> None:
    """What a scraper gets can be parsed, has counters that only grow, the histogram in all its classes, and workers."""
    parser = pytest.importorskip("prometheus_client.parser")
    status, body = ask(StatusApplication(service, local=True), "/-/metrics")
    assert status == "200"
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in parser.text_string_to_metric_families(body.decode())
        for sample in family.samples
    }
    assert samples["hubbub_up",] == 1.0
    assert samples["hubbub_requests_total", ("status", "2xx")] == 11.0
    assert samples["hubbub_worker_ends_total", ("reason", "stuck")] == 1.0
    assert samples["hubbub_request_seconds_count",] == 12.0
    assert samples["hubbub_request_seconds_bucket", ("le", "0.001")] == 10.0
    assert samples["hubbub_request_seconds_bucket", ("le", "10.0")] == 10.0
    assert samples["hubbub_request_seconds_bucket", ("le", "+Inf")] == 12.0
    assert math.isclose(samples["hubbub_request_seconds_sum",], 1.0)
    assert samples["hubbub_connections", ("state", "idle"), ("worker", "0")] == 4.0


def test_open_metrics(service: Service) -> None:
    """A scraper that asks for OpenMetrics gets that."""
    parser = pytest.importorskip("prometheus_client.openmetrics.parser")
    kind, body = expose(report(service), "application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
    assert list(parser.text_string_to_metric_families(body.decode()))


def test_metrics_are_an_extra(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without prometheus-client there are no metrics, and it is said what to install; all else is as it was."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    application = StatusApplication(service, local=True)
    status, body = ask(application, "/-/metrics")
    assert status == "501"
    assert b"hubbub-server[metrics]" in body
    assert ask(application)[0] == "200"
