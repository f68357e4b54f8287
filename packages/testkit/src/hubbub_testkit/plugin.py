"""The pytest plugin: every test that asks for ``hub`` or ``loop_name`` runs on every installed loop.

Fixtures: ``loop_name``, ``hub``, ``virtual_clock``. Options: ``--hubbub-loop NAME`` (may be repeated; also the
environment variable ``HUBBUB_TEST_LOOPS``, names separated by commas) and ``--hubbub-leaks off|report|fail``. A test
with the marker ``hubbub_no_leaks`` fails if it leaves greenlets or descriptors behind. When pytest-timeout's signal
method cuts a test short, the error is raised in the main greenlet of the test, and the report shows all greenlets'
stacks.
"""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import hubbub
import pytest
from greenlet import getcurrent
from hubbub import plugins
from hubbub.lowlevel import Hub, get_hub_if_exists
from hubbub.signal import Bystander

from hubbub_testkit.clock import VirtualClock, VirtualClockLoop
from hubbub_testkit.greenlets import Census, dump, stack

__all__ = [
    "hub",
    "loop_name",
    "pytest_addoption",
    "pytest_configure",
    "pytest_generate_tests",
    "pytest_report_header",
    "pytest_terminal_summary",
    "pytest_timeout_set_timer",
    "virtual_clock",
]

_LEFTOVERS = pytest.StashKey[list[tuple[str, str]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    group = parser.getgroup("hubbub")
    group.addoption(
        "--hubbub-loop",
        action="append",
        default=[],
        metavar="NAME",
        help="run tests on this event loop only (may be repeated); default: $HUBBUB_TEST_LOOPS, or all installed",
    )
    group.addoption(
        "--hubbub-leaks",
        choices=("off", "report", "fail"),
        default="off",
        help="what to do about a test that leaves greenlets or descriptors behind (slows every test down)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker, and let pytest rewrite the assertions of the conformance suite."""
    config.addinivalue_line("markers", "hubbub_no_leaks: fail if greenlets or descriptors of the test are left behind")
    config.stash[_LEFTOVERS] = []
    if config.getoption("hubbub_loop"):
        _chosen_loops(config)


pytest.register_assert_rewrite("hubbub_testkit.conformance")


def pytest_report_header(config: pytest.Config) -> str:
    """Name the loops."""
    return f"hubbub loops: {', '.join(_chosen_loops(config)) or 'none'}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that uses ``loop_name`` once on each loop."""
    if "loop_name" in metafunc.fixturenames:
        metafunc.parametrize("loop_name", _chosen_loops(metafunc.config), indirect=True)


def _chosen_loops(config: pytest.Config) -> list[str]:
    wanted = config.getoption("hubbub_loop") or [
        name for name in os.environ.get("HUBBUB_TEST_LOOPS", "").replace(" ", "").split(",") if name
    ]
    installed = plugins.names(plugins.LOOPS)
    for name in wanted:
        if name not in installed:
            raise pytest.UsageError(f"no loop {name!r} is installed; there are: {', '.join(installed)}")
    return list(dict.fromkeys(wanted or installed))


@pytest.fixture
def loop_name(request: pytest.FixtureRequest) -> str:
    """The entry-point name of a loop: each installed one in turn. A loop that cannot be loaded fails the test."""
    name: str = request.param
    try:
        plugins.load(plugins.LOOPS, name)
    except (ImportError, AttributeError) as error:  # the module is missing, or the class in it
        pytest.fail(f"loop {name!r} is installed but cannot be loaded: {error!r}", pytrace=False)
    return name


@pytest.fixture
def hub(loop_name: str, request: pytest.FixtureRequest) -> Iterator[Hub]:
    """A fresh hub of this thread on each loop in turn. Hubs of other threads use the same loop class meanwhile."""
    yield from _fresh_hub(loop_name, request)


@pytest.fixture
def virtual_clock(request: pytest.FixtureRequest) -> Iterator[VirtualClock]:
    """A fresh hub whose clock jumps over all waiting: a test that sleeps an hour takes no time."""
    for hub in _fresh_hub(VirtualClockLoop, request):
        assert isinstance(hub.loop, VirtualClockLoop)
        yield VirtualClock(hub.loop)


def _fresh_hub(loop: Any, request: pytest.FixtureRequest) -> Iterator[Hub]:
    policy = _leak_policy(request)
    _drop_hub()
    before = Census.take() if policy != "off" else None
    hubbub.configure(loop=loop)
    try:
        yield hubbub.get_hub()
        if before is not None:
            _look_for_leaks(before, policy, request)
    finally:
        hubbub.configure(loop=None)
        _drop_hub()


def _drop_hub() -> None:
    hub = get_hub_if_exists()
    if hub is not None:
        hub.destroy()


# Leaks ----------------------------------------------------------------------------------------------------------------


def _leak_policy(request: pytest.FixtureRequest) -> str:
    if request.node.get_closest_marker("hubbub_no_leaks"):
        return "fail"
    policy: str = request.config.getoption("hubbub_leaks")
    return policy


def _look_for_leaks(before: Census, policy: str, request: pytest.FixtureRequest) -> None:
    hubbub.sleep(0)  # so that greenlets that were killed or woken last may end
    gc.collect()
    greenlets = before.new_greenlets(Census.take())
    left = [f"greenlet {one!r}, waiting in\n{stack(one)}" for one in greenlets]
    _drop_hub()
    left += [f"descriptor {text}\n" for text in before.new_descriptors(Census.take())]
    if not left:
        return
    if policy == "fail":
        pytest.fail("the test left behind:\n" + "\n".join(left), pytrace=False)
    request.config.stash[_LEFTOVERS].append((request.node.nodeid, "\n".join(left)))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Report what tests have left behind."""
    leftovers = config.stash[_LEFTOVERS]
    if leftovers:
        terminalreporter.section("left behind")
    for nodeid, text in leftovers:
        terminalreporter.write_line(nodeid, bold=True)
        terminalreporter.write_line(text)


# Time-outs ------------------------------------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> bool | None:
    """Replace pytest-timeout's own handler of SIGALRM, which would raise in the greenlet that happens to run."""
    if settings.method != "signal" or threading.current_thread() is not threading.main_thread():
        return None
    handler = Bystander(lambda *_: _time_out(item, settings.timeout))  # it does not hide a deadlock
    previous = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, settings.timeout)

    def cancel() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous if previous is not None else signal.SIG_DFL)

    canceller: Callable[[], None] = cancel
    item.cancel_timeout = canceller  # type: ignore[attr-defined]  # where pytest-timeout looks for it
    return True


def _time_out(item: pytest.Item, seconds: float) -> None:
    item.add_report_section("call", "greenlets at the time-out", dump())
    message = f"Timeout (>{seconds}s)"
    current = getcurrent()
    main = current
    while main.parent is not None:
        main = main.parent
    if main is current:
        pytest.fail(message)
    main.throw(pytest.fail.Exception(message))
