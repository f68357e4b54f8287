"""The ring of a hub's last events, and their trace."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import hubbub
import pytest
from hubbub import Event, Greenlet, inspect, sleep, spawn
from hubbub.monitor import BlockingReport
from hubbub.timeline import Recorder, last_events, recorder_of


def kinds(recorder, greenlet):
    return [event.kind for event in recorder.events() if event.ident == id(greenlet)]


def test_the_life_of_a_greenlet(hub):
    """A greenlet is spawned, runs, is woken by the one that sets its event, and runs to its end."""
    event = Event()

    def waits():
        event.wait()

    with Recorder() as recorder:
        greenlet, setter = spawn(waits), None
        sleep(0.001)
        setter = spawn(event.set)
        sleep(0.001)
    seen = [entry for entry in recorder.events() if entry.ident == id(greenlet)]
    assert [entry.kind for entry in seen if entry.kind != "wake"] == ["spawn", "run", "run"]
    assert seen[0].by == id(hub.main)
    assert all("waits" in entry.label for entry in seen)
    (wake,) = (entry for entry in seen if entry.kind == "wake" and entry.began > seen[1].began)
    assert wake.by == id(setter)
    assert all(entry.began <= entry.ended for entry in seen)


def test_timers_errors_and_polls(hub):
    """A timer's wake-up, a failure and the polls are in the ring; the failure is reported as always."""
    hub.exception_stream = io.StringIO()

    def fails():
        raise KeyError("planted")

    with Recorder() as recorder:
        failing = spawn(fails)
        sleep(0.001)
    assert kinds(recorder, hub.main).count("timer") == 1
    (error,) = (event for event in recorder.events() if event.kind == "error")
    assert (error.ident, error.label) == (id(failing), "KeyError")
    assert "planted" in hub.exception_stream.getvalue()
    assert any(event.kind == "poll" for event in recorder.events())


def test_nothing_is_left_when_it_is_off(hub):
    """A hub that is not recorded any more has its own methods, and no hook, again; also if others were there before."""

    def handler(*error):
        pass

    hooked = []
    Greenlet.spawn_hook = hooked.append
    hub.handle_error = handler
    try:
        recorder = Recorder()
        for _ in range(2):
            recorder.start()
            assert recorder_of(hub) is recorder
            spawn(sleep).join()
            recorder.stop()
            recorder.stop()
        assert len(hooked) == 2
        assert Greenlet.spawn_hook == hooked.append
    finally:
        Greenlet.spawn_hook = None
    assert not {"run_ready", "_expire"} & set(vars(hub.loop))
    assert hub.handle_error is handler
    assert recorder_of(hub) is None


def test_one_recorder_at_a_time(hub):
    """A second recorder for a hub is refused; a ring without room too."""
    with Recorder(), pytest.raises(RuntimeError, match="already"):
        Recorder().start()
    with pytest.raises(ValueError, match="from 1 to"):
        Recorder(size=0)


def test_the_ring_is_bounded(hub):
    """The ring keeps the last events, as many as it has room for, and holds no greenlet."""
    import weakref

    with Recorder(size=50) as recorder:
        gone = weakref.ref(spawn(sleep))
        for _ in range(100):
            sleep(0)
    assert len(recorder.events()) == 50
    assert len(recorder.events(10)) == 10
    assert gone() is None


def test_the_order_and_the_errors_stay(hub):
    """A recorded hub runs its queue in the same order, goes on after failures, and waits in callbacks as ever."""
    hub.exception_stream = None
    ran = []

    def waits_in_callback():
        sleep(0.001)
        ran.append("callback")

    def fails():
        ran.append("fails")
        raise ValueError

    with Recorder():
        for number in range(40):
            hub.loop.run_callback(ran.append, number)
        hub.loop.run_callback(fails)
        hub.loop.run_callback(waits_in_callback)
        sleep(0.02)
        with pytest.raises(hubbub.LoopExit):
            Event().wait()
    assert ran == [*range(40), "fails", "callback"]


def test_the_trace(hub):
    """The trace has a row for each greenlet, its runs as slices, and an arrow from each wake-up to the run after it."""
    event = Event()

    def waits():
        event.wait()

    with Recorder() as recorder:
        spawn(waits)
        sleep(0.001)
        spawn(event.set)
        sleep(0.001)
    trace = json.loads(json.dumps(recorder.as_trace()))["traceEvents"]
    names = {entry["args"]["name"]: entry["tid"] for entry in trace if entry["name"] == "thread_name"}
    (row,) = (tid for name, tid in names.items() if name.endswith("waits"))
    assert len([entry for entry in trace if entry["ph"] == "X" and entry["tid"] == row]) == 2
    starts = {entry["id"]: entry for entry in trace if entry["ph"] == "s"}
    ends = {entry["id"]: entry for entry in trace if entry["ph"] == "f"}
    assert set(ends) <= set(starts)
    assert any(starts[number]["tid"] != row == end["tid"] for number, end in ends.items())
    assert all(starts[number]["ts"] <= end["ts"] for number, end in ends.items())


def test_reports_end_with_the_last_events(hub):
    """A deadlock's LoopExit, the report and a blocked hub's tell the last events while they are recorded."""
    with Recorder():
        greenlet = spawn(Event().wait)
        sleep(0)
        with pytest.raises(hubbub.LoopExit, match="the last events of"):
            Event().wait()
        assert "the last events of" in inspect.report()
        assert any(" run " in line for line in last_events(hub))
        assert "spawn" in str(BlockingReport(hub, 1.0, (), events=tuple(last_events(hub, 100))))
        greenlet.kill()
    assert "the last events of" not in inspect.report()


@pytest.mark.parametrize(("value", "says"), [("1000", "the last events of"), ("many", "HUBBUB_TIMELINE=many")])
def test_the_variable(value, says):
    """HUBBUB_TIMELINE records every hub from its beginning; what is no number is reported, and changes nothing."""
    done = subprocess.run(
        [sys.executable, "-c", "import hubbub; hubbub.Event().wait()"],
        env={**os.environ, "HUBBUB_TIMELINE": value},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert says in done.stderr
    assert "LoopExit" in done.stderr
