"""The ring of events in C notes what the one in Python does."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import hubbub
import pytest
from hubbub import Event, Queue, sleep, spawn
from hubbub.hub import spawn_raw
from hubbub.timeline import Recorder
from hubbub_speed import install_methods, uninstall_methods


@pytest.fixture(params=["C", "Python"])
def methods(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each test with both kinds of methods."""
    if request.param == "Python":
        uninstall_methods()
    yield request.param
    install_methods()


def recorded(program: Callable[[], Any]) -> list[tuple[str, str | None, str | None]]:
    """Kind, label and causer of each event but polls, while the program runs."""
    with Recorder() as recorder:
        sleep(0.001)  # in Python it begins with the next turn
        spawn(program).join()
        sleep(0)
    events = recorder.events()
    began = next(place for place, event in enumerate(events) if event.kind == "spawn")
    del events[:began]
    labels = {event.ident: event.label for event in events if event.ident and event.kind != "error"}
    return [(event.kind, event.label, labels.get(event.by)) for event in events if event.kind != "poll"]


def life() -> None:
    """Greenlets of all kinds that wake and spawn one another."""
    event: Event = Event()
    queue: Queue[int] = Queue(1)

    def waits() -> None:
        event.wait()
        queue.put(1)
        queue.put(2)

    def takes() -> None:
        queue.get()
        spawn_raw(event.clear)
        queue.get()

    def fails() -> None:
        event.set()
        raise ValueError

    greenlets = [spawn(waits), spawn(takes), spawn(fails)]
    greenlets[1].name = "the one that takes"
    for _ in range(20):
        sleep(0)
    hubbub.joinall(greenlets)


def test_both_note_the_same(hub: Any) -> None:
    """The same program makes the same events, in the same order, with the methods in C and with those in Python."""
    hub.exception_stream = None
    in_c = recorded(life)
    uninstall_methods()
    try:
        in_python = recorded(life)
    finally:
        install_methods()
    assert in_c == in_python
    kinds = {kind for kind, _, _ in in_c}
    assert kinds == {"run", "spawn", "wake", "error"}
    assert ("spawn", "life.<locals>.fails", "life") in in_c
    assert ("wake", "life.<locals>.waits", "life.<locals>.fails") in in_c
    assert ("run", "the one that takes", None) in in_c


def test_order_is_that_of_the_ring(hub: Any, methods: str) -> None:
    """Runs follow one another without a gap, and the ring goes round with the last events."""
    with Recorder(size=7) as recorder:
        for _ in range(30):
            sleep(0)
    runs = [event for event in recorder.events() if event.kind in ("run", "poll")]
    assert len(recorder.events()) == 7
    assert all(before.ended == after.began for before, after in pairwise(runs))
    assert all(event.began <= event.ended for event in recorder.events())


def test_greenlets_hand_over_while_it_is_on(hub: Any) -> None:
    """Greenlets that are recorded switch to one another, without the hub in between, as ever."""
    handed: list[bool] = []

    def turns() -> None:
        for _ in range(40):
            sleep(0)
            handed.append(hub.loop.handed_to is not None)

    with Recorder():
        hubbub.joinall([spawn(turns), spawn(turns)])
    assert handed.count(True) > 40


def test_texts_are_released(hub: Any, methods: str) -> None:
    """A ring keeps the texts of its events, each as often as it is there, and none when it is gone."""

    def named() -> None:
        pass

    text = named.__qualname__ = "".join(["a name ", "of its own"])
    before = sys.getrefcount(text)
    recorder = Recorder(size=10)
    with recorder:
        sleep(0.001)
        for _ in range(50):
            spawn(named).join()
    sleep(0.001)
    kept = [event.label for event in recorder.events()].count(text)
    assert kept > 0
    del recorder
    gc.collect()
    assert sys.getrefcount(text) == before


def test_names_with_code_are_not_kept(hub: Any, methods: str) -> None:
    """A name that is more than a str, and could run code when it is dropped, is not kept."""

    class Name(str):
        __slots__ = ()

    def work() -> None:
        pass

    work.__qualname__ = Name("work")
    with Recorder() as recorder:
        greenlet = spawn(work)
        greenlet.name = Name("greenlet")
        greenlet.join()
    (run,) = (event for event in recorder.events() if event.ident == id(greenlet) and event.kind == "run")
    assert run.label == "Greenlet"


def test_a_recorder_outlives_its_loop(hub: Any, methods: str) -> None:
    """What was recorded can be read when the hub is gone, and stopping is harmless then."""
    hubbub.get_hub()
    recorder = Recorder()
    recorder.start()
    spawn(int).join()
    hub.destroy()
    recorder.stop()
    assert recorder.events()


@pytest.mark.parametrize("change", [install_methods, uninstall_methods])
def test_methods_may_change_meanwhile(hub: Any, change: Callable[[], Any]) -> None:
    """A recorder that is on when the methods are put in or taken out harms nothing, and is there until it stops."""
    (uninstall_methods if change is install_methods else install_methods)()
    try:
        with Recorder() as recorder:
            spawn(int).join()
            change()
            spawn(int).join()
            sleep(0.001)  # the turn that has begun before ends
        assert recorder.events()
        assert hub.loop.log is None
        with Recorder() as recorder:
            sleep(0.001)
            spawn(int).join()
        assert any(event.kind == "spawn" for event in recorder.events())
    finally:
        install_methods()
