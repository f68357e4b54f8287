"""gevent.greenlet on hubbub: greenlets that start with an empty context, and know their spawner."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import Context
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE
from typing import Any

from greenlet import GreenletExit as GreenletExit
from greenlet import getcurrent as getcurrent
from hubbub import greenlet as _greenlet
from hubbub.waiting import iwait as iwait
from hubbub.waiting import joinall, killall
from hubbub.waiting import wait as wait

from hubbub_gevent import hub as _hub
from hubbub_gevent._config import config
from hubbub_gevent._spawning import track
from hubbub_gevent.timeout import Timeout as Timeout

__all__ = [
    "Greenlet",
    "joinall",
    "killall",
]


_ASYNC = CO_COROUTINE | CO_ASYNC_GENERATOR


def _check_run(run: Any) -> None:
    """Refuse what cannot be run.

    :raises TypeError: ``run`` is not callable, or a coroutine function.
    """
    if not callable(run):
        raise TypeError(f"The run argument or self._run must be callable, not {run!r}")
    code = getattr(run, "__code__", None)
    if code is not None and code.co_flags & _ASYNC:
        raise TypeError(
            f"{run!r} is a coroutine function: a greenlet would make a coroutine that nobody awaits; "
            "spawn a function that runs it, such as asyncio.run"
        )


_spawn_callbacks: set[Callable[[Any], Any]] | None = None


class Greenlet(_greenlet.Greenlet):
    """gevent's greenlet."""

    _given_name: str | None = None
    spawning_stack_limit = 10
    spawning_greenlet: Any = None
    """A weak reference to the greenlet that spawned it."""
    spawning_stack: Any = None
    """Where it was spawned."""
    spawn_tree_locals: Any = None
    """A dictionary that it shares with its spawner and all greenlets below that in the tree of spawners."""

    def __init__(self, run: Callable[..., Any] | None = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(None, *args, context=Context())
        if run is not None:
            self._run = run  # type: ignore[method-assign]  # as gevent keeps it
        _check_run(self._run)
        self.kwargs: Mapping[str, Any] = kwargs
        if config.track_greenlet_tree:
            track(self, self.spawning_stack_limit)

    def _run(self) -> Any:
        """The body; subclasses override it."""

    def link(self, callback: Any, SpawnedLink: Any = None) -> None:
        """Call ``callback(self)`` in a greenlet of its own when this one has ended. ``SpawnedLink`` has no effect."""
        super().link(callback)

    def link_value(self, callback: Any, SpawnedLink: Any = None) -> None:
        """As :meth:`link`, but only if it ended without an error."""
        super().link_value(callback)

    def link_exception(self, callback: Any, SpawnedLink: Any = None) -> None:
        """As :meth:`link`, but only if it ended with an error."""
        super().link_exception(callback)

    @property
    def minimal_ident(self) -> int:
        """A small number, used again when this greenlet is gone."""
        number: int = self.parent.ident_registry.get_ident(self)  # type: ignore[union-attr]  # the facade's hub
        return number

    @property
    def exc_info(self) -> Any:
        """(type, error, traceback) of the error it ended with, or None."""
        return super().exc_info or None

    @property
    def name(self) -> str:
        """``Greenlet-N`` unless assigned."""
        if self._given_name is None:
            self._given_name = f"{type(self).__name__}-{self.minimal_ident}"
        return self._given_name

    @name.setter
    def name(self, name: str) -> None:
        self._given_name = name

    def _formatinfo(self) -> str:
        """Made only once: the arguments are dropped at the end."""
        text: str | None = self.__dict__.get("_info")
        if text is None:
            text = self.__dict__["_info"] = self._describe()
        return text

    def _describe(self) -> str:
        text = self._describe_run()
        arguments = [repr(item)[:50] for item in self.args]
        arguments += [f"{key}={value!r}"[:50] for key, value in self.kwargs.items()]
        return f"{text}({', '.join(arguments)})" if arguments else text

    def _describe_run(self) -> str:
        run = self._run
        owner = getattr(run, "__self__", None)
        name = getattr(run, "__name__", None) or repr(run)
        if owner is None or owner is self:
            return name
        return f"<bound method {type(owner).__name__}.{name} of {owner!r}>"

    def __repr__(self) -> str:
        if not hasattr(self, "args"):
            return f"<{type(self).__name__} at {id(self):#x}: its __init__ was not called>"
        name = f' "{self._given_name}"' if self._given_name is not None else ""
        return f"<{type(self).__name__}{name} at {id(self):#x}: {self._formatinfo()}>"

    @staticmethod
    def add_spawn_callback(callback: Callable[[Any], Any]) -> None:
        """Call ``callback(greenlet)`` for each greenlet that is started."""
        global _spawn_callbacks
        if _spawn_callbacks is None:
            _spawn_callbacks = set()
        _spawn_callbacks.add(callback)

    @staticmethod
    def remove_spawn_callback(callback: Callable[[Any], Any]) -> None:
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

    @classmethod
    def spawn_later(cls, seconds: float, *args: Any, **kwargs: Any) -> Any:
        """Create one and start it after ``seconds``.

        :raises TypeError: there is nothing to run.
        """
        if cls is Greenlet and not args:
            raise TypeError("spawn_later needs a function to run")
        return super().spawn_later(seconds, *args, **kwargs)

    def kill(self, exception: Any = GreenletExit, block: bool = True, timeout: Any = None) -> None:
        """Raise ``exception`` in it; a TypeError if ``exception`` is not an exception."""
        if not (
            isinstance(exception, BaseException)
            or (isinstance(exception, type) and issubclass(exception, BaseException))
        ):
            exception = TypeError(f"exceptions must derive from BaseException, not {type(exception).__name__}")
        super().kill(exception, block, timeout)

    def get(self, block: bool = True, timeout: Any = None) -> Any:
        """What it returned; raises what it raised."""
        if isinstance(timeout, Timeout):
            with timeout:
                return super().get(block)
        return super().get(block, timeout)

    def join(self, timeout: Any = None) -> None:
        """Wait until it has ended."""
        if not isinstance(timeout, Timeout):
            super().join(timeout)
            return
        try:
            with timeout:
                super().join()
        except Timeout as error:
            if error is not timeout:
                raise

    def start_later(self, seconds: float) -> None:
        """Run after ``seconds``."""
        if _spawn_callbacks is not None and not self.started and not self.dead:
            self._announce()
        super().start_later(seconds)

    def _report_error(self, exc_info: Any) -> None:
        super().handle_failure(exc_info[1])

    def handle_failure(self, error: BaseException) -> None:
        """Keep and report the error by ``_report_error``, which subclasses written for gevent override."""
        self._report_error((type(error), error, error.__traceback__))


Greenlet.joinall = staticmethod(joinall)  # type: ignore[attr-defined]  # as gevent has them
Greenlet.killall = staticmethod(killall)  # type: ignore[attr-defined]  # as gevent has them
_hub.signal.greenlet_class = Greenlet
