"""Watchers of descriptors."""

from __future__ import annotations

import errno
import os
import socket
import tempfile
import threading
from functools import partial
from typing import Any

import pytest
from hubbub.abc import READ, WRITE

from hubbub_testkit.conformance.kit import Kit, in_turn, posix
from hubbub_testkit.greenlets import open_descriptors

__all__ = ["DescriptorPromises"]


class DescriptorPromises(Kit):
    """What ``io`` watchers report, and what happens to closed descriptors."""

    def test_io_is_level_triggered(self, loop: Any, pair: Any) -> None:
        """An io watcher is called for as long as the descriptor is ready, whatever the kernel interface does."""
        left, right = pair
        right.send(b"x")
        calls = 0
        watcher = loop.io(left.fileno(), READ)

        def count() -> None:
            nonlocal calls
            calls += 1
            if calls == 5:
                watcher.stop()

        watcher.start(count)
        loop.run()
        assert calls == 5

    def test_io_is_not_called_without_an_event(self, loop: Any, pair: Any) -> None:
        """A watcher for reading is not called before there is something to read."""
        seen: list[int] = []
        watcher = loop.io(pair[0].fileno(), READ)
        watcher.start(seen.append, 1)
        for _ in range(3):
            loop.run(nowait=True)
        assert not seen
        watcher.close()

    def test_io_wakes_a_waiting_loop(self, loop: Any, pair: Any) -> None:
        """Data that arrives while the loop waits ends the wait."""
        left, right = pair
        watcher = loop.io(left.fileno(), READ)
        watcher.start(watcher.stop)
        thread = threading.Timer(0.02, right.send, [b"x"])
        thread.start()
        loop.run()
        thread.join()
        assert left.recv(1) == b"x"

    def test_io_write(self, loop: Any, pair: Any) -> None:
        """A watcher for writing is called when there is room, not while the buffer is full."""
        left, right = pair
        try:
            while True:
                left.send(bytes(65536))
        except BlockingIOError:
            pass
        seen: list[int] = []
        watcher = loop.io(left.fileno(), WRITE)
        watcher.start(in_turn(partial(seen.append, 1), watcher.stop))
        for _ in range(3):
            loop.run(nowait=True)
        assert not seen
        try:
            while right.recv(1 << 20):
                pass
        except BlockingIOError:
            pass
        loop.run()
        assert seen == [1]

    def test_io_pass_events(self, loop: Any, pair: Any) -> None:
        """With pass_events the events that happened are the callback's first argument, only those that it asked for."""
        left, right = pair
        right.send(b"x")
        seen: list[Any] = []
        both = loop.io(left.fileno(), READ | WRITE)
        only = loop.io(left.fileno(), WRITE)

        def called(events: int, watcher: Any) -> None:
            seen.append((events, watcher))
            watcher.stop()

        both.start(called, both, pass_events=True)
        loop.run()
        only.start(called, only, pass_events=True)
        loop.run()
        assert [watcher for _, watcher in seen] == [both, only]
        assert seen[0][0] in (READ, WRITE, READ | WRITE)
        assert seen[1][0] == WRITE

    def test_two_watchers_on_one_descriptor(self, loop: Any, pair: Any) -> None:
        """Several watchers of one descriptor are all called, each for its own events."""
        left, right = pair
        seen: list[str] = []
        watchers = {
            "read": loop.io(left.fileno(), READ),
            "read too": loop.io(left.fileno(), READ),
            "write": loop.io(left.fileno(), WRITE),
        }
        for name, watcher in watchers.items():
            watcher.start(in_turn(partial(seen.append, name), watcher.stop))
        guard = loop.timer(0.01)
        guard.start(right.send, b"x")
        loop.run()
        assert seen[0] == "write"
        assert sorted(seen) == ["read", "read too", "write"]

    def test_stopping_one_of_two_leaves_the_other(self, loop: Any, pair: Any) -> None:
        """When one of two watchers of a descriptor stops, the other goes on."""
        left, right = pair
        seen: list[str] = []
        first, second = loop.io(left.fileno(), READ), loop.io(left.fileno(), READ)
        first.start(seen.append, "first")
        second.start(in_turn(partial(seen.append, "second"), second.stop))
        first.stop()
        right.send(b"x")
        loop.run()
        assert seen == ["second"]

    def test_hang_up_wakes_readers_and_writers(self, loop: Any, pair: Any) -> None:
        """When the peer closes, watchers for reading and for writing are called."""
        left, right = pair
        try:
            while True:
                left.send(bytes(65536))
        except BlockingIOError:
            pass
        seen: list[str] = []
        reader, writer = loop.io(left.fileno(), READ), loop.io(left.fileno(), WRITE)
        reader.start(in_turn(partial(seen.append, "read"), reader.stop))
        writer.start(in_turn(partial(seen.append, "write"), writer.stop))
        right.close()
        loop.run()
        assert sorted(seen) == ["read", "write"]

    @pytest.mark.parametrize("fd", [-1, -5])
    def test_io_negative_descriptor(self, loop: Any, fd: int) -> None:
        """A negative descriptor is a ValueError."""
        with pytest.raises(ValueError, match="descriptor"):
            loop.io(fd, READ)

    @pytest.mark.parametrize("events", [0, 8, READ | 16, -1])
    def test_io_unknown_events(self, loop: Any, pair: Any, events: int) -> None:
        """Events other than READ and WRITE are a ValueError."""
        with pytest.raises(ValueError, match="events"):
            loop.io(pair[0].fileno(), events)

    def test_io_closed_descriptor(self, loop: Any) -> None:
        """Watching a closed descriptor raises EBADF, leaves the watcher stopped and the loop as it was."""
        fd = os.open(os.devnull, os.O_RDONLY)
        os.close(fd)
        watcher = loop.io(fd, READ)
        with pytest.raises(OSError) as caught:
            watcher.start(lambda: None)
        assert caught.value.errno == errno.EBADF
        assert not watcher.active
        loop.run()

    def test_io_regular_file(self, loop: Any) -> None:
        """Watching a regular file raises EPERM, as epoll does, and leaves the watcher stopped."""
        if not self.refuses_regular_files:
            pytest.skip("this kernel interface calls regular files always ready")
        with tempfile.TemporaryFile() as file:
            watcher = loop.io(file.fileno(), READ)
            with pytest.raises(PermissionError):
                watcher.start(lambda: None)
            assert not watcher.active
            loop.run()

    def test_io_fd_and_events_while_active(self, loop: Any, pair: Any) -> None:
        """fd and events can be set while the watcher is stopped, not while it is active."""
        left, right = pair
        watcher = loop.io(left.fileno(), READ)
        watcher.fd = right.fileno()
        watcher.events = READ | WRITE
        assert (watcher.fd, watcher.events, watcher.events_str) == (right.fileno(), READ | WRITE, "READ|WRITE")
        watcher.start(lambda: None)
        for name in ("fd", "events"):
            with pytest.raises(AttributeError, match=name):
                setattr(watcher, name, READ)
        watcher.close()

    def test_descriptor_closing_ends_watchers(self, loop: Any, pair: Any) -> None:
        """Watchers of a descriptor that is closed properly are called one last time, and no more."""
        left, _ = pair
        seen: list[int] = []
        watcher = loop.io(left.fileno(), READ)
        watcher.start(in_turn(partial(seen.append, 1), watcher.stop))
        loop.descriptor_closing(left.fileno())
        left.close()
        loop.run()
        assert seen == [1]

    def test_descriptor_closing_is_harmless_for_strangers(self, loop: Any) -> None:
        """descriptor_closing of a descriptor that the loop does not know does nothing, also twice."""
        loop.descriptor_closing(12345)
        loop.descriptor_closing(12345)

    def test_closed_behind_the_back(self, loop: Any, pair: Any) -> None:
        """A watched descriptor closed without telling the loop does no harm, and its number works for another one."""
        left, _ = pair
        number = left.fileno()
        watcher = loop.io(number, READ)
        watcher.start(lambda: None)
        loop.run(nowait=True)
        left.close()
        loop.run(nowait=True)
        watcher.close()
        loop.descriptor_closing(number)
        loop.run()
        new, peer = socket.socketpair()
        try:
            if new.fileno() != number:
                os.dup2(new.fileno(), number)
            seen: list[int] = []
            again = loop.io(number, READ)
            again.start(in_turn(partial(seen.append, 1), again.close))
            peer.send(b"x")
            loop.run()
            assert seen == [1]
            loop.descriptor_closing(number)
        finally:
            if new.fileno() != number:
                os.close(number)
            new.close()
            peer.close()

    def test_stop_after_a_close_behind_the_back(self, loop: Any, pair: Any) -> None:
        """Stopping one of two watchers of a closed descriptor does not raise; the other is called to see the error."""
        left, _ = pair
        seen: list[str] = []
        first, second = loop.io(left.fileno(), READ), loop.io(left.fileno(), READ)
        writer = loop.io(left.fileno(), WRITE)
        second.start(in_turn(partial(seen.append, "second"), second.stop))
        writer.start(seen.append, "writer")
        first.start(seen.append, "first")
        left.close()
        writer.stop()
        first.stop()
        if not seen:
            second.stop()
        loop.run()
        assert seen in ([], ["second"])

    def test_number_used_again_while_registered(self, loop: Any) -> None:
        """If a number was closed without telling the loop and is in use again, the new descriptor is watched."""
        first, first_peer = socket.socketpair()
        second, second_peer = socket.socketpair()
        number = first.fileno()
        try:
            watcher = loop.io(number, READ)
            watcher.start(lambda: None)
            loop.run(nowait=True)
            watcher.stop()
            os.dup2(second.fileno(), number)  # closes the first
            seen: list[int] = []
            again = loop.io(number, READ)
            again.start(in_turn(partial(seen.append, 1), again.close))
            second_peer.send(b"x")
            loop.run()
            assert seen == [1]
        finally:
            loop.descriptor_closing(number)
            for end in (first, first_peer, second, second_peer):
                end.close()

    def test_new_descriptor_gets_no_old_events(self, loop: Any) -> None:
        """After a proper close, a new descriptor of the same number sees none of the old one's events."""
        old, old_peer = socket.socketpair()
        number = old.fileno()
        watcher = loop.io(number, READ)
        watcher.start(lambda: None)
        old_peer.send(b"x")
        watcher.close()
        loop.descriptor_closing(number)
        old.close()
        new, new_peer = socket.socketpair()
        try:
            if new.fileno() != number:
                number = new.fileno()
            seen: list[int] = []
            again = loop.io(number, READ)
            again.start(seen.append, 1)
            for _ in range(3):
                loop.run(nowait=True)
            assert not seen
            again.close()
            loop.descriptor_closing(number)
        finally:
            for end in (old_peer, new, new_peer):
                end.close()

    @posix
    def test_many_events_at_once(self, loop: Any, pair: Any) -> None:
        """Of thousands of descriptors that are readable at once no event is lost."""
        import resource

        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        count = min(self.many_descriptors, limit - len(open_descriptors()) - 50)
        left, right = pair
        right.send(b"x")
        numbers = [os.dup(left.fileno()) for _ in range(count)]
        try:
            seen: set[int] = set()
            watchers = {fd: loop.io(fd, READ) for fd in numbers}
            for fd, watcher in watchers.items():
                watcher.start(in_turn(partial(seen.add, fd), watcher.stop))
            loop.run()
            assert seen == set(numbers)
        finally:
            for fd in numbers:
                loop.descriptor_closing(fd)
                os.close(fd)
