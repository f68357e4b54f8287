"""Locks that were made before patching: they are exchanged for cooperative ones where they can be reached.

A native lock that one greenlet holds while it waits for something stops the whole native thread as soon as another
wants it. So every free native lock in a module, an object, a list or a closure is replaced by a cooperative one, the
same one wherever the lock is referred to. A lock that is held stays native. So does one that a tuple or a C object
refers to, where it cannot be replaced: two locks in place of one would not exclude each other's holders.

The same goes for ``queue.SimpleQueue``, which waits in C. Nothing tells whether a native thread waits for an item of
such a queue, so while native threads run all queues stay native.
"""

from __future__ import annotations

import gc
import sys
import threading
from _thread import RLock as _thread_rlock
from _thread import allocate_lock
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from types import BuiltinMethodType, CellType, FrameType, GeneratorType, MemberDescriptorType, ModuleType
from typing import Any

from hubbub import queue
from hubbub.thread import LockType, RLock

from hubbub_monkey import _forks
from hubbub_monkey._whereabouts import owners

try:
    from _queue import SimpleQueue
except ImportError:  # PyPy's is written in Python
    from queue import SimpleQueue

__all__ = ["Exchange", "NativeLock", "NativeQueue", "NativeRLock"]

NativeLock: Any = type(allocate_lock())
NativeRLock: Any = _thread_rlock
NativeQueue: Any = SimpleQueue
_NATIVE = (NativeLock, NativeRLock, NativeQueue)
_Condition = threading.Condition
_KEEPERS = (threading.Condition, threading.Event)
_SPARED_MODULES = (
    "hubbub",
    "_frozen_importlib",
    "importlib._bootstrap",
    "_thread",
    "greenlet",
    # Debuggers stop the native thread, with all greenlets, and control it from another one.
    "_pydev",
    "_pydevd",
    "debugpy",
    "pydevd",
)


def _spared(module: object) -> bool:
    """Whether locks of this module stay native: hubbub's, which native threads share, and the import system's."""
    return isinstance(module, str) and module.startswith(_SPARED_MODULES)


def _ours(everything: Iterable[Any]) -> Iterator[Any]:
    """The objects whose locks stay native, by their class, and modules by their name."""
    kinds: dict[type, bool] = {}
    for item in everything:
        kind = type(item)
        if kind is ModuleType:
            spared = _spared(vars(item).get("__name__"))
        elif (found := kinds.get(kind)) is not None:
            spared = found
        else:
            spared = kinds[kind] = _spared(kind.__module__)
        if spared:
            yield item


def _values(item: Any) -> Iterator[Any]:
    """What an object refers to directly, or in its own dictionary."""
    for inner in gc.get_referents(item):
        yield inner
        if type(inner) is dict:
            yield from inner.values()


def _keep(item: Any, kept: dict[int, Any]) -> None:
    """Note the locks and conditions in ``item``, and the locks in those conditions."""
    for inner in _values(item):
        if type(inner) in _NATIVE or (isinstance(inner, _KEEPERS) and id(inner) not in kept):
            kept[id(inner)] = inner
            if isinstance(inner, _KEEPERS):
                kept[id(vars(inner))] = vars(inner)
                _keep(inner, kept)


