"""Greenlets, tasks and event loops wait for one another at random, and give up at random: all end, nothing is left."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random

import hubbub
import pytest
from hubbub import GreenletExit, Timeout, shield, sleep
from hubbub_asyncio import HubEventLoop, as_future, await_, in_greenlet, run

SEEDS = int(os.environ.get("HUBBUB_STRESS_SEEDS", "40"))
EXPECTED = (asyncio.CancelledError, GreenletExit, Timeout, TimeoutError, Planned := type("Planned", (Exception,), {}))


class Play:
    """A random program. Each part is begun and ended once."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.begun = self.ended = 0
        self.greenlets = []

    def pause(self):
        return self.random.choice((0, 0, 0.0005, 0.001))

    def limit(self):
        return self.random.choice((None, None, 0.0005, 0.002))

    def in_greenlet(self, depth):
        """What a greenlet does."""
        self.begun += 1
        try:
            for _ in range(self.random.randrange(3)):
                with Timeout(self.limit(), False):
                    self.one_thing_in_a_greenlet(depth)
            if self.random.random() < 0.1:
                raise Planned("greenlet")
        finally:
            self.ended += 1

    def one_thing_in_a_greenlet(self, depth):
        kind = self.random.randrange(5) if depth else 0
        try:
            if kind == 0:
                sleep(self.pause())
            elif kind == 4:
                with shield():
                    await_(self.in_task(depth - 1))
            elif kind == 1:
                await_(self.in_task(depth - 1))
            elif kind == 2:
                run(self.in_task(depth - 1))
            else:
                self.some_greenlet(depth - 1).join()
        except EXPECTED as error:
            if isinstance(error, (Timeout, GreenletExit)):
                raise

    async def in_task(self, depth):
        """What a task does."""
        self.begun += 1
        loop = asyncio.get_running_loop()
        me = asyncio.current_task()
        try:
            for _ in range(self.random.randrange(3)):
                try:
                    async with asyncio.timeout(self.limit()):
                        await self.one_thing_in_a_task(depth)
                except TimeoutError:
                    pass
                assert asyncio.get_running_loop() is loop
                assert asyncio.current_task() is me
            if self.random.random() < 0.1:
                raise Planned("task")
        finally:
            self.ended += 1

    async def one_thing_in_a_task(self, depth):
        kind = self.random.randrange(10) if depth else self.random.randrange(2)
        try:
            if kind == 0:
                await asyncio.sleep(self.pause())
            elif kind == 1:
                sleep(self.pause())
            elif kind == 2:
                await in_greenlet(self.in_greenlet, depth - 1)
            elif kind == 3:
                await_(self.in_task(depth - 1))
            elif kind == 4:
                await as_future(self.some_greenlet(depth - 1))
            elif kind == 5:
                tasks = [asyncio.create_task(self.in_task(depth - 1)) for _ in range(2)]
                tasks[0].cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            elif kind == 6:
                task = self.some_victim(depth - 1)
                await asyncio.wait([task])
            elif kind == 7:
                await_(asyncio.shield(self.some_victim(depth - 1)))
            elif kind == 8:
                with shield():
                    await_(self.some_victim(depth - 1))
            else:
                async with asyncio.TaskGroup() as group:
                    for _ in range(2):
                        group.create_task(self.in_task(depth - 1))
        except* (Planned, GreenletExit):
            pass

    def some_victim(self, depth):
        """A task that is cancelled sooner or later, by a callback of the event loop or by a greenlet."""
        loop = asyncio.get_running_loop()
        task = loop.create_task(self.in_task(depth))
        task.add_done_callback(lambda task: task.cancelled() or task.exception())  # seen
        if self.random.random() < 0.5:
            loop.call_later(self.pause(), task.cancel)
        else:
            hubbub.spawn_later(self.pause(), task.cancel)
        return task

    def some_greenlet(self, depth):
        greenlet = hubbub.spawn(self.in_greenlet, depth)
        self.greenlets.append(greenlet)
        if self.random.random() < 0.3:
            hubbub.spawn_later(self.pause(), greenlet.kill, block=False)
        return greenlet


# A kill or time limit may strike where run() has made what shuts the event loop down, and nobody has begun it.
@pytest.mark.filterwarnings("ignore:coroutine 'BaseEventLoop.shutdown:RuntimeWarning")
@pytest.mark.parametrize("seed", range(SEEDS))
def test_at_random(hub, seed, monkeypatch, caplog):
    """Whatever waits for whatever, and whoever gives up: everything that began ends, and each finds its own loop."""
    caplog.set_level(logging.CRITICAL, "asyncio")  # records have tracebacks, and those event loops
    play = Play(seed)
    monkeypatch.setattr(type(hub), "NOT_ERROR", (*type(hub).NOT_ERROR, Planned))
    with Timeout(30):
        for _ in range(6):
            play.some_greenlet(3)
        while any(not greenlet.dead for greenlet in play.greenlets):
            hubbub.joinall(list(play.greenlets))
        while play.begun != play.ended:
            sleep(0.001)  # tasks outlive the one that made them, if that is not in a task group
    assert asyncio._get_running_loop() is None
    for greenlet in play.greenlets:
        assert greenlet.successful() or is_expected(greenlet.exception), repr(greenlet.exception)
    play.greenlets.clear()
    with Timeout(30):
        while any(loop._stand_ins for loop in event_loops(hub)):
            sleep(0.001)  # what a task of the last that ended has waited in
        while any(loop.is_closed() for loop in event_loops(hub)):
            sleep(0.01)  # timers that were cancelled, and are not due yet, may keep one


def is_expected(error):
    """A time limit of hubbub that strikes in a task of a task group of asyncio's comes out in an exception group."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(is_expected, error.exceptions))
    return isinstance(error, EXPECTED)


def event_loops(hub):
    gc.collect()
    return [item for item in gc.get_objects() if isinstance(item, HubEventLoop) and item._hub is hub]
