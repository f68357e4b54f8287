"""The pytest plugin."""

from __future__ import annotations

import pytest
from hubbub import plugins

LOOPS = plugins.names(plugins.LOOPS)
ONE = "--hubbub-loop=stdlib"


def test_hub_on_every_loop(run):
    """A test that asks for hub runs once on each installed loop, whose class the hub has."""
    done = run(
        """
        import hubbub
        from hubbub import plugins

        def test_it(hub, loop_name):
            assert type(hub.loop.backend) is plugins.load(plugins.LOOPS, loop_name)
            assert hubbub.get_hub() is hub
            hubbub.sleep(0.001)
        """,
        "-v",
    )
    done.assert_outcomes(passed=len(LOOPS))
    done.stdout.fnmatch_lines([f"*test_it?{name}?*" for name in LOOPS])
    done.stdout.fnmatch_lines([f"hubbub loops: {', '.join(LOOPS)}"])


def test_hubs_are_fresh(run):
    """Each test gets a hub of its own; the one before is destroyed."""
    done = run(
        """
        hubs = []

        def test_one(hub):
            hubs.append(hub)

        def test_two(hub):
            assert hub is not hubs[0]
            assert hubs[0].loop.destroyed
            assert not hub.loop.destroyed
        """,
        ONE,
    )
    done.assert_outcomes(passed=2)


def test_choice_by_option(run):
    """--hubbub-loop restricts the loops and may be repeated."""
    text = "def test_it(loop_name): pass"
    run(text, ONE).assert_outcomes(passed=1)
    run(text, ONE, ONE).assert_outcomes(passed=1)
    run(text, *(f"--hubbub-loop={name}" for name in LOOPS)).assert_outcomes(passed=len(LOOPS))


def test_choice_by_environment(run, monkeypatch):
    """HUBBUB_TEST_LOOPS restricts the loops; the option comes before it."""
    monkeypatch.setenv("HUBBUB_TEST_LOOPS", "stdlib, stdlib")
    run("def test_it(loop_name): assert loop_name == 'stdlib'").assert_outcomes(passed=1)
    monkeypatch.setenv("HUBBUB_TEST_LOOPS", "nonsense")
    run("def test_it(loop_name): pass", ONE).assert_outcomes(passed=1)


def test_unknown_loop(run):
    """An unknown loop is a usage error that lists the installed ones."""
    done = run("def test_it(loop_name): pass", "--hubbub-loop=nonsense")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines(["*no loop 'nonsense' is installed; there are: *stdlib*"])


def test_broken_loop_fails(run, monkeypatch):
    """A loop that is installed but cannot be imported fails the test, with the ImportError."""
    from importlib.metadata import EntryPoint, EntryPoints

    broken = EntryPoint("broken", "no_such_module_of_mine:Loop", plugins.LOOPS)
    monkeypatch.setattr(plugins, "entry_points", lambda: EntryPoints([broken]))
    plugins.forget()
    try:
        done = run("def test_it(hub): pass")
    finally:
        monkeypatch.undo()
        plugins.forget()
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*loop 'broken' is installed but cannot be loaded*no_such_module_of_mine*"])


def test_other_threads_use_the_same_loop(run):
    """Hubs of other threads use the loop of the test."""
    done = run(
        """
        import threading
        import hubbub

        def test_it(hub):
            seen = []

            def work():
                seen.append(type(hubbub.get_hub().loop.backend))

            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
            assert seen == [type(hub.loop.backend)]
        """
    )
    done.assert_outcomes(passed=len(LOOPS))


def test_virtual_clock(run):
    """virtual_clock gives a hub on which a test that sleeps for hours takes no time."""
    done = run(
        """
        import time
        import hubbub

        def test_it(virtual_clock):
            begun = time.monotonic()
            one = hubbub.spawn(hubbub.sleep, 7200)
            hubbub.sleep(3600)
            assert not one.ready()
            one.join()
            assert virtual_clock.now() == 7200
            assert virtual_clock.jumps >= 2
            assert time.monotonic() - begun < 60
        """
    )
    done.assert_outcomes(passed=1)


def test_leaked_greenlet_fails(run):
    """With the marker, a test that leaves a greenlet behind fails and shows where it waits."""
    done = run(
        """
        import hubbub, pytest

        def forgotten():
            hubbub.sleep(100)

        @pytest.mark.hubbub_no_leaks
        def test_leak(hub):
            hubbub.spawn(forgotten)
            hubbub.sleep(0)

        @pytest.mark.hubbub_no_leaks
        def test_clean(hub):
            hubbub.spawn(hubbub.sleep, 0.001).join()
        """,
        ONE,
    )
    done.assert_outcomes(passed=2, errors=1)
    done.stdout.fnmatch_lines(["*the test left behind:*", "*in forgotten*"])


def test_leaked_descriptor_fails(run):
    """With the marker, a test that leaves a descriptor open fails and shows what it is."""
    done = run(
        """
        import os, pytest

        @pytest.mark.hubbub_no_leaks
        def test_leak(hub):
            os.pipe()
        """,
        ONE,
    )
    done.assert_outcomes(passed=1, errors=1)
    done.stdout.fnmatch_lines(["*descriptor * (pipe:*"])


def test_leaks_reported(run):
    """--hubbub-leaks=report lists what was left behind and fails nothing; =fail fails every such test."""
    text = """
        import hubbub

        def test_leak(hub):
            hubbub.spawn(hubbub.sleep, 100)
            hubbub.sleep(0)
        """
    done = run(text, ONE, "--hubbub-leaks=report")
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["*left behind*", "*test_leak*", "*greenlet*"])
    run(text, ONE, "--hubbub-leaks=fail").assert_outcomes(passed=1, errors=1)
    run(text, ONE).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    "body",
    [
        "hubbub.spawn(hubbub.sleep, 100).join()",
        "hubbub.spawn(spin).join()",
        "hubbub.spawn(hubbub.sleep, 100) and spin()",
    ],
    ids=["all wait", "a greenlet spins", "the test spins"],
)
def test_time_out(run, body):
    """When time is up the test fails, whichever greenlet runs just then, and all greenlets are shown."""
    done = run(
        f"""
        import hubbub, pytest

        def spin():
            hubbub.sleep(0)
            while True:
                pass

        @pytest.mark.timeout(0.3)
        def test_hangs(hub):
            {body}

        def test_next(hub):
            hubbub.sleep(0.001)
        """,
        ONE,
    )
    done.assert_outcomes(passed=1, failed=1)
    done.stdout.fnmatch_lines(["*Timeout (>0.3s)*", "*greenlets at the time-out*", "*<Greenlet *", "*test_hangs*"])
