"""Waiting in the hub at random and at every place: no wake-up is lost, and nothing is left."""

from __future__ import annotations

import gc
import os
import signal
import socket as plain
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

import hubbub
import pytest
from hubbub import Event, sleep, spawn
from hubbub.io import Socket
from hubbub.lock import RLock, Semaphore
from hubbub.lowlevel import Hub
from hubbub.queue import Queue

HOME = str(Path(hubbub.__file__).parent)
NUMBER = signal.SIGUSR1
LIMIT = 20.0
SEEDS = int(os.environ.get("HUBBUB_STRESS_SEEDS", "200"))


def _pair() -> list[Socket]:
    return [Socket(one.family, one.type, one.proto, one.detach()) for one in plain.socketpair()]


class Striking:
    """Has a signal handler strike after the step with the number ``at``: a call into hubbub's code, or out of it."""

    def __init__(self, at: int, handler: Callable[[], None]) -> None:
        self.left = at
        self.handler = handler
        self.struck = False
        self.ended = False

    def __enter__(self) -> Striking:
        self._before = signal.signal(NUMBER, self._arrived)
        sys.setprofile(self._step)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        end = monotonic() + LIMIT
        while self.struck and not self.ended:
            assert monotonic() < end, "the handler has lost a wake-up"
            sleep(0.001)
        signal.signal(NUMBER, self._before)

    def _step(self, frame: Any, event: str, arg: Any) -> None:
        if event in ("call", "c_return") and frame.f_code.co_filename.startswith(HOME):
            self.left -= 1
            if self.left < 0 and not self.struck:
                self.struck = True
                sys.setprofile(None)
                os.kill(os.getpid(), NUMBER)

    def _arrived(self, *_: object) -> None:
        self.handler()
        self.ended = True


def _story() -> list[Any]:
    """Some of everything that waits, in several greenlets."""
    one, two = _pair()
    queue: Queue[int] = Queue()
    event, lock, seen = Event(), RLock(), []

    def echo() -> None:
        while data := two.recv(10):
            two.sendall(data)

    def produce() -> None:
        for number in range(3):
            sleep(0)
            queue.put(number)
        with lock:
            sleep(0.0005)
        event.set()

    echoing, producing = spawn(echo), spawn(produce)
    one.sendall(b"x")
    seen.append(one.recv(10))
    seen.extend(queue.get(timeout=LIMIT) for _ in range(3))
    with lock:
        sleep(0)
    seen.append(event.wait(LIMIT))
    sleep(0.0005)
    producing.join()
    one.close()
    echoing.join(LIMIT)
    seen.append(echoing.dead)
    two.close()
    return seen


def _await_others() -> None:
    """What the handler does: it waits by all means, for others that it starts."""
    worker, semaphore = spawn(sleep, 0.0005), Semaphore(0)
    spawn(semaphore.release)
    semaphore.acquire()
    worker.join()
    sleep(0)


def test_a_handler_waits_at_any_step(hub: Hub) -> None:
    """A signal handler that waits, after any call that hubbub's code makes, in whatever greenlet, costs no wake-up."""
    expected = [b"x", 0, 1, 2, True, True]
    at, step = 0, 1 if SEEDS > 200 else 7
    while True:
        with hubbub.Timeout(LIMIT), Striking(at, _await_others) as striking:
            assert _story() == expected, at
        if not striking.struck:
            break
        at += step
    assert at > 50
    assert hub.runner is hub


class World:
    """What random deeds share, and what must be true of it at the end."""

    def __init__(self, hub: Hub, seed: int) -> None:
        self.hub = hub
        self.random = Random(seed)
        self.queue: Queue[int] = Queue()
        self.permits = Semaphore(3)
        self.lock = RLock()
        self.inside = 0
        self.begun = 0
        self.ended = 0
        self.put = 0
        self.got = 0
        self.greenlets: list[Any] = []
        self.failures: list[Any] = []

    def deed(self) -> None:
        """Waits in one of several ways, perhaps with a time limit; puts back what it took."""
        self.begun += 1
        try:
            with hubbub.move_on_after(self.random.choice([None, None, 0.0005, 0.002])):
                self.random.choice([self._sleep, self._lock, self._permit, self._queue, self._join])()
        finally:
            self.ended += 1

    def _sleep(self) -> None:
        sleep(self.random.choice([0, 0, 0.0002, 0.001]))

    def _lock(self) -> None:
        with self.lock:
            self.inside += 1
            assert self.inside == 1
            try:
                self._sleep()
            finally:
                self.inside -= 1

    def _permit(self) -> None:
        with self.permits:
            self._sleep()

    def _queue(self) -> None:
        self.put += 1
        self.queue.put(1)
        self.queue.get()
        self.got += 1

    def _join(self) -> None:
        self.spawn(self._sleep).join()

    def spawn(self, function: Callable[[], None]) -> Any:
        """A greenlet that may be killed."""
        new = spawn(function)
        self.greenlets.append(new)
        return new

    def in_callback(self) -> None:
        """A callback of the loop."""
        self.hub.loop.run_callback(self.deed)

    def in_timer(self) -> None:
        """A timer's callback."""
        self.hub.loop.timer(self.random.choice([0, 0.001])).start(self.deed)

    def in_greenlet(self) -> None:
        """A greenlet."""
        self.spawn(self.deed)

    def in_handler(self) -> None:
        """A signal handler, in whoever runs then."""
        self.hub.loop.run_callback(os.kill, os.getpid(), NUMBER)

    def in_destructor(self) -> None:
        """A destructor, in the hub."""
        self.hub.loop.run_callback([_Dying(self.deed)].clear)

    def kill(self) -> None:
        """End some greenlet."""
        if self.greenlets:
            self.greenlets.pop(self.random.randrange(len(self.greenlets))).kill(block=False)


class _Dying:
    def __init__(self, deed: Callable[[], None]) -> None:
        self._deed = deed

    def __del__(self) -> None:
        self._deed()


@pytest.mark.parametrize("seed", range(SEEDS // 40))
def test_random_deeds(hub: Hub, seed: int) -> None:
    """Callbacks, handlers, destructors and greenlets that wait, kills, time-outs: all end, nothing is lost or left."""
    world = World(hub, seed)
    before = signal.signal(NUMBER, lambda *_: world.deed())
    hub.handle_error = lambda *error: world.failures.append(error)  # type: ignore[method-assign]  # of this hub alone
    deeds = [world.in_callback, world.in_timer, world.in_greenlet, world.in_handler, world.in_destructor, world.kill]
    try:
        with hubbub.Timeout(LIMIT):
            for _ in range(150):
                world.random.choice(deeds)()
                if not world.random.randrange(4):
                    sleep(world.random.choice([0, 0.0005]))
            while world.ended < world.begun or len(hub.loop.ready) > 0 or hub.runner is not hub or hub.parked:
                sleep(0.001)
            hubbub.joinall(world.greenlets)
    finally:
        signal.signal(NUMBER, before)
    assert world.failures == []
    assert world.inside == 0
    assert world.permits.counter == 3
    assert len(world.queue) == world.put - world.got
    assert not world.lock.locked()
    gc.collect()
    hub.loop.run_callback(sleep, 0)
    sleep(0.01)
    assert hub.statistics().stand_ins <= 2
