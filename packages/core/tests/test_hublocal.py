"""Values that hang on a hub."""

from __future__ import annotations

import os
import threading

import pytest
from hubbub import Event, Hub, _current, get_hub, sleep, spawn
from hubbub.lowlevel import HubLocal


class Failure(Exception):
    """Raised by what ends and renews values here."""


def in_thread(function):
    results = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results[0]


def test_made_once_for_each_hub(hub):
    """A value is made when it is first asked for, once for each hub."""
    made = []
    variable = HubLocal("a list", lambda hub: made.append(hub) or [hub])
    assert variable.if_made() is None
    assert variable.get() is variable.get(hub) is variable.if_made(hub)
    assert made == [hub]
    (other,) = in_thread(variable.get)
    assert other is not hub
    assert made == [hub, other]


def test_set_and_forget(hub):
    """A value may be set and forgotten; neither ends the one before."""
    ended = []
    variable = HubLocal("an object", lambda hub: object(), end=ended.append)
    first = variable.get()
    variable.set(5)
    assert variable.get() == 5
    variable.forget()
    variable.forget()
    assert variable.get() not in (5, first)
    assert ended == []


def test_ended_with_the_hub(hub):
    """When the hub is destroyed its values are ended, the newest first, and one that fails to end keeps no other."""
    reports, ended = [], []
    hub.handle_error = lambda context, kind, error, traceback: reports.append((context, kind))

    def end(value):
        ended.append(value)
        if value == "second":
            raise Failure

    variables = [HubLocal(name, lambda hub, name=name: name, end=end) for name in ("first", "second", "third")]
    for variable in variables:
        variable.get()
    HubLocal("nobody ends it", lambda hub: 1).get()
    hub.destroy()
    assert ended == ["third", "second", "first"]
    assert reports == [("second", Failure)]
    assert all(variable.if_made(hub) is None for variable in variables)


def test_two_greenlets_make_one(hub):
    """If making a value waits and another greenlet makes one meanwhile, both get the same and the other is ended."""
    gate, ended = Event(), []
    variable = HubLocal("an object", lambda hub: gate.wait() and object(), end=ended.append)
    both = [spawn(variable.get), spawn(variable.get)]
    sleep(0)
    gate.set()
    first, second = (one.get() for one in both)
    assert first is second is variable.get()
    assert len(ended) == 1
    assert ended != [first]


def test_renewed_after_a_fork(hub):
    """In the child of a fork each value is renewed; one without ``renew`` stays what it is."""
    variable = HubLocal("a list", lambda hub: ["made"], renew=lambda value: value.append("renewed"))
    other = HubLocal("another", lambda hub: ["made"])
    variable.get(), other.get()
    readable, writable = os.pipe()
    child = os.fork()
    if not child:
        os.write(writable, repr((variable.get(), other.get())).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(readable, 100) == b"(['made', 'renewed'], ['made'])"
    assert variable.get() == ["made"]
    os.close(readable)
    os.close(writable)


def test_attribute_of_hubs(hub):
    """As an attribute of a class of hubs it is an attribute of each hub, that can be assigned and deleted."""
    assert isinstance(Hub.threadpool, HubLocal)
    pool = hub.threadpool
    assert Hub.threadpool.get(hub) is pool
    hub.threadpool = 5
    assert hub.threadpool == 5
    del hub.threadpool
    assert hub.threadpool is not pool
    pool.kill()


def test_an_error_of_making_stands_alone(hub):
    """What cannot be made raises its own error, without the failed look-up before it."""

    def fail(hub):
        raise OSError("no room")

    with pytest.raises(OSError, match="no room") as caught:
        HubLocal("fails", fail).get()
    assert caught.value.__context__ is None


def test_an_error_of_making_a_hub_stands_alone(monkeypatch):
    """A thread whose hub cannot be made gets that error, without the failed look-up before it."""
    caught = []

    def use():
        try:
            get_hub()
        except OSError as error:
            caught.append(error.__context__)

    def fail():
        raise OSError("no room")

    monkeypatch.setattr(_current, "hub_class", [fail])
    thread = threading.Thread(target=use)
    thread.start()
    thread.join(50)
    assert caught == [None]


def test_nobody_makes_it(hub):
    """Without a maker a value must be set first; who comes second with a maker is refused."""
    variable = HubLocal("the weather")
    with pytest.raises(LookupError, match="the weather"):
        variable.get()
    variable.set("fine")
    assert variable.get() == "fine"
    variable.provide(lambda hub: "bad")
    assert in_thread(variable.get) == "bad"
    with pytest.raises(RuntimeError, match="provided already"):
        variable.provide(lambda hub: "worse")
    assert get_hub() is hub


def test_wrong_arguments():
    """A variable says what it is, and how its values are made: neither is taken for the other, nor for nothing."""
    with pytest.raises(TypeError, match="as text, not <"):
        HubLocal(len)
    with pytest.raises(TypeError, match="must be callable"):
        HubLocal("a list", [])
    with pytest.raises(TypeError, match="must be callable"):
        HubLocal("a list", list, end="clear")
    variable = HubLocal("a list")
    with pytest.raises(TypeError, match="must be callable"):
        variable.provide(list, renew=1)
    variable.provide(lambda hub: [])
