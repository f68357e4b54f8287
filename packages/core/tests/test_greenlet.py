"""Greenlets: starting, ending, waiting for them, killing them, links."""

from __future__ import annotations

import contextvars
import gc
import threading
import weakref

import hubbub
import pytest
from greenlet import GreenletExit, getcurrent, greenlet
from hubbub import Event, Greenlet, Timeout, joinall, kill, killall, sleep, spawn, spawn_later


class Failure(Exception):
    """Raised by the greenlets of these tests."""


def fail(error=Failure):
    raise error


# Making and starting --------------------------------------------------------------------------------------------------


def test_is_a_greenlet(hub):
    """A Greenlet is a greenlet.greenlet whose parent is the hub."""
    one = Greenlet(sleep)
    assert isinstance(one, greenlet)
    assert one.parent is hub
    assert one.hub is hub
    assert one.loop is hub.loop


def test_runs_with_its_arguments(hub):
    """The function gets the positional and keyword arguments given to spawn."""
    seen = []
    spawn(lambda *args, **kwargs: seen.append((args, kwargs)), 1, 2, three=3).join()
    assert seen == [((1, 2), {"three": 3})]


def test_spawn_does_not_run_at_once(hub):
    """spawn only schedules: the greenlet runs when the current one waits, in the order of spawning."""
    seen = []
    greenlets = [spawn(seen.append, number) for number in range(5)]
    assert seen == []
    joinall(greenlets)
    assert seen == [0, 1, 2, 3, 4]


def test_function_must_be_callable(hub):
    """What is not callable is refused where it is given."""
    with pytest.raises(TypeError, match="callable"):
        spawn(5)


class Counter(Greenlet):
    """A greenlet with its own constructor and body."""

    def __init__(self, limit):
        super().__init__()
        self.limit = limit

    def _run(self):
        return sum(range(self.limit))


def test_subclass_with_its_own_constructor(hub):
    """A subclass may have a constructor of its own and a body that uses what it stored."""
    assert Counter.spawn(5).get() == 10
    one = Counter(4)
    one.start()
    assert one.get() == 6


def test_start_is_idempotent(hub):
    """A second start, also in another form or after the end, does nothing."""
    seen = []
    one = Greenlet(seen.append, 1)
    one.start()
    one.start()
    one.start_later(0.0)
    one.join()
    one.start()
    sleep(0)
    assert seen == [1]


def test_start_later(hub):
    """start_later and spawn_later start after their time, not before."""
    begun = hub.loop.update_now()
    one = Greenlet(int)
    one.start_later(0.02)
    joinall([spawn_later(0.02, int), one])
    assert hub.loop.update_now() - begun >= 0.0195


def test_start_later_in_order(virtual_clock):
    """start_later and spawn_later start in the order of their times."""
    seen = []
    greenlets = [spawn_later(0.02, seen.append, "late"), spawn_later(0.01, seen.append, "early")]
    one = Greenlet(seen.append, "by hand")
    one.start_later(0.005)
    joinall([*greenlets, one])
    assert seen == ["by hand", "early", "late"]
    assert virtual_clock.now() == pytest.approx(0.02)


def test_never_started_is_not_dead(hub):
    """A greenlet that was not started is neither ready nor started nor successful; it is not dead either."""
    one = Greenlet(sleep)
    assert (one.ready(), one.dead, one.started, bool(one), one.successful()) == (False, False, False, False, False)


def test_states(quiet):
    """ready, started, successful and the truth value follow the life of a greenlet."""
    gate = Event()
    one = spawn(gate.wait)
    states = [(one.ready(), one.dead, bool(one), one.successful())]
    sleep(0)
    states.append((one.ready(), one.dead, bool(one), one.successful()))
    gate.set()
    one.join()
    states.append((one.ready(), one.dead, bool(one), one.successful()))
    assert states == [
        (False, False, True, False),
        (False, False, True, False),
        (True, True, False, True),
    ]
    bad = spawn(fail)
    bad.join()
    assert (bad.ready(), bad.successful()) == (True, False)


