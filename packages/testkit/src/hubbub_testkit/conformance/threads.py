"""Other native threads."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from hubbub.abc import READ

from hubbub_testkit.conformance.kit import PATIENCE, Kit, in_turn

__all__ = ["ThreadPromises"]


class ThreadPromises(Kit):
    """Other threads wake a loop, and any thread may have a loop."""

    def test_callback_from_another_thread(self, loop: Any) -> None:
        """run_callback_threadsafe from another thread wakes a waiting loop; the call happens on the loop's thread."""
        seen: list[int] = []
        keep = loop.async_()
        keep.start(lambda: None)

        def arrived() -> None:
            seen.append(threading.get_ident())
            keep.stop()

        thread = threading.Timer(0.02, loop.run_callback_threadsafe, [arrived])
        thread.start()
        begun = time.monotonic()
        loop.run()
        thread.join()
        assert seen == [threading.get_ident()]
        assert time.monotonic() - begun < PATIENCE

    def test_wake_up_is_quick(self, loop: Any) -> None:
        """A wake-up from another thread takes effect within 50 milliseconds, however long the loop would wait."""
        delays: list[float] = []
        far = loop.timer(3600.0) if self.real_time else loop.async_()
        far.start(lambda: None)

        def wake() -> None:
            for _ in range(10):
                time.sleep(0.01)
                sent = time.monotonic()
                done = threading.Event()

                def arrived(sent: float = sent, done: threading.Event = done) -> None:
                    delays.append(time.monotonic() - sent)
                    done.set()

                loop.run_callback_threadsafe(arrived)
                done.wait(PATIENCE)
            loop.run_callback_threadsafe(far.stop)

        thread = threading.Thread(target=wake)
        thread.start()
        loop.run()
        thread.join()
        assert len(delays) == 10
        assert min(delays) < 0.05  # the best of ten: the process may stand still in between

    def test_wake_ends_a_waiting_poll(self, loop: Any) -> None:
        """wake() from another thread makes a waiting poll return."""
        woken = threading.Event()

        def wake() -> None:
            while not woken.is_set():
                time.sleep(0.01)
                loop.wake()

        thread = threading.Thread(target=wake)
        thread.start()
        try:
            keep = loop.async_()
            keep.start(lambda: None)
            loop.run(once=True)
        finally:
            woken.set()
            thread.join()

    def test_many_threads(self, loop: Any) -> None:
        """Callbacks from several threads at once all run, once each, those of one thread in order."""
        seen: list[tuple[int, int]] = []
        keep = loop.async_()
        keep.start(lambda: None)

        def feed(name: int) -> None:
            for number in range(500):
                loop.run_callback_threadsafe(seen.append, (name, number))

        threads = [threading.Thread(target=feed, args=(name,)) for name in range(4)]

        def finish() -> None:
            for thread in threads:
                thread.join()
            loop.run_callback_threadsafe(keep.stop)

        finisher = threading.Thread(target=finish)
        for thread in (*threads, finisher):
            thread.start()
        loop.run()
        finisher.join()
        assert len(seen) == 2000
        for name in range(4):
            assert [number for owner, number in seen if owner == name] == list(range(500))

    def test_async_watcher(self, loop: Any) -> None:
        """send() of an async watcher, from any thread, calls back on the loop; several sends may count as one."""
        seen: list[int] = []
        watcher = loop.async_()

        def arrived() -> None:
            seen.append(threading.get_ident())
            watcher.stop()

        watcher.start(arrived)
        thread = threading.Timer(0.01, lambda: [watcher.send() for _ in range(100)])
        thread.start()
        loop.run()
        thread.join()
        assert seen == [threading.get_ident()]

    def test_async_send_while_stopped(self, loop: Any) -> None:
        """send() of a stopped async watcher does nothing."""
        watcher = loop.async_()
        watcher.send()
        seen: list[int] = []
        watcher.start(seen.append, 1)
        loop.run(nowait=True)
        watcher.stop()
        assert not seen

    def test_waiting_releases_the_interpreter(self, loop: Any) -> None:
        """While the loop waits, other threads run Python code."""
        self.only_in_real_time()
        count = 0
        stop = threading.Event()

        def work() -> None:
            nonlocal count
            while not stop.is_set():
                count += 1
                time.sleep(0)

        thread = threading.Thread(target=work)
        thread.start()
        time.sleep(0.01)
        before = count
        loop.timer(0.1).start(lambda: None)
        loop.run()
        done = count - before
        stop.set()
        thread.join()
        assert done > 100

    def test_loop_in_another_thread(self, new_loop: Callable[[], Any]) -> None:
        """A loop can be made, used and destroyed in a thread that is not the main one."""
        seen: list[Any] = []

        def use() -> None:
            loop = new_loop()
            try:
                left, right = socket.socketpair()
                with left, right:
                    right.send(b"x")
                    watcher = loop.io(left.fileno(), READ)
                    watcher.start(in_turn(partial(seen.append, "read"), watcher.close))
                    loop.timer(0.001).start(seen.append, "timer")
                    loop.run()
                    loop.descriptor_closing(left.fileno())
            finally:
                loop.destroy()

        thread = threading.Thread(target=use)
        thread.start()
        thread.join(PATIENCE)
        assert sorted(seen) == ["read", "timer"]
