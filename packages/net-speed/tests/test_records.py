"""Incoming in C and in Python: the same stream, cut in the same places, leads to the same."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hubbub_net import acceleration
from hubbub_net._tlsrecords import Incoming
from hubbub_net_speed import net_methods

SEEDS = int(os.environ.get("HUBBUB_STRESS_SEEDS", "10"))
STREAMS = 100
STATE = ("_header", "_large", "_length", "_missing", "_paired", "_start", "_whole", "chunk", "ended", "loose")
SEEN = ("appetite", "ready", "wanted")
LENGTHS = [0, 1, 5, 17, 24, 300, 4000, 4090, 4091, 4092, 5000, 16384, 16401, 16406, 18432, 18433, 65535]


@pytest.fixture(autouse=True)
def in_python() -> Iterator[None]:
    """What Python's methods call are Python's: those in C are called by themselves."""
    acceleration.slow_down()
    yield
    acceleration.slow_down()


def both(name: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """A method of Incoming in Python, and in C."""
    methods = net_methods(acceleration.PARTS)
    assert methods is not None
    return getattr(Incoming, name), methods[Incoming, name]


def stream(chance: random.Random) -> bytes:
    """Records, now and then many alike, and sometimes what is none."""
    parts = []
    for _ in range(chance.randrange(1, 8)):
        length = chance.choice(LENGTHS)
        kind = 23 if chance.random() < 0.8 else chance.choice([0, 19, 20, 21, 22, 24, 25, 71])
        major = 3 if chance.random() < 0.95 else 2
        body = bytes(length) if chance.random() < 0.95 else b""
        parts.append((bytes([kind, major, 3]) + length.to_bytes(2, "big") + body) * chance.choice([1, 1, 1, 2, 3, 6]))
    return b"".join(parts)


def look(incoming: Incoming) -> tuple[Any, ...]:
    return tuple(getattr(incoming, name) for name in STATE + SEEN)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_any_cut(seed: int) -> None:
    """What is returned, what OpenSSL gets and what is kept are the same after each step."""
    chance = random.Random(seed)
    (take, c_take), (feed, c_feed) = both("take"), both("feed")
    for _ in range(STREAMS):
        text = stream(chance)
        early = text[: chance.choice([0, 0, 0, 3, 5000])]
        ours, theirs = Incoming(early), Incoming(early)
        at = len(early)
        while at < len(text):
            step = chance.random()
            most = chance.choice([0, 1, 1, 2, 4, 1 << 40])
            if step < 0.5:
                end = at + chance.choice([1, 4, 5, 6, 100, 4096, 16406, 20_000, 65_624, ours.wanted, ours.appetite])
                assert c_take(theirs, text[at:end], most) == take(ours, text[at:end], most)
                at = end
            elif step < 0.75:
                assert c_feed(theirs, most) == feed(ours, most)
            elif step < 0.9:
                count = chance.choice([-1, -1, 5, 16_406])
                assert theirs.bio.read(count) == ours.bio.read(count)
            elif step < 0.95:
                ours.settle()
                theirs.settle()
            elif step < 0.97:
                assert theirs.rest() == ours.rest()
            assert look(theirs) == look(ours)
        ours.end()
        theirs.end()
        assert look(theirs) == look(ours)
        assert theirs.bio.read() == ours.bio.read()


def test_parameters() -> None:
    """By name, left out, or of another kind: what Python takes or refuses, C takes or refuses."""
    text = bytes([23, 3, 3]) + (5000).to_bytes(2, "big") + bytes(5000)
    for take in both("take"):
        incoming = Incoming()
        incoming.settle()
        assert take(incoming, data=text * 3, most=2) == 2
        assert take(incoming, text) == 1
        with pytest.raises(TypeError):
            take(incoming)
        with pytest.raises(TypeError):
            take(incoming, text, 1, 1)
        with pytest.raises(TypeError):
            take(incoming, 7)
    for feed in both("feed"):
        incoming = Incoming(text * 4)
        incoming.loose = False
        assert [feed(incoming), feed(incoming, most=1), feed(incoming, 10**30), feed(incoming, -1)] == [1, 1, 2, 0]
        with pytest.raises(TypeError):
            feed(incoming, 1, 1)


def test_what_lacks_a_slot() -> None:
    """An object that is not initialised is refused, as in Python."""
    (take, c_take), (feed, c_feed) = both("take"), both("feed")
    for call in (take, c_take):
        with pytest.raises(AttributeError):
            call(Incoming.__new__(Incoming), bytes(10))
    for call in (feed, c_feed):
        with pytest.raises(AttributeError):
            call(Incoming.__new__(Incoming))


def test_memory_is_let_go() -> None:
    """OpenSSL's buffer keeps no view of what it was given, and no reference is lost."""
    text = bytes([23, 3, 3]) + (5000).to_bytes(2, "big") + bytes(5000)
    data = text * 3 + text[:100]
    _, take = both("take")
    before = sys.getrefcount(data)
    incoming = Incoming()
    incoming.settle()
    assert take(incoming, data, 2) == 2
    assert sys.getrefcount(data) == before + 1
    while incoming.feed():
        pass
    assert incoming.chunk == b""
    assert sys.getrefcount(data) == before