def test_not_dead_while_it_begins(hub):
    """Inside its own body, from the first line on, a greenlet is not dead."""
    seen = []
    one = Greenlet(lambda: seen.append((one.dead, one.ready())))
    one.start()
    one.join()
    assert seen == [(False, False)]


def test_name(hub):
    """A greenlet has a name for people, another for each, which can be assigned."""
    one, two = Greenlet(sleep), Greenlet(sleep)
    assert one.name.startswith("Greenlet-")
    assert one.name != two.name
    assert one.name == one.name
    one.name = "mine"
    assert "mine" in repr(one)


def test_repr_names_the_function(hub):
    """The repr names the function, in every state, also for bound methods, partials and subclasses."""
    assert "fail" in repr(Greenlet(fail))
    assert "append" in repr(Greenlet([].append))
    assert "Counter" in repr(Counter(3))
    done = spawn(int)
    done.join()
    assert "int" in repr(done)


def test_arguments_are_dropped_at_the_end(hub):
    """A finished greenlet keeps neither its function's arguments nor its links alive."""

    class Thing:
        pass

    thing = Thing()
    gone = weakref.ref(thing)
    one = spawn(lambda arg: None, thing)
    del thing
    one.join()
    gc.collect()
    assert gone() is None


def test_a_dropped_greenlet_is_freed(hub):
    """A finished greenlet that nobody refers to is freed without the help of the collector."""
    gc.collect()
    gc.disable()
    try:
        one = spawn(int)
        one.join()
        gone = weakref.ref(one)
        del one
        sleep(0)
        assert gone() is None
    finally:
        gc.enable()


# Results --------------------------------------------------------------------------------------------------------------


def test_get_returns_the_value(hub):
    """get returns what the function returned, again and again."""
    one = spawn(lambda: 7)
    assert [one.get(), one.get(), one.value] == [7, 7, 7]


def test_get_raises_the_error(quiet):
    """get raises what the function raised, the same object, again and again; join does not."""
    one = spawn(fail)
    one.join()
    for _ in range(2):
        with pytest.raises(Failure) as caught:
            one.get()
        assert caught.value is one.exception


def test_get_again_does_not_lengthen_the_traceback(quiet):
    """Raising the error again and again does not make its traceback grow."""
    one = spawn(fail)
    lengths = []
    for _ in range(4):
        with pytest.raises(Failure) as caught:
            one.get()
        lengths.append(len(caught.traceback))
    assert len(set(lengths)) == 1


def test_exc_info(quiet):
    """exc_info is (type, error, traceback) after a failure, and empty otherwise."""
    good, bad = spawn(int), spawn(fail)
    joinall([good, bad])
    assert good.exc_info == ()
    kind, error, traceback = bad.exc_info
    assert kind is Failure
    assert error is bad.exception
    assert traceback.tb_frame.f_code.co_name


def test_get_without_waiting(hub):
    """get(block=False) raises Timeout while there is no result."""
    one = spawn(sleep, 10)
    with pytest.raises(Timeout):
        one.get(block=False)
    one.kill()


def test_get_until_time_is_up(hub):
    """get(timeout=...) raises Timeout when it was not in time, and the greenlet goes on."""
    gate = Event()
    one = spawn(gate.wait)
    with pytest.raises(Timeout):
        one.get(timeout=0.001)
    assert not one.ready()
    gate.set()
    assert one.get(timeout=5) is True


def test_failure_is_reported_once(hub):
    """A failure is reported once through handle_error, with the greenlet as context, whoever asks for it later."""
    reports = []
    hub.handle_error = lambda *args: reports.append(args)
    one = spawn(fail)
    one.join()
    with pytest.raises(Failure):
        one.get()
    assert [(context, kind) for context, kind, _, _ in reports] == [(one, Failure)]


def test_failure_is_printed(hub, capsys):
    """Without a handler a failure is printed with traceback and the greenlet's name, also if get() is called later."""
    one = spawn(fail)
    one.join()
    text = capsys.readouterr().err
    assert "Traceback" in text
    assert "in fail" in text
    assert f"{one!r} failed with Failure" in text


