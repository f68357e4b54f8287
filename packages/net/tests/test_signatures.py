"""Whatever call the standard library's modules accept, these accept too: every name, by position and by keyword."""

from __future__ import annotations

import importlib
import inspect
import os
import select as stdlib_select
import selectors as stdlib_selectors
from collections.abc import Callable, Iterator
from inspect import Parameter
from types import ModuleType
from typing import Any

import pytest
from hubbub.lowlevel import Hub
from hubbub_net import select, selectors

MODULES = ("select", "selectors", "socket", "ssl")
VARIADIC = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


def signature_of(function: Any) -> inspect.Signature | None:
    """None if a function in C does not tell, or tells what cannot be read."""
    try:
        return inspect.signature(function)
    except (ValueError, TypeError, AttributeError):
        return None


def is_data(value: Any) -> bool:
    return isinstance(value, ModuleType) or not callable(value)


def members(theirs: Any, ours: Any) -> Iterator[tuple[str, Any, Any]]:
    """The methods that ours has of its own."""
    for name in dir(theirs):
        if name.startswith("_"):
            continue
        method = inspect.getattr_static(ours, name, None)
        if method is not inspect.getattr_static(theirs, name) and callable(getattr(theirs, name)):
            yield name, getattr(theirs, name), getattr(ours, name, None)


def replaced(module: str) -> Iterator[tuple[str, Any, Any]]:
    """What is not the standard library's own: (name, theirs, ours)."""
    theirs, ours = importlib.import_module(module), importlib.import_module(f"hubbub_net.{module}")
    for name in dir(theirs):
        value = getattr(theirs, name)
        own = getattr(ours, name, None)
        if name.startswith("_") or is_data(value) or own is value:
            continue
        yield name, value, own
        if isinstance(value, type):
            yield from ((f"{name}.{method}", one, other) for method, one, other in members(value, own))


def objections(theirs: inspect.Signature, ours: inspect.Signature) -> Iterator[str]:
    """What theirs accepts and ours does not."""
    rest = {parameter.kind for parameter in ours.parameters.values()}
    positional = [p for p in ours.parameters.values() if p.kind <= Parameter.POSITIONAL_OR_KEYWORD]
    for place, (name, wanted) in enumerate(theirs.parameters.items()):
        if wanted.kind in VARIADIC:
            continue
        found = ours.parameters.get(name)
        if wanted.kind == Parameter.POSITIONAL_ONLY:
            found = positional[place] if place < len(positional) else None
            if found is None and Parameter.VAR_POSITIONAL not in rest:
                yield f"no place for {name}"
        elif found is None:
            yield f"no {name}"
        elif found.kind != Parameter.POSITIONAL_OR_KEYWORD and found.kind != wanted.kind:
            yield f"{name} is {found.kind.description}"
        elif wanted.kind == Parameter.POSITIONAL_OR_KEYWORD and list(ours.parameters).index(name) != place:
            yield f"{name} is in another place"
        if found is not None and found.default is Parameter.empty and wanted.default is not Parameter.empty:
            yield f"{name} must be given"
        both = found is not None and Parameter.empty not in (found.default, wanted.default)
        if both and found is not None and type(wanted.default) is not object and found.default != wanted.default:
            yield f"{name} is {found.default!r} by default, not {wanted.default!r}"
    known = set(theirs.parameters)
    for name, parameter in ours.parameters.items():
        demanded = parameter.default is Parameter.empty and parameter.kind not in VARIADIC
        if demanded and name not in known and not any(p.kind == Parameter.POSITIONAL_ONLY for p in wanted_by(theirs)):
            yield f"{name} must be given here alone"


def wanted_by(signature: inspect.Signature) -> list[Parameter]:
    return list(signature.parameters.values())


@pytest.mark.parametrize("module", MODULES)
def test_every_name_is_there(module: str) -> None:
    """No name of the standard library's is missing, of another kind, or something of ours by chance."""
    theirs, ours = importlib.import_module(module), importlib.import_module(f"hubbub_net.{module}")
    wrong = []
    for name in dir(theirs):
        if name.startswith("__"):
            continue
        value, own = getattr(theirs, name), getattr(ours, name, None)
        if own is None and value is not None:
            wrong.append(f"{name} is missing")
        different = is_data(value) and not isinstance(value, ModuleType) and own != value
        if different or isinstance(value, type) != isinstance(own, type):
            wrong.append(f"{name} is {own!r}, not {value!r}")
    assert not wrong


@pytest.mark.parametrize("module", MODULES)
def test_arguments(module: str) -> None:
    """Each callable takes the arguments that the running interpreter's takes, by position, keyword and default."""
    wrong = []
    for name, theirs, ours in replaced(module):
        if ours is None:
            wrong.append(f"{name} is missing")
            continue
        wanted, found = signature_of(theirs), signature_of(ours)
        if wanted is not None and found is not None:
            wrong += [f"{name}: {objection}" for objection in objections(wanted, found)]
    assert not wrong, "\n".join(wrong)