class Exchange:
    """One exchange of all locks. :meth:`undo` puts the native ones back."""

    def __init__(self) -> None:
        self._new: dict[int, tuple[Any, Any]] = {}
        self._undo: list[Callable[[], None]] = []
        self._kept: dict[int, Any] = {}
        self._fixed: dict[int, Any] = {}
        self._hooked: set[int] = set()
        self._queues_may_wait = len(sys._current_frames()) > 1

    def run(self) -> None:
        """Exchange what can be exchanged."""
        everything = gc.get_objects()
        for item in _ours(everything):
            _keep(item, self._kept)
        conditions = [item for item in everything if type(item) is _Condition and id(item) not in self._kept]
        self._fix_those_in_use(conditions)
        methods = {id(value) for item in conditions for value in vars(item).values() if not _in_use(item)}
        holders = self._holders(everything)
        for item in holders:
            if isinstance(item, _Condition) or id(item) in methods:
                continue
            if _is_hook(item, everything, holders):
                self._hooked.add(id(item.__self__))
            else:
                self._fix(item)
        for item in holders:
            self._in(item)
        for item in conditions:
            self._in_condition(item)

    def _fix_those_in_use(self, conditions: list[Any]) -> None:
        """Keep the lock of a condition that a native thread waits for, also for other conditions around that lock."""
        for item in conditions:
            lock = vars(item).get("_lock")
            if _in_use(item) and type(lock) in _NATIVE:
                self._fixed[id(lock)] = lock

    def left(self) -> str:
        """A sentence that says which locks and queues stay native though they are in use; empty if there are none."""
        found = owners(self._fixed.values(), self._fixed, self._new, self._kept)
        return f"locks stay native that are held, or kept where they cannot be exchanged: {found}" if found else ""

    def _is_free(self, lock: Any) -> bool:
        if type(lock) is NativeQueue:
            return not self._queues_may_wait
        return _is_free(lock)

    def _holders(self, everything: list[Any]) -> list[Any]:
        """The objects that refer to a native lock that is to be exchanged. Two calls of C look at all objects."""
        referents = gc.get_referents(*everything)
        locks = {id(inner): inner for inner in referents if type(inner) in _NATIVE and id(inner) not in self._kept}
        if not locks:
            return []
        known = {id(item) for item in everything} - self._kept.keys()
        return [item for item in gc.get_referrers(*locks.values()) if id(item) in known]

    def _fix(self, holder: Any) -> None:
        """Note the locks that must stay native because ``holder`` refers to them."""
        if isinstance(holder, list | CellType):
            return
        if isinstance(holder, dict):
            inside = list(dict.keys(holder))
        else:
            own = {id(value) for value in _attributes(holder).values()}
            inside = [inner for inner in gc.get_referents(holder) if id(inner) not in own]
        for inner in inside:
            if type(inner) in _NATIVE and id(inner) not in self._kept:
                self._fixed[id(inner)] = inner

    def _in(self, holder: Any) -> None:
        # By the methods of the built-in classes: those of a class derived from them may refuse, or do something else.
        if isinstance(holder, dict):
            for key, value in list(dict.items(holder)):
                self._set(partial(dict.__setitem__, holder), key, value)
        elif isinstance(holder, list):
            for index, value in enumerate(list.__iter__(holder)):
                self._set(partial(list.__setitem__, holder), index, value)
        elif isinstance(holder, CellType):
            self._set(lambda _, value: setattr(holder, "cell_contents", value), None, holder.cell_contents)
        if type(holder) not in (dict, list, CellType, _Condition):
            for name, value in _attributes(holder).items():
                self._set(partial(_assign, holder), name, value)

    def _set(self, put: Callable[[Any, Any], Any], key: Any, old: Any) -> None:
        new = self._replacement(old)
        if new is not None:
            put(key, new)
            self._undo.append(lambda: put(key, old))

    def _replacement(self, old: Any) -> Any:
        """The cooperative lock for ``old``; None if it is no native lock, or one that cannot be exchanged."""
        if type(old) not in _NATIVE or id(old) in self._kept or id(old) in self._fixed:
            return None
        known = self._new.get(id(old))
        if known is None:
            if not self._is_free(old):
                self._fixed[id(old)] = old
                return None
            known = self._new[id(old)] = (old, self._cooperative(old))
        return known[1]

    def _cooperative(self, old: Any) -> Any:
        if type(old) is NativeQueue:
            new: Any = queue.SimpleQueue()
            _move(old, new)
            self._undo.append(lambda: _move(new, old))
            return new
        new = LockType() if type(old) is NativeLock else RLock()
        if id(old) in self._hooked:
            self._undo.append(_forks.keep_free(new))
        return new

    def _in_condition(self, condition: Any) -> None:
        """A condition keeps methods of its lock: initialize it again around the new lock."""
        old = condition.__dict__.get("_lock")
        if _in_use(condition):
            return
        new = self._new[id(old)][1] if id(old) in self._new else self._replacement(old)
        if new is None:
            return
        before = dict(condition.__dict__)
        condition.__dict__.clear()
        condition.__init__(new)

        def back() -> None:
            condition.__dict__.clear()
            condition.__dict__.update(before)

        self._undo.append(back)

    def undo(self) -> None:
        """Put the native locks back."""
        while self._undo:
            self._undo.pop()()


def _is_hook(item: Any, *mine: object) -> bool:
    """Whether this is a lock's method that only the interpreter refers to, given to it by ``os.register_at_fork``.

    :param mine: lists of the caller, which do not count.
    """
    if type(item) is not BuiltinMethodType:
        return False
    holders = gc.get_referrers(item)
    known = {id(other) for other in (holders, *mine)}
    return not [holder for holder in holders if id(holder) not in known and not _of_interpreter(holder, known)]


def _of_interpreter(holder: Any, known: set[int]) -> bool:
    """Whether this is a frame, or a list that no Python object refers to."""
    if isinstance(holder, FrameType | GeneratorType):
        return True
    if type(holder) is not list:
        return False
    for other in gc.get_referrers(holder):
        if id(other) not in known and not isinstance(other, FrameType | GeneratorType):
            return False
    return True


def _attributes(holder: Any) -> dict[str, Any]:
    """The attributes of an object that can be assigned: in its dictionary and its slots."""
    own = getattr(holder, "__dict__", None)
    found = dict(own) if type(own) is dict else {}  # that of a class cannot be assigned to
    for name, slot in _slots(holder).items():
        try:
            found[name] = slot.__get__(holder)
        except AttributeError:  # an empty slot
            continue
    return found


def _slots(holder: Any) -> dict[str, MemberDescriptorType]:
    """The slots of an object that its classes in Python have declared; members of classes in C may be read-only."""
    kinds = [vars(kind) for kind in reversed(type(holder).__mro__) if "__slots__" in vars(kind)]
    return {
        name: slot
        for kind in kinds
        for name, slot in kind.items()
        if type(slot) is MemberDescriptorType and not name.startswith("__")
    }


def _assign(holder: Any, name: str, value: Any) -> None:
    """Set an attribute where it lies: its class may refuse, and a base class in C refuses ``object.__setattr__``."""
    slot = _slots(holder).get(name)
    if slot is None:
        holder.__dict__[name] = value
    else:
        slot.__set__(holder, value)


def _move(source: Any, target: Any) -> None:
    """Move all items of one queue into another, in their order."""
    while not source.empty():
        target.put(source.get_nowait())


def _in_use(condition: Any) -> bool:
    return bool(vars(condition).get("_waiters"))


def _is_free(lock: Any) -> bool:
    if type(lock) is NativeRLock and lock._is_owned():
        return False
    if not lock.acquire(False):
        return False
    lock.release()
    return True
