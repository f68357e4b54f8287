"""The links of greenlets: what is called when one has ended."""

from __future__ import annotations

import sys

import hubbub
import pytest
from greenlet import GreenletExit, getcurrent, greenlet
from hubbub import Event, Greenlet, joinall, sleep, spawn
from hubbub.exceptions import HubDestroyed
from hubbub.hub import Hub


class Failure(Exception):
    """Raised by the greenlets of these tests."""


def fail(error=Failure):
    raise error


def test_links_in_order(hub):
    """Links are called in the order they were made, link and rawlink mixed; the same callback twice is called twice."""
    seen = []
    one = spawn(int)
    one.rawlink(lambda source: seen.append(("raw", source)))
    one.link(lambda source: seen.append(("link", source)))
    again = lambda source: seen.append(("again", source))  # noqa: E731  # the same object twice
    one.rawlink(again)
    one.rawlink(again)
    one.join()
    sleep(0)
    assert [name for name, _ in seen] == ["raw", "link", "again", "again"]
    assert all(source is one for _, source in seen)


def test_link_to_a_finished_one(hub):
    """A link made after the end is still called, later, not at once."""
    one = spawn(int)
    one.join()
    seen = []
    one.rawlink(seen.append)
    one.link(seen.append)
    assert seen == []
    sleep(0)
    assert seen == [one, one]


def test_link_may_wait(hub):
    """The callback of link runs in a greenlet of its own and may wait; that of rawlink runs on the hub."""
    seen = []

    def callback(source):
        sleep(0.001)
        seen.append(getcurrent().parent is hub)
        done.set()

    one, done = spawn(int), Event()
    one.link(callback)
    one.rawlink(lambda source: seen.append(getcurrent() is hub))
    assert done.wait(timeout=5)
    assert seen == [True, True]


def test_link_value_and_link_exception(quiet):
    """link_value is called after success (a GreenletExit too), link_exception after failure, not the other way."""
    seen = []
    for function, args in ((int, ()), (fail, ()), (fail, (GreenletExit,))):
        one = spawn(function, *args)
        one.link_value(lambda source: seen.append("value"))
        one.link_exception(lambda source: seen.append("exception"))
        one.join()
        sleep(0)
    assert seen == ["value", "exception", "value"]


def test_unlink(hub):
    """unlink takes one link back, also from within another link; unlinking a stranger is harmless."""
    seen = []
    one = spawn(int)
    first, second = (lambda source: seen.append(1)), (lambda source: seen.append(2))
    one.link(first)
    one.rawlink(second)
    one.unlink(first)
    one.unlink(print)
    assert one.has_links() == 1
    one.join()
    sleep(0)
    assert seen == [2]
    two = spawn(int)
    two.rawlink(lambda source: two.unlink(second))
    two.rawlink(second)
    two.join()
    sleep(0)
    assert seen == [2]


def test_unlink_takes_the_first_of_equal_links(hub):
    """Links that compare equal are taken back in the order they were made, whichever of them is given."""

    class Link:
        def __init__(self, name):
            self.name = name

        def __eq__(self, other):
            return isinstance(other, Link)

        __hash__ = None

        def __call__(self, source):
            seen.append(self.name)

    seen = []
    one = spawn(int)
    first, second = Link("first"), Link("second")
    one.rawlink(first)
    one.rawlink(second)
    one.unlink(second)
    one.join()
    assert seen == ["second"]


def test_a_link_that_fails_is_reported_as_in_its_except_clause(hub):
    """handle_error is told of the link and the greenlet, and finds the error where an except clause has it. The links
    behind the one that failed are called, and nothing is left of the error."""
    reports, seen = [], []
    hub.handle_error = lambda context, *error: reports.append((context, error[1], sys.exc_info()[1]))
    one = spawn(int)
    one.rawlink(fail_link)
    one.rawlink(lambda source: seen.append(sys.exc_info()))
    one.join()
    ((context, error, handled),) = reports
    assert context == (fail_link, one)
    assert error is handled
    assert error.__traceback__ is not None
    assert seen == [(None, None, None)]


def test_a_report_of_a_link_that_ends_the_hub_is_passed_on(hub):
    """What ends the hub goes on to the hub, not only to the report, and the links left are not called by then."""
    one = Greenlet(int)
    seen = []

    def end(*args):
        raise HubDestroyed(hub)

    hub.handle_error = end
    one.rawlink(fail_link)
    one.rawlink(seen.append)
    with pytest.raises(HubDestroyed):
        one._notify_links()
    assert not seen


def test_a_subclass_may_have_attributes_of_the_same_names(hub):
    """A class whose instances have args, kwargs, value or made in their dictionaries works as any other."""

    class Own(Greenlet):
        args = kwargs = value = made = None

    one = Own.spawn(max, 1, 2, default=3)
    assert (one.args, one.kwargs) == ((1, 2), {"default": 3})
    assert one.made == hub.loop.time
    one.join()
    assert isinstance(one.exception, TypeError) or one.value == 2
    assert (one.args, dict(one.kwargs)) == ((), {})


def test_a_subclass_may_say_when_it_is_dead(hub):
    """ready() and joinall ask the property dead of the class."""

    class Cat(Greenlet):
        dead = property(lambda self: True)

    one = Cat(sleep, 10)
    assert one.ready()
    assert joinall([one], timeout=0) == [one]


def test_keyword_arguments_are_the_greenlets_own(hub):
    """A greenlet keeps the keyword arguments it was made with, whatever becomes of the dict that they came in."""
    given = {"one": 1}
    made = Greenlet(dict, **given)
    Greenlet.__init__(made, dict, **given)
    given["one"] = 2
    made.start()
    assert made.get() == {"one": 1}


def test_a_greenlet_runs_on_the_hub_of_the_thread(hub):
    """Made in a greenlet of another hub, it belongs to the hub that the thread has now."""
    other, main = Hub(), getcurrent()
    stray = greenlet(lambda: main.switch(Greenlet(int)), other)
    made = stray.switch()
    assert made.hub is hub
    stray.parent = main
    stray.switch()
    other.destroy()


def test_unlink_all(hub):
    """unlink_all takes every link back."""
    seen = []
    one = spawn(int)
    one.link(seen.append)
    one.rawlink(seen.append)
    one.unlink_all()
    assert not one.has_links()
    one.join()
    sleep(0)
    assert seen == []


def test_link_must_be_callable(hub):
    """What is not callable cannot be linked."""
    one = Greenlet(int)
    for link in (one.link, one.rawlink, one.link_value, one.link_exception):
        with pytest.raises(TypeError, match="callable"):
            link(None)


def test_failing_link_does_not_stop_the_others(hub):
    """A link that fails is reported, and those after it are called."""
    seen, reports = [], []
    hub.handle_error = lambda context, kind, error, tb: reports.append(kind)
    one = spawn(int)
    one.rawlink(fail_link)
    one.rawlink(seen.append)
    one.join()
    sleep(0)
    assert seen == [one]
    assert reports == [Failure]


def fail_link(source):
    raise Failure


def test_result_as_a_link(quiet):
    """An AsyncResult is a link: it takes over value or error."""
    value, error = hubbub.AsyncResult(), hubbub.AsyncResult()
    spawn(lambda: 5).link(value)
    spawn(fail).link(error)
    assert value.get(timeout=5) == 5
    with pytest.raises(Failure):
        error.get(timeout=5)