class Floating:
    def __float__(self) -> float:
        return 0.0


class Whole:
    def __index__(self) -> int:
        return 0


class File:
    """Something with a descriptor, or what it says is one."""

    def __init__(self, number: Any) -> None:
        self.number = number

    def fileno(self) -> Any:
        return self.number


def outcome(call: Callable[[], Any]) -> str:
    """What comes of a call, as far as it must be the same."""
    try:
        return repr(call())
    except Exception as error:
        return type(error).__name__


TIMES: list[Any] = [0, 0.0, -0.0, 0.001, 1, True, False, -1, -0.5, None, "1", b"1", (), [], 1j, Floating(), Whole()]
TIMES += [float("nan"), float("inf"), -float("inf"), 1e10, 1e19, 1e100, -1e100]
TIMES += [2**31, 2**31 - 1, 2**63, -(2**63), 2**200]
MASKS = [0, 1, 3, True, -1, 2**15, 2**16, 2**16 - 1, 2**32, 2**70, 1.0, "1", None, Whole(), Floating()]
NUMBERS = [-1, 10**6, 2**31, 2**70, "0", b"0", 0.5, None, True, Floating()]


def fds(fd: int) -> list[Any]:
    return [fd, File(fd), *NUMBERS, *map(File, NUMBERS), object()]


def select_calls(module: Any, fd: int) -> Iterator[tuple[Any, Callable[[], Any]]]:
    for seconds in TIMES:
        yield ("time", seconds), lambda seconds=seconds: [len(found) for found in module.select([fd], [], [], seconds)]
    for member in fds(fd):
        for place in range(3):
            lists: list[Any] = [[], [], []]
            lists[place] = [member]
            yield ("fd", member, place), lambda lists=lists: [len(f) for f in module.select(*lists, 0)]
    for lists in (
        ([fd], [], []),
        ((fd,), (), ()),
        ({fd}, {}, ()),
        ({fd: 1}, "", b""),
        (iter([fd]), (), ()),
        "abc",
        (1, 2, 3),
    ):
        yield ("lists", lists), lambda lists=lists: [len(f) for f in module.select(*lists, 0)]
    for count in range(6):
        yield ("count", count), lambda count=count: module.select(*[[], [], [], 0, 0][:count]) if count != 3 else None


def poll_calls(module: Any, fd: int) -> Iterator[tuple[Any, Callable[[], Any]]]:
    def polled(*args: Any, **kwargs: Any) -> Any:
        poller = module.poll()
        poller.register(fd, module.POLLIN)
        return [bits for _, bits in poller.poll(*args, **kwargs)]

    def registered(how: str, *args: Any) -> Any:
        poller = module.poll()
        if how != "register":
            poller.register(fd, 0)
        found = getattr(poller, how)(*args)
        return found, [bits for _, bits in poller.poll(0)]

    yield "nothing", polled
    for milliseconds in TIMES:
        yield ("time", milliseconds), lambda milliseconds=milliseconds: polled(milliseconds)
    for member in fds(fd):
        for how in ("register", "modify", "unregister"):
            rest = () if how == "unregister" else (module.POLLIN,)
            yield (how, member), lambda how=how, member=member, rest=rest: registered(how, member, *rest)
    for mask in MASKS:
        for how in ("register", "modify"):
            yield (how, "mask", mask), lambda how=how, mask=mask: registered(how, fd, mask)
    for how in ("register", "modify", "unregister", "poll"):
        for count in (3, 4) if how == "poll" else (0, 3, 4):
            yield (how, count), lambda how=how, count=count: registered(how, *[fd, 0, 0, 0][:count])
    yield "arguments", lambda: module.poll(1)
    yield "instance", lambda: type(module.poll())()