def test_greenlet_exit_is_success(hub, capsys):
    """GreenletExit raised inside counts as success: it is the value, and is not printed."""
    one = spawn(fail, GreenletExit("enough"))
    value = one.get()
    assert isinstance(value, GreenletExit)
    assert value.args == ("enough",)
    assert one.successful()
    assert one.exception is None
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_exits_and_interrupts_surface_in_the_main_greenlet(quiet, error):
    """SystemExit and KeyboardInterrupt of any greenlet are raised in the main greenlet."""
    one = spawn(fail, error)
    with pytest.raises(error):
        sleep(5)
    assert isinstance(one.exception, error)


# join -----------------------------------------------------------------------------------------------------------------


def test_join_returns_none(quiet):
    """join returns None, whatever became of the greenlet and of the time limit."""
    assert spawn(fail).join() is None
    slow = spawn(sleep, 10)
    assert slow.join(timeout=0.001) is None
    assert not slow.ready()
    slow.kill()


def test_join_of_a_dead_one_does_not_wait(hub):
    """join of a finished greenlet returns at once: nobody else runs meanwhile."""
    one = spawn(int)
    one.join()
    seen = []
    spawn(seen.append, 1)
    one.join()
    assert seen == []


def test_several_joiners(hub):
    """All who join one greenlet go on when it ends, in the order they came."""
    gate = Event()
    one = spawn(gate.wait)
    seen = []

    def joiner(number):
        one.join()
        seen.append(number)

    joiners = [spawn(joiner, number) for number in range(3)]
    sleep(0)
    gate.set()
    joinall(joiners)
    assert seen == [0, 1, 2]


def test_join_inside_another_greenlet(hub):
    """Greenlets may join one another to any depth."""

    def chain(depth):
        return 0 if not depth else 1 + spawn(chain, depth - 1).get()

    assert spawn(chain, 50).get() == 50


def test_join_in_a_callback(hub):
    """join in a loop callback waits; the loop goes on."""
    gate, joined = Event(), hubbub.AsyncResult()
    one = spawn(gate.wait)
    hub.loop.run_callback(lambda: (one.join(), joined.set(one.dead)))
    sleep(0)
    assert not joined.ready()
    gate.set()
    assert joined.get(timeout=5) is True


def test_killed_joiner_leaves_no_link(hub):
    """A joiner that is killed leaves nothing behind in the greenlet it waited for."""
    one = spawn(sleep, 10)
    joiner = spawn(one.join)
    sleep(0)
    assert one.has_links()
    joiner.kill()
    assert not one.has_links()
    one.kill()


# kill -----------------------------------------------------------------------------------------------------------------


def test_kill_raises_greenlet_exit(hub):
    """kill raises GreenletExit where the greenlet waits, and waits for its end."""
    seen = []

    def body():
        try:
            sleep(10)
        except GreenletExit:
            seen.append("killed")
            raise

    one = spawn(body)
    sleep(0)
    one.kill()
    assert seen == ["killed"]
    assert one.dead
    assert one.successful()
    assert isinstance(one.value, GreenletExit)


def test_kill_before_its_first_run(hub):
    """A greenlet killed before it has run never runs: it is ready, successful, its value a GreenletExit."""
    seen = []
    one = spawn(seen.append, 1)
    one.kill()
    assert one.ready()
    assert one.successful()
    assert isinstance(one.value, GreenletExit)
    sleep(0.001)
    assert seen == []


def test_kill_of_one_that_was_never_started(hub):
    """A greenlet killed before start counts as ended, and starting it then does nothing."""
    seen = []
    one = Greenlet(seen.append, 1)
    one.kill()
    assert one.dead
    one.start()
    sleep(0.001)
    assert seen == []


def test_kill_of_a_delayed_start(hub):
    """A greenlet killed before its delayed start never runs, and its timer does not keep the loop going."""
    seen = []
    one = spawn_later(3600, seen.append, 1)
    one.kill()
    assert one.dead
    assert hub.join(timeout=1)
    assert seen == []


