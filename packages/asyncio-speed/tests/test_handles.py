"""What becomes of handles and of what they refer to: each test holds for those in C and for those in Python."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
import weakref
from typing import Any

import pytest
from hubbub_asyncio import run

pytestmark = pytest.mark.usefixtures("hub", "methods")


def test_handles_are_collected() -> None:
    """A handle that its own callback refers to is found by the garbage collector."""

    class Thing:
        """Can be referred to weakly."""

    async def main() -> None:
        thing: Any = Thing()
        reference = weakref.ref(thing)
        thing.handle = asyncio.get_running_loop().call_soon(id, thing)
        del thing
        await asyncio.sleep(0)
        gc.collect()
        assert reference() is None

    run(main())


def test_handles_that_somebody_keeps() -> None:
    """They stay what they were when they have been called; later ones are others."""
    seen: list[int] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        kept = [loop.call_soon(seen.append, number) for number in range(100)]
        await asyncio.sleep(0)
        for number in range(200, 300):
            loop.call_soon(seen.append, number)
        await asyncio.sleep(0)
        again = [loop.call_soon(seen.append, number) for number in range(100, 200)]
        assert len({*map(id, kept), *map(id, again)}) == 200
        assert all("append" in repr(handle) for handle in kept)
        kept[5].cancel()
        await asyncio.sleep(0)

    run(main())
    assert seen == [*range(100), *range(200, 300), *range(100, 200)]


def test_handles_that_nobody_keeps() -> None:
    """They are gone when they have been called, for weak references and the garbage collector, too."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        reference = weakref.ref(loop.call_soon(id, 1))
        kind = type(reference())
        for _ in range(10):
            loop.call_soon(id, 1)
        await asyncio.sleep(0)
        assert reference() is None
        left = [handle for handle in gc.get_objects() if type(handle) is kind and handle._callback is id]
        assert not left
        assert not any(type(thing) is kind and not hasattr(thing, "_loop") for thing in gc.get_objects())

    run(main())


def test_nothing_is_kept() -> None:
    """What a callback was given is dropped when it has run."""

    class Thing:
        """Can be referred to weakly."""

    async def main() -> None:
        thing = Thing()
        reference = weakref.ref(thing)
        asyncio.get_running_loop().call_soon(id, thing)
        del thing
        await asyncio.sleep(0)
        assert reference() is None

    run(main())


def test_no_reference_is_lost_or_left() -> None:
    """Rounds of callbacks leave the counts of references as they were."""
    seen: list[int] = []

    def callback(number: int) -> None:
        seen.append(number)

    async def rounds(count: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(count):
            loop.call_soon(callback, 5)
            loop.call_soon(callback, 5, context=contextvars.copy_context())
            loop.create_future().cancel()
            await asyncio.sleep(0)

    async def main() -> None:
        await rounds(5)
        gc.collect()
        before = sys.getrefcount(callback), sys.getrefcount(asyncio.get_running_loop())
        await rounds(1000)
        gc.collect()
        after = sys.getrefcount(callback), sys.getrefcount(asyncio.get_running_loop())
        assert all(now <= then + 2 for then, now in zip(before, after, strict=True))

    run(main())
