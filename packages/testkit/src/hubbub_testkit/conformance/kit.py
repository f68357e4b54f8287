"""What the tests of the conformance suite share."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, ClassVar

import pytest
from greenlet import getcurrent, greenlet
from hubbub.abc import READ
from hubbub.lowlevel import accelerate, make_loop

__all__ = ["PATIENCE", "Expected", "Kit", "Recorder", "in_turn", "needs_fork", "needs_pidfd", "posix"]

PATIENCE = 10.0
"""How many seconds a test waits for what must happen before it fails."""

needs_fork: pytest.MarkDecorator = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
needs_pidfd: pytest.MarkDecorator = pytest.mark.skipif(
    not hasattr(os, "pidfd_open"), reason="the system has no pidfd_open"
)
posix: pytest.MarkDecorator = pytest.mark.skipif(os.name != "posix", reason="a promise for POSIX systems")


class Recorder:
    """Takes the place of the hub as error handler. A test takes the failures that it expects; others fail the test."""

    def __init__(self) -> None:
        self.errors: list[tuple[object, BaseException | None]] = []

    def handle_error(self, context: object, kind: Any, error: BaseException | None, tb: Any) -> None:
        """Called by the loop. An error that is not an Exception, such as that of an interrupted test, is raised."""
        if error is not None and not isinstance(error, Exception):
            raise error
        self.errors.append((context, error))

    def take(self) -> list[tuple[object, BaseException | None]]:
        """Return the failures so far, and forget them."""
        errors, self.errors = self.errors, []
        return errors


def in_turn(*calls: Callable[[], object]) -> Callable[[], None]:
    """A callback that makes several calls."""

    def call_all() -> None:
        for call in calls:
            call()

    return call_all


class Expected(Exception):
    """Raised on purpose by callbacks of the tests."""


def _is_excused(replacement: object) -> bool:
    marks = getattr(replacement, "pytestmark", ())
    return any(mark.name == "xfail" and mark.kwargs.get("reason") for mark in marks)


class Kit:
    """What the tests share: fixtures, flags, and a check that subclasses lose no test unnoticed."""

    real_time: ClassVar[bool] = True
    """The loop's clock is :func:`time.monotonic`; false for a simulated one."""
    refuses_regular_files: ClassVar[bool] = True
    """Waiting for a regular file raises EPERM; false for interfaces that always report it readable (select, poll)."""
    timer_early: ClassVar[float] = 0.0005
    """By how many seconds a timer may come too early (clocks of coarse granularity)."""
    patience: ClassVar[float] = PATIENCE
    """How long a forked child may take, in seconds."""
    many_descriptors: ClassVar[int] = 3000
    """How many descriptors become readable at once in the test for lost events; fewer if the system allows fewer."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse a subclass that replaces a test without a reason."""
        super().__init_subclass__(**kwargs)
        for name, value in vars(cls).items():
            if name.startswith("test") and hasattr(super(cls, cls), name) and not _is_excused(value):
                raise TypeError(
                    f"{cls.__name__}.{name} replaces a test of the kit; "
                    "if the loop cannot keep the promise, mark it pytest.mark.xfail(reason=...)"
                )

    @pytest.fixture
    def backend_class(self) -> type[Any]:
        """The backend class under test, or a loop class that has a backend of its own. Override this."""
        raise NotImplementedError(f"{type(self).__name__} must override the fixture backend_class")

    @pytest.fixture
    def new_loop(self, backend_class: type[Any]) -> Callable[[], Any]:
        """A function that makes a loop on a backend under test."""
        return partial(make_loop, backend_class)

    @pytest.fixture
    def recorder(self) -> Recorder:
        """The loop's error handler."""
        return Recorder()

    @pytest.fixture
    def loop(self, new_loop: Callable[[], Any], recorder: Recorder) -> Iterator[Any]:
        """A fresh loop of the current thread, run by the test itself, with the accelerators that a hub would use."""
        accelerate()
        loop = new_loop()
        loop.error_handler = recorder
        try:
            yield loop
        finally:
            loop.destroy()
        assert recorder.take() == [], "something failed in a callback"

    @pytest.fixture
    def pair(self, loop: Any) -> Iterator[tuple[socket.socket, socket.socket]]:
        """Two connected non-blocking sockets, nothing sent yet."""
        left, right = socket.socketpair()
        left.setblocking(False)
        right.setblocking(False)
        try:
            yield left, right
        finally:
            for end in (left, right):
                if not loop.destroyed and end.fileno() >= 0:
                    loop.descriptor_closing(end.fileno())
                end.close()

    def only_in_real_time(self) -> None:
        """Skip a test that measures real time if the loop's clock is a simulated one."""
        if not self.real_time:
            pytest.skip("the loop's time is not real")

    def all_watchers(self, loop: Any, pair: Any) -> list[Any]:
        """One watcher of each kind that loops of all threads have."""
        return [
            loop.io(pair[0].fileno(), READ),
            loop.timer(3600.0),
            loop.async_(),
            loop.prepare(),
            loop.check(),
            loop.idle(),
            loop.fork(),
            loop.stat(__file__),
        ]

    def waiting(self, loop: Any, direction: Any, log: list[Any], timeout: float | None = None) -> greenlet:
        """Start a greenlet that waits for ``direction`` and logs the outcome."""

        def wait() -> None:
            try:
                log.append(direction.wait(timeout))
            except OSError as error:
                log.append(error.errno)

        one = greenlet(wait, getcurrent())
        loop.run_callback(one.switch)
        return one