def test_kill_with_an_error_before_its_first_run(hub):
    """kill with an error before the first run: the error is stored, links are called, get raises it."""
    called = []
    one = spawn(int)
    one.link_exception(lambda source: called.append(source))
    one.kill(Failure("never ran"))
    sleep(0)
    with pytest.raises(Failure, match="never ran"):
        one.get()
    assert not one.successful()
    assert called == [one]


def test_kill_links_are_called(hub):
    """Links of a greenlet that was killed before its first run are called."""
    seen = []
    one = spawn(int)
    one.link(lambda source: seen.append(source))
    one.kill()
    sleep(0)
    assert seen == [one]


def test_survivor_of_a_kill(hub):
    """A greenlet that catches GreenletExit goes on; kill waits until it has ended, or until its time is up."""
    gate = Event()

    def body():
        try:
            sleep(10)
        except GreenletExit:
            gate.wait()
        return "survived"

    one = spawn(body)
    sleep(0)
    assert one.kill(timeout=0.001) is None
    assert not one.dead
    spawn(gate.set)
    one.join(timeout=5)
    assert one.get(block=False) == "survived"


def test_kill_without_waiting(hub):
    """kill(block=False) returns at once; the error is raised in the next callback."""
    one = spawn(sleep, 10)
    sleep(0)
    one.kill(block=False)
    assert not one.dead
    sleep(0)
    assert one.dead


def test_kill_twice(hub):
    """kill may be repeated, before and after the end."""
    one = spawn(sleep, 10)
    sleep(0)
    one.kill(block=False)
    one.kill(block=False)
    one.kill()
    one.kill()
    assert one.dead


def test_kill_oneself(hub):
    """A greenlet that kills itself ends there."""
    seen = []

    def body():
        seen.append("before")
        getcurrent().kill()
        seen.append("after")

    one = spawn(body)
    one.join(timeout=5)
    assert seen == ["before"]
    assert one.successful()


def test_kill_with_a_class_or_an_instance(quiet):
    """kill takes an exception class or an instance; the same instance arrives."""
    error = Failure("mine")
    one, two = spawn(sleep, 10), spawn(sleep, 10)
    sleep(0)
    one.kill(error)
    two.kill(Failure)
    assert one.exception is error
    assert isinstance(two.exception, Failure)


def test_killed_sleeper_leaves_no_timer(hub):
    """A killed sleeper leaves no timer: the loop has nothing left."""
    one = spawn(sleep, 3600)
    sleep(0)
    one.kill()
    assert hub.join(timeout=1)


def test_kill_in_the_same_turn_as_its_wake_up(hub):
    """A greenlet that is killed after it was woken and before it ran gets the kill, and is not resumed again."""
    gate = Event()
    seen = []

    def body():
        try:
            gate.wait()
            seen.append("woken")
        except GreenletExit:
            seen.append("killed")
            sleep(0.001)
            seen.append("cleaned up")

    one = spawn(body)
    sleep(0)
    one.kill(block=False)
    gate.set()
    one.join()
    assert seen in (["killed", "cleaned up"], ["woken"])


def test_throw_is_immediate(quiet):
    """throw raises in the greenlet now, not in the next turn."""
    one = spawn(sleep, 10)
    sleep(0)
    seen = []
    quiet.loop.run_callback(lambda: (one.throw(Failure), seen.append(one.dead)))
    sleep(0.001)
    assert seen == [True]
    assert isinstance(one.exception, Failure)


def test_throw_before_its_first_run(hub):
    """A greenlet that is thrown into before it has run ends without running."""
    seen = []
    one = spawn(seen.append, 1)
    one.throw(Failure("early"))
    sleep(0)
    assert one.dead
    assert seen == []
    with pytest.raises(Failure, match="early"):
        one.get()