def epoll_calls(module: Any, fd: int) -> Iterator[tuple[Any, Callable[[], Any]]]:
    def polled(*args: Any, **kwargs: Any) -> Any:
        with module.epoll() as poller:
            poller.register(fd, module.EPOLLIN)
            return [bits for _, bits in poller.poll(*args, **kwargs)]

    def registered(how: str, *args: Any, **kwargs: Any) -> Any:
        with module.epoll() as poller:
            if how != "register":
                poller.register(fd, 0)
            found = getattr(poller, how)(*args, **kwargs)
            return found, [bits for _, bits in poller.poll(0)]

    def closed(how: str, *args: Any) -> Any:
        poller = module.epoll()
        poller.close()
        return getattr(poller, how)(*args)

    for seconds in TIMES:
        yield ("time", seconds), lambda seconds=seconds: polled(seconds)
        yield ("timeout", seconds), lambda seconds=seconds: polled(timeout=seconds)
    for most in (-2, -1, 0, 1, 2, 2**31, 2**70, True, None, "1", 1.0, Whole()):
        yield ("most", most), lambda most=most: polled(0, most)
        yield ("maxevents", most), lambda most=most: polled(maxevents=most)
    for member in fds(fd):
        for how in ("register", "modify", "unregister"):
            rest = () if how == "unregister" else (module.EPOLLIN,)
            yield (how, member), lambda how=how, member=member, rest=rest: registered(how, member, *rest)
    for mask in MASKS:
        for how in ("register", "modify"):
            yield (how, "mask", mask), lambda how=how, mask=mask: registered(how, fd, mask)
            yield (how, "eventmask", mask), lambda how=how, mask=mask: registered(how, fd=fd, eventmask=mask)
    for how in ("register", "modify", "unregister", "poll"):
        for count in (3, 4) if how == "poll" else (0, 3, 4):
            yield (how, count), lambda how=how, count=count: registered(how, *[fd, 0, 0, 0][:count])
        yield (how, "closed"), lambda how=how: closed(how, *{"poll": [0], "unregister": [fd]}.get(how, [fd, 0]))
    for how in ("fileno", "close", "__enter__"):
        yield (how, "closed"), lambda how=how: closed(how)
    yield "closed?", lambda: module.epoll().closed
    for args in (
        (),
        (-1,),
        (0,),
        (-2,),
        (10,),
        (-1, module.EPOLL_CLOEXEC),
        (-1, 0),
        (-1, 12345),
        ("1",),
        (1.0,),
        (None,),
        (1, 2, 3),
    ):
        yield ("made", args), lambda args=args: module.epoll(*args).closed
    for named in ({"sizehint": 5}, {"flags": 0}, {"flags": 7}, {"size": 1}):
        yield ("made", named), lambda named=named: module.epoll(**named).closed
    for number in ("0", b"0", 0.5, None, Floating(), 2**70):  # others would be closed in the end
        yield ("fromfd", number), lambda number=number: module.epoll.fromfd(number).closed


def selector_calls(module: Any, fd: int) -> Iterator[tuple[Any, Callable[[], Any]]]:
    for cls in ("SelectSelector", "PollSelector", "EpollSelector", "DefaultSelector"):

        def selected(*args: Any, cls: str = cls, **kwargs: Any) -> Any:
            with getattr(module, cls)() as selector:
                selector.register(fd, module.EVENT_READ, "data")
                return [(events, key.events, key.data) for key, events in selector.select(*args, **kwargs)]

        def done(how: str, *args: Any, cls: str = cls, **kwargs: Any) -> Any:
            with getattr(module, cls)() as selector:
                if how != "register":
                    selector.register(fd, module.EVENT_WRITE)
                key = getattr(selector, how)(*args, **kwargs)
                return key.events, key.data, [events for _, events in selector.select(0)]

        def closed(how: str, *args: Any, cls: str = cls) -> Any:
            selector = getattr(module, cls)()
            selector.close()
            return getattr(selector, how)(*args)

        yield (cls, "nothing"), selected
        for seconds in TIMES:
            if seconds != seconds:
                continue  # CPython itself hangs, or does not, depending on the class
            yield (cls, "time", seconds), lambda seconds=seconds, selected=selected: selected(seconds)
            yield (cls, "timeout", seconds), lambda seconds=seconds, selected=selected: selected(timeout=seconds)
        for member in fds(fd):
            for how in ("register", "modify", "unregister", "get_key"):
                rest = (module.EVENT_READ,) if how in ("register", "modify") else ()
                yield (cls, how, member), lambda how=how, member=member, rest=rest, done=done: done(how, member, *rest)
        for events in (0, 1, 2, 3, 4, -1, "1", None, True, 1.0):
            for how in ("register", "modify"):
                yield (cls, how, "events", events), lambda how=how, events=events, done=done: done(how, fd, events, "d")
                yield (
                    (cls, how, "named", events),
                    lambda how=how, events=events, done=done: done(how, fileobj=fd, events=events, data=1),
                )
        for how in ("close", "get_map", "fileno"):
            yield (cls, how, "closed"), lambda how=how, closed=closed: closed(how)


CALLS = {"select": select_calls, "poll": poll_calls, "epoll": epoll_calls, "selectors": selector_calls}


@pytest.mark.parametrize("group", CALLS)
def test_calls(hub: Hub, group: str) -> None:
    """Each call, right or wrong, has the same result or the same class of error as the standard library's."""
    theirs, ours = (stdlib_selectors, selectors) if group == "selectors" else (stdlib_select, select)
    reading, writing = os.pipe()
    os.write(writing, b"x")
    try:
        differences = []
        for (what, expected), (_, found) in zip(
            CALLS[group](theirs, reading), CALLS[group](ours, reading), strict=True
        ):
            one, other = outcome(expected), outcome(found)
            if one != other:
                differences.append(f"{what}: {other}, not {one}")
        assert not differences, f"{len(differences)}\n" + "\n".join(differences)
    finally:
        os.close(reading)
        os.close(writing)
