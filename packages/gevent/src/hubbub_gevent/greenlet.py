"""gevent.greenlet on hubbub: greenlets that start with an empty context, and know who spawned them."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from contextvars import Context
from types import CodeType, FrameType
from typing import Any

from greenlet import GreenletExit, getcurrent
from hubbub import greenlet as _greenlet
from hubbub.greenlet import iwait, joinall, killall, wait

from hubbub_gevent._config import config
from hubbub_gevent.timeout import Timeout

__all__ = ["Greenlet", "GreenletExit", "Timeout", "getcurrent", "iwait", "joinall", "killall", "wait"]


class _Frame:
    """A place in a stack, kept without the frame's variables."""

    __slots__ = ("f_back", "f_code", "f_lineno")

    def __init__(self, code: CodeType, line: int) -> None:
        self.f_code = code
        self.f_lineno = line
        self.f_back: _Frame | None = None

    @property
    def f_globals(self) -> None:
        """Not kept."""
        return


def _stack(frame: FrameType | None, limit: int) -> _Frame | None:
    first = last = None
    while frame is not None and limit > 0:
        new = _Frame(frame.f_code, frame.f_lineno)
        if last is None:
            first = new
        else:
            last.f_back = new
        last, frame, limit = new, frame.f_back, limit - 1
    return first


_spawn_callbacks: set[Callable[[Any], Any]] | None = None


class Greenlet(_greenlet.Greenlet):
    """gevent's greenlet."""

    spawning_stack_limit = 10

    def __init__(self, run: Callable[..., Any] | None = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(None, *args, context=Context())
        if run is not None:
            self._run = run
        if run is not None and not callable(run):
            raise TypeError("The run argument or self._run must be callable")
        if not callable(getattr(self, "_run", None)):
            raise TypeError("The run argument or self._run must be callable")
        self.kwargs = kwargs
        self.spawning_greenlet: Any = None
        self.spawning_stack: Any = None
        self.spawn_tree_locals: Any = None
        if config.track_greenlet_tree:
            self._track()

    def _run(self) -> Any:
        """What a subclass runs."""

    def _track(self) -> None:
        spawner = getcurrent()
        self.spawning_greenlet = weakref.ref(spawner)
        self.spawning_stack = _stack(sys._getframe(2), self.spawning_stack_limit)
        tree = getattr(spawner, "spawn_tree_locals", None)
        if tree is None:
            tree = {}
            if spawner.parent is not None and hasattr(spawner, "__dict__"):
                spawner.spawn_tree_locals = tree  # type: ignore[attr-defined]  # any greenlet with a dictionary
        self.spawn_tree_locals = tree

    @property
    def minimal_ident(self) -> int:
        """A small number, used again when this greenlet is gone."""
        number: int = self.hub.ident_registry.get_ident(self)  # type: ignore[attr-defined]  # the facade's hub
        return number

    @property
    def name(self) -> str:
        """``Greenlet-N`` unless assigned."""
        if self._name is None:
            self._name = f"{type(self).__name__}-{self.minimal_ident}"
        return self._name

    @name.setter
    def name(self, name: str) -> None:
        self._name = name

    def _formatinfo(self) -> str:
        run = getattr(self, "_run", None)
        owner = getattr(run, "__self__", None)
        name = getattr(run, "__name__", None) or repr(run)
        if owner is self:
            return ""
        text = name
        if owner is not None:
            text = f"<bound method {type(owner).__name__}.{name} of {owner!r}>"
        else:
            text = repr(run) if not hasattr(run, "__name__") else f"{run!r}"
        arguments = [repr(item)[:50] for item in self.args]
        arguments += [f"{key}={value!r}"[:50] for key, value in self.kwargs.items()]
        return f"{text}({', '.join(arguments)})" if arguments else text

    def __repr__(self) -> str:
        text = f"<{type(self).__name__} {self.name!r} at {id(self):#x}"
        info = self._formatinfo()
        return f"{text}: {info}>" if info else f"{text}>"

    @classmethod
    def add_spawn_callback(cls, callback: Callable[[Any], Any]) -> None:
        """Call ``callback(greenlet)`` whenever one is started."""
        global _spawn_callbacks
        if _spawn_callbacks is None:
            _spawn_callbacks = set()
        _spawn_callbacks.add(callback)

    @classmethod
    def remove_spawn_callback(cls, callback: Callable[[Any], Any]) -> None:
        """Undo :meth:`add_spawn_callback`."""
        global _spawn_callbacks
        if _spawn_callbacks is not None:
            _spawn_callbacks.discard(callback)
            if not _spawn_callbacks:
                _spawn_callbacks = None

    def _announce(self) -> None:
        for callback in tuple(_spawn_callbacks or ()):
            callback(self)

    def start(self) -> None:
        """Run soon."""
        if _spawn_callbacks is not None and not self.started and not self.dead:
            self._announce()
        super().start()

    def start_later(self, seconds: float) -> None:
        """Run after ``seconds``."""
        if _spawn_callbacks is not None and not self.started and not self.dead:
            self._announce()
        super().start_later(seconds)

    def _report_error(self, exc_info: Any) -> None:
        super()._failed(exc_info[1])

    def _report_result(self, result: Any) -> None:
        self.value = result
        self._finish()

    def _failed(self, error: BaseException) -> None:
        self._report_error((type(error), error, error.__traceback__))


Greenlet.joinall = staticmethod(joinall)  # type: ignore[attr-defined]  # as gevent has them
Greenlet.killall = staticmethod(killall)  # type: ignore[attr-defined]  # as gevent has them