def test_kill_function(hub):
    """hubbub.kill is asynchronous, for Greenlets and bare greenlets alike."""
    raw_seen = []

    def raw():
        try:
            sleep(10)
        except GreenletExit:
            raw_seen.append("killed")

    one, bare = spawn(sleep, 10), hubbub.spawn_raw(raw)
    sleep(0)
    kill(one)
    kill(bare)
    assert not one.dead
    assert raw_seen == []
    sleep(0)
    assert one.dead
    assert raw_seen == ["killed"]


def test_kill_from_another_thread(hub):
    """kill(block=False) from another native thread ends the greenlet within 50 milliseconds."""
    one = spawn(sleep, 10)
    sleep(0)
    thread = threading.Thread(target=one.kill, kwargs={"block": False})
    thread.start()
    one.join(timeout=5)
    assert one.dead
    thread.join()


def test_killall(hub):
    """killall ends all, started or not, dead or alive, and waits for them."""
    seen = []
    greenlets = [spawn(sleep, 10), spawn(seen.append, 1), spawn(sleep, 0)]
    greenlets[2].join()
    seen.clear()
    late = spawn(seen.append, 2)
    killall([*greenlets, late])
    assert all(one.dead for one in [*greenlets, late])
    assert seen == []


def test_killall_of_nothing(hub):
    """killall of nothing returns."""
    killall([])


def test_killall_until_time_is_up(hub):
    """killall with a limit raises Timeout when one of them does not end."""
    gate = Event()

    def stubborn():
        while True:
            try:
                gate.wait()
                return
            except GreenletExit:
                continue

    one = spawn(stubborn)
    sleep(0)
    with pytest.raises(Timeout):
        killall([one], timeout=0.005)
    gate.set()
    one.join()


def test_context_manager(hub):
    """At the end of a with block a greenlet is joined; when the block fails, it is killed with that error."""
    with spawn(lambda: sleep(0.001)) as one:
        pass
    assert one.dead
    hub.exception_stream = None
    two = spawn(sleep, 3600)
    with pytest.raises(Failure), two:
        sleep(0)
        raise Failure
    assert two.dead
    assert isinstance(two.exception, Failure)


# Context variables ----------------------------------------------------------------------------------------------------

variable = contextvars.ContextVar("variable", default="unset")


def test_starts_with_a_copy_of_the_context(hub):
    """A greenlet starts with a copy of its spawner's context variables, taken when it was made."""
    variable.set("spawner")
    one = spawn(variable.get)
    variable.set("changed later")
    assert one.get() == "spawner"


def test_changes_stay_inside(hub):
    """What a greenlet sets in its context is seen by nobody else, not even in turns."""
    variable.set("outer")

    def body(name):
        variable.set(name)
        sleep(0)
        return variable.get()

    assert [one.get() for one in [spawn(body, name) for name in ("a", "b")]] == ["a", "b"]
    assert variable.get() == "outer"


def test_context_can_be_chosen(hub):
    """context= gives the greenlet that very context."""
    variable.set("outer")
    assert spawn(variable.get, context=contextvars.Context()).get() == "unset"
    mine = contextvars.copy_context()
    spawn(variable.set, "inside", context=mine).join()
    assert mine[variable] == "inside"


# spawn_raw ------------------------------------------------------------------------------------------------------------


def test_spawn_raw(hub):
    """spawn_raw starts a bare greenlet with positional and keyword arguments, its parent the hub."""
    seen = []
    one = hubbub.spawn_raw(lambda *args, **kwargs: seen.append((args, kwargs)), 1, two=2)
    two = hubbub.spawn_raw(seen.append, 3)
    assert one.parent is hub
    assert not isinstance(two, Greenlet)
    sleep(0)
    assert seen == [((1,), {"two": 2}), 3]


def test_spawn_raw_must_be_callable(hub):
    """spawn_raw refuses what is not callable."""
    with pytest.raises(TypeError, match="callable"):
        hubbub.spawn_raw(None)


def test_failure_of_a_raw_greenlet_is_reported(hub):
    """A failure of a bare greenlet is reported, and the loop goes on."""
    reports = []
    hub.handle_error = lambda context, kind, error, tb: reports.append(kind)
    hubbub.spawn_raw(fail)
    sleep(0.001)
    assert reports == [Failure]
