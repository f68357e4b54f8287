"""The conformance suite: it refuses to be thinned out, and it finds what is broken."""

from __future__ import annotations

import pytest
from hubbub_testkit.conformance import LoopConformance

# Each loop is broken in one way: the method's body, and which tests must fail, with what text.
BROKEN = {
    "reports readiness once": (
        """
        def poll(self, timeout):
            events = [event for event in super().poll(timeout) if event not in self.__dict__.setdefault("seen", set())]
            self.seen.update(events)
            return events
        """,
        {"test_io_is_level_triggered": "Timeout", "test_edge_or_level": "assert "},
    ),
    "forgets nothing": (
        """
        def forget(self, fd):
            pass
        """,
        {"test_forgotten_descriptor_is_not_reported": "assert 1 == 0", "test_arm_for_nothing": "assert 1 == 0"},
    ),
    "raises in forget": (
        """
        def forget(self, fd):
            self._selector.unregister(fd)
        """,
        {"test_forget_unknown": "is not registered"},
    ),
    "cannot be woken": (
        """
        def wake(self):
            return True
        """,
        {
            "test_callback_from_another_thread": "Timeout",
            "test_wake_ends_a_waiting_poll": "Timeout",
        },
    ),
    "is late": (
        """
        def poll(self, timeout):
            return super().poll(timeout + 0.05 if timeout > 0 else timeout)
        """,
        {"test_timer_is_on_time[[]0.001[]]": "assert 0.0"},
    ),
    "is early": (
        """
        def call_later(self, after, callback, repeat=0.0, ref=True):
            return super().call_later(after * 0.1, callback, repeat, ref)
        """,
        {"test_timer_is_on_time[[]0.05[]]": "assert -0.0"},
    ),
    "never waits": (
        """
        def poll(self, timeout):
            return super().poll(0.0)
        """,
        {"test_poll_waits_for_a_timer": "assert "},
    ),
    "ignores priorities": (
        """
        def idle(self, ref=True, priority=0):
            return super().idle(ref, 0)
        """,
        {"test_idle_of_the_highest_priority_only": "assert "},
    ),
    "runs the newest callback first": (
        """
        def run_callback(self, callback, *args):
            call = super().run_callback(callback, *args)
            self.ready.rotate(1)
            return call
        """,
        {"test_callbacks_run_in_order": "assert ", "test_callback_queued_by_a_callback_runs_later_in_order": "assert "},
    ),
    "calls at once": (
        """
        def run_callback(self, callback, *args):
            call = super().run_callback(callback, *args)
            self.ready.pop()()
            return call
        """,
        {"test_callback_does_not_run_at_once": "assert not [[]1[]]"},
    ),
    "swallows errors": (
        """
        def handle_error(self, context, kind, error, tb):
            pass
        """,
        {"test_callback_that_raises": "not enough values", "test_watcher_that_raises_stays_active": "assert "},
    ),
    "keeps its descriptors": (
        """
        def close(self, forked):
            pass
        """,
        {"test_destroy_closes_all_descriptors": "assert "},
    ),
    "takes any descriptor": (
        """
        def arm(self, fd, events):
            try:
                super().arm(fd, events)
            except OSError:
                pass
        """,
        {"test_arm_closed_descriptor": "DID NOT RAISE", "test_io_regular_file": "DID NOT RAISE"},
    ),
    "calls its callbacks from poll": (
        """
        def _tell_observers(self, handle, bits):
            for watcher in list(handle.observers):
                watcher._run()
        """,
        {"test_dispatch_calls_nothing": "assert not [[]1"},
    ),
    "forgets to wake the waiters of a closed descriptor": (
        """
        def descriptor_closing(self, fd):
            handle = self.handles.pop(fd, None)
            if handle is not None:
                self.backend.forget(fd)
        """,
        {"test_closing_wakes_waiters": "assert ", "test_descriptor_closing_ends_watchers": "Timeout"},
    ),
    "keeps the parent's descriptors in a child": (
        """
        def reinit(self):
            pass
        """,
        {"test_reinit_in_the_child": "the child hung", "test_fork_watcher": "AssertionError"},
    ),
    "does nothing when destroyed": (
        """
        def destroy(self):
            super().destroy()
            self.destroyed = False
        """,
        {"test_destroy_twice": "assert "},
    ),
}


def program(body):
    """A test file that runs the kit on a backend, or a loop, with ``body`` in it."""
    on_backend = any(f"def {name}(" in body for name in ("open", "close", "poll", "arm", "forget", "wake"))
    base = "SelectorBackend" if on_backend else "Loop"
    return f"""
import pytest
from hubbub.loop.base import BaseLoop
from hubbub.loop.stdlib import SelectorBackend
from hubbub_testkit.conformance import LoopConformance

class Loop(BaseLoop):
    def __init__(self, default=False):
        super().__init__(SelectorBackend(), default)

class Broken({base}):
{_indented(body)}

class TestBroken(LoopConformance):
    patience = 0.5

    @pytest.fixture
    def backend_class(self):
        return Broken
"""


def _indented(body):
    return "\n".join(line[4:] if line.startswith("    ") else line for line in body.splitlines())


@pytest.mark.parametrize("name", BROKEN)
def test_broken_loops_are_found(run, name):
    """A loop that is broken in one way fails the tests of that promise, for that reason."""
    body, expected = BROKEN[name]
    names = " or ".join(test.partition("[")[0] for test in expected)
    done = run(program(body), "-k", names, "--timeout=5")
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    for test, reason in expected.items():
        done.stdout.fnmatch_lines([f"FAILED *::{test} - *{reason}*"])


def test_a_sound_loop_passes_the_same_tests(run):
    """The tests that the broken loops fail pass on the loop they are made of."""
    names = " or ".join({test.partition("[")[0] for _, expected in BROKEN.values() for test in expected})
    done = run(program("        pass").replace("patience = 0.5", "patience = 5.0"), "-k", names)
    assert done.ret == pytest.ExitCode.OK


def test_no_test_can_be_replaced_in_silence():
    """Replacing or removing a test of the kit is refused, at the definition of the class."""
    for replacement in (lambda self: None, None):
        with pytest.raises(TypeError, match="test_is_a_backend replaces a test of the kit"):
            type("TestMine", (LoopConformance,), {"test_is_a_backend": replacement})


def test_no_test_can_be_replaced_further_down():
    """That holds for subclasses of subclasses too."""
    mine = type("TestMine", (LoopConformance,), {})
    with pytest.raises(TypeError, match="xfail"):
        type("TestTheirs", (mine,), {"test_is_a_backend": None})


def test_an_excused_replacement_is_accepted():
    """A replacement that is marked xfail with a reason is accepted; without a reason it is not."""

    def replacement(self):
        raise NotImplementedError

    excused = pytest.mark.xfail(reason="the system cannot")(replacement)
    assert type("TestMine", (LoopConformance,), {"test_is_a_backend": excused})

    def other(self):
        raise NotImplementedError

    with pytest.raises(TypeError, match="xfail"):
        type("TestMine", (LoopConformance,), {"test_is_a_backend": pytest.mark.xfail(other)})


def test_new_tests_are_welcome():
    """A subclass may add tests of its own."""
    assert type("TestMine", (LoopConformance,), {"test_of_mine": lambda self: None})


def test_backend_class_must_be_overridden(run):
    """Forgetting to name the loop is an error that says so."""
    done = run(
        """
        from hubbub_testkit.conformance import LoopConformance

        class TestMine(LoopConformance):
            pass
        """,
        "-k",
        "test_is_a_backend",
    )
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*TestMine must override the fixture backend_class*"])
