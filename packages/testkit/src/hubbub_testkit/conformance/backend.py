"""Promises of a backend: see :class:`hubbub.abc.Backend`."""

from __future__ import annotations

import errno
import os
import time
from typing import Any

import pytest
from hubbub.abc import LEVEL, READ, WRITE, Backend

from hubbub_testkit.conformance.kit import PATIENCE, Kit

__all__ = ["BackendPromises"]


class BackendPromises(Kit):
    """Opening, polling, arming and forgetting."""

    @pytest.fixture
    def backend(self, loop: Any) -> Any:
        """The backend of the loop under test."""
        return loop.backend

    def test_is_a_backend(self, backend: Any) -> None:
        """A backend implements all methods of the contract and has a name."""
        assert isinstance(backend, Backend)
        assert isinstance(backend.name, str)
        assert backend.name

    def test_wake_says_whether_it_can(self, backend: Any) -> None:
        """wake returns whether the backend can wake a poll itself; if so, it also ends a poll that begins later."""
        if backend.wake():
            began = time.monotonic()
            list(backend.poll(PATIENCE))
            assert time.monotonic() - began < PATIENCE

    def events_of(self, backend: Any, fd: int) -> int:
        """The events that one poll without waiting reports for ``fd``."""
        found = 0
        for number, bits in backend.poll(0.0):
            if number == fd:
                found |= bits
        return found

    def test_poll_reports_what_was_armed(self, backend: Any, pair: Any) -> None:
        """poll returns pairs of descriptor and event bits, only for what was armed."""
        left, right = pair
        backend.arm(left.fileno(), READ)
        assert self.events_of(backend, left.fileno()) == 0
        right.send(b"x")
        bits = self.events_of(backend, left.fileno())
        assert bits & backend.READ_BITS
        assert self.events_of(backend, right.fileno()) == 0
        backend.forget(left.fileno())

    def test_poll_reports_writability(self, backend: Any, pair: Any) -> None:
        """A writable descriptor that is armed for writing is reported as writable."""
        left, _ = pair
        backend.arm(left.fileno(), WRITE)
        bits = self.events_of(backend, left.fileno())
        assert bits & backend.WRITE_BITS
        backend.forget(left.fileno())

    def test_arm_for_nothing(self, backend: Any, pair: Any) -> None:
        """arm(fd, 0) ends the reports; arming again starts them again."""
        left, right = pair
        right.send(b"x")
        backend.arm(left.fileno(), READ)
        backend.arm(left.fileno(), 0)
        assert self.events_of(backend, left.fileno()) == 0
        backend.arm(left.fileno(), READ)
        assert self.events_of(backend, left.fileno()) & backend.READ_BITS
        backend.forget(left.fileno())

    def test_arm_both(self, backend: Any, pair: Any) -> None:
        """Reading and writing may be armed together, and one of them dropped."""
        left, right = pair
        right.send(b"x")
        backend.arm(left.fileno(), READ | WRITE)
        bits = self.events_of(backend, left.fileno())
        assert bits & backend.READ_BITS
        assert bits & backend.WRITE_BITS
        backend.arm(left.fileno(), READ)
        left.recv(1)
        assert not self.events_of(backend, left.fileno()) & backend.WRITE_BITS & ~backend.READ_BITS
        backend.forget(left.fileno())

    def test_edge_or_level(self, backend: Any, pair: Any) -> None:
        """An edge-triggered backend reports a change once, or in every poll with LEVEL; others do so in every poll."""
        left, right = pair
        right.send(b"x")
        fd = left.fileno()
        backend.arm(fd, READ | LEVEL if backend.edge_triggered else READ)
        assert [bool(self.events_of(backend, fd)) for _ in range(3)] == [True] * 3
        backend.forget(fd)
        if backend.edge_triggered:
            backend.arm(fd, READ)
            assert [bool(self.events_of(backend, fd)) for _ in range(3)] == [True, False, False]
            right.send(b"y")
            assert self.events_of(backend, fd)
            backend.forget(fd)

    def test_arm_closed_descriptor(self, backend: Any) -> None:
        """arm raises EBADF for a closed descriptor."""
        fd = os.open(os.devnull, os.O_RDONLY)
        os.close(fd)
        with pytest.raises(OSError) as caught:
            backend.arm(fd, READ)
        assert caught.value.errno == errno.EBADF

    def test_forget_unknown(self, backend: Any, pair: Any) -> None:
        """forget never raises for a descriptor that is unknown, closed or forgotten."""
        left, _ = pair
        backend.forget(54321)
        backend.forget(left.fileno())
        backend.arm(left.fileno(), READ)
        backend.forget(left.fileno())
        backend.forget(left.fileno())
        fd = os.dup(left.fileno())
        backend.arm(fd, READ)
        os.close(fd)
        backend.forget(fd)

    def test_forgotten_descriptor_is_not_reported(self, backend: Any, pair: Any) -> None:
        """A forgotten descriptor is not reported, even if it stays open and is ready."""
        left, right = pair
        right.send(b"x")
        backend.arm(left.fileno(), READ)
        backend.forget(left.fileno())
        assert self.events_of(backend, left.fileno()) == 0
