"""Greenlets: functions that run beside others and wait like plain blocking code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextvars import Context, copy_context
from functools import partial
from types import FunctionType, MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, ParamSpec, TypeVar, overload

from greenlet import GreenletExit, getcurrent, greenlet

from hubbub._arguments import (
    ASYNCHRONOUS,
    as_seconds,
    check_exception,
    check_function,
)
from hubbub._identity import Reduce, refuse_copies
from hubbub._interrupt import interrupt
from hubbub._originals import get_ident
from hubbub._reports import tell
from hubbub._struck import repeatable
from hubbub._twins import mirrored, twin
from hubbub.hub import Hub, get_hub
from hubbub.timeout import Timeout

if TYPE_CHECKING:
    from typing import Self

    from typing_extensions import TypeVar as TypeVarWithDefault  # from CPython 3.13 on that of typing

    T_co = TypeVarWithDefault("T_co", covariant=True, default=Any)
else:
    T_co = TypeVar("T_co", covariant=True)

__all__ = ["Greenlet", "kill", "spawn", "spawn_later", "without_frames"]

P = ParamSpec("P")
T = TypeVar("T")
E = TypeVar("E", bound=BaseException)
G = TypeVar("G", bound="Greenlet")

_NEW, _SCHEDULED, _RUNNING, _DONE = range(4)
_names = iter(range(1, sys.maxsize))
_OWN_BODY: Any = object()  # no function was given: the class has a body of its own
_NO_KWARGS: Mapping[str, Any] = MappingProxyType({})  # most greenlets have none: one object for all of them


def without_frames(error: E) -> E:
    """``error`` without traceback and context: an error that is kept but never shown must not keep frames alive."""
    error.__context__ = None
    return error.with_traceback(None)


class Greenlet(greenlet, Generic[T_co]):
    """Runs ``run(*args, **kwargs)``, or a subclass's ``_run``, on a stack of its own, when the hub switches to it.

    It belongs to the thread that created it. A failure is reported once, by :meth:`hubbub.hub.Hub.handle_error`.

    For type checkers ``Greenlet[int]`` is one whose function returns an int, and so does its ``get``.

    :param context: the context variables to run in; by default a copy of the creator's.
    """

    __reduce_ex__: ClassVar[Reduce] = refuse_copies

    __slots__ = (
        "_error",
        "_key",
        "_links",
        "_name",
        "_notifying",
        "_run",
        "_start",
        "_state",
        "_traceback",
        "args",
        "kwargs",
        "made",
        "value",
    )

    @overload
    def __init__(self, run: Callable[..., T_co], *args: Any, context: Context | None, **kwargs: Any) -> None: ...

    @overload
    def __init__(self, run: Callable[P, T_co], *args: P.args, **kwargs: P.kwargs) -> None: ...

    @overload
    def __init__(self, run: None = None, *args: Any, context: Context | None = None, **kwargs: Any) -> None: ...

    @twin("greenlet.c")
    def __init__(self, run: Any = _OWN_BODY, *args: Any, context: Any = None, **kwargs: Any) -> None:
        hub = get_hub()
        greenlet.__init__(self, None, hub)
        self.made: float = hub.loop.time
        """When it was made, by the loop's clock (that of :func:`time.monotonic`, read once a turn)."""
        self.gr_context = context if context is not None else copy_context()
        if type(run) is FunctionType and not run.__code__.co_flags & ASYNCHRONOUS:  # the usual case
            self._run: Callable[..., Any] = run
        else:
            self._choose_body(run)
        self.args: tuple[Any, ...] = args
        self.kwargs: Mapping[str, Any] = kwargs or _NO_KWARGS
        self.value: T_co | GreenletExit | None = None
        """What its function returned, or the GreenletExit by which it was killed; None before that."""
        self._error: BaseException | None = None
        self._traceback: TracebackType | None = None
        self._key: Any = None
        self._start: Callable[[], Any] | None = None
        self._state = _NEW
        self._links: list[Callable[[Any], Any]] | None = None
        self._notifying = False
        self._name: str | None = None
        hook = Greenlet.spawn_hook
        if hook is not None:
            hook(self)

    def _choose_body(self, run: Any) -> None:
        kind: Any = type(self)
        omitted = run is _OWN_BODY
        if (omitted or run is None) and kind._run is not _NO_BODY:
            return  # a subclass with a body
        if omitted and kind.run is not Greenlet.run:
            return
        if omitted:
            raise TypeError("the function to run is missing")
        check_function(run)
        self._run = run

    spawn_hook: ClassVar[Callable[[Any], None] | None] = None
    """Called with each new greenlet; see :func:`hubbub.inspect.track_spawns`."""

    @property
    def hub(self) -> Hub:
        """The hub it runs on."""
        parent = self.parent
        if not isinstance(parent, Hub):
            raise RuntimeError(f"{self!r} has no hub: its parent is {parent!r}")
        return parent

    @property
    def loop(self) -> Any:
        """The loop it runs on."""
        return self.hub.loop

    # Making and starting --------------------------------------------------------------------------------------------

    @overload
    @classmethod
    def spawn(cls: Callable[P, G], *args: P.args, **kwargs: P.kwargs) -> G: ...  # a class with its own constructor

    @overload
    @classmethod
    def spawn(cls, run: Callable[..., T], *args: Any, context: Context | None, **kwargs: Any) -> Greenlet[T]: ...

    @overload
    @classmethod
    def spawn(cls, run: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Greenlet[T]: ...

    @classmethod
    def spawn(cls: Any, *args: Any, **kwargs: Any) -> Any:
        """Create one and start it. The arguments are those of the class."""
        new = cls(*args, **kwargs)
        new.start()
        return new

    @overload
    @classmethod
    def spawn_later(cls: Callable[P, G], seconds: float, *args: P.args, **kwargs: P.kwargs) -> G: ...

    @overload
    @classmethod
    def spawn_later(
        cls, seconds: float, run: Callable[..., T], *args: Any, context: Context | None, **kwargs: Any
    ) -> Greenlet[T]: ...

    @overload
    @classmethod
    def spawn_later(cls, seconds: float, run: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Greenlet[T]: ...

    @classmethod
    def spawn_later(cls: Any, seconds: float, *args: Any, **kwargs: Any) -> Any:
        """Create one and start it after ``seconds``."""
        as_seconds(seconds)
        new = cls(*args, **kwargs)
        new.start_later(seconds)
        return new

    @twin("greenlet.c")
    def start(self) -> None:
        """Run soon. A second start does nothing."""
        if self._state == _NEW:
            self._state = _SCHEDULED
            self.parent.loop.ready.append(self.switch)  # type: ignore[union-attr]  # the parent is a hub

    def start_later(self, seconds: float) -> None:
        """Run after ``seconds``. Does nothing once started."""
        if self._state == _NEW:
            after = as_seconds(seconds)
            self._state = _SCHEDULED
            self._start = self.switch
            self._key = self.hub.loop.call_later(after, self._start)

    def _cancel_start(self) -> None:
        if self._state == _SCHEDULED:
            loop = self.hub.loop
            if self._start is not None:
                loop.cancel_later(self._key, self._start)
            loop.unschedule(self.switch)

    def run(self) -> None:
        """The body of the greenlet; override ``_run`` instead."""
        self._state = _RUNNING
        loop = self.parent.loop  # type: ignore[union-attr]  # the parent is a hub
        loop.greenlets += 1
        run, args = self._run, self.args
        try:
            # A plain call of a Python function enters no second interpreter loop: half a KiB less of C stack is copied
            # at every switch, and kept for every greenlet that waits.
            if self.kwargs or len(args) > 2:
                self.value = run(*args, **self.kwargs)
            elif not args:
                self.value = run()
            elif len(args) == 1:
                self.value = run(args[0])
            else:
                self.value = run(args[0], args[1])
        except BaseException as error:
            run = args = None  # type: ignore[assignment]  # the traceback keeps this frame
            try:
                self.handle_failure(error)
            except BaseException as failure:  # from a subclass's method: the greenlet ends all the same
                if self._error is None and self.value is None:
                    self.keep_failure(error)
                tell(loop.hub, self, failure)
        finally:
            loop.greenlets -= 1
        self._finish()

    def cut_short(self, error: BaseException) -> bool:
        """The greenlet is dead by an error from outside its function, of a handler of signals: it ends all the same.

        :returns: whether that was its failure, which is reported. Else it had ended.
        """
        struck_first = self._state in (_NEW, _SCHEDULED)
        if struck_first:
            self.keep_failure(error)
        if self._state != _DONE:
            self._finish()
        elif self._links:
            self._schedule_links()
        if struck_first:
            tell(self.hub, self, error)
        return struck_first

    def handle_failure(self, error: BaseException) -> None:
        """The function has raised ``error``: keep it, and report it to the hub. A subclass may report it elsewhere."""
        if self.keep_failure(error):
            tell(self.hub, self, error)

    def keep_failure(self, error: BaseException) -> bool:
        """Keep ``error`` as the outcome, for :meth:`get`.

        :returns: False for GreenletExit, which is a value and no failure.
        """
        if isinstance(error, GreenletExit):
            self.value = without_frames(error)
            return False
        self._error = error
        self._traceback = error.__traceback__
        return True

    @twin("greenlet.c")
    def _finish(self) -> None:
        self._state = _DONE
        self.args = ()
        self.kwargs = _NO_KWARGS
        if self._links:
            self._schedule_links()

    # State ----------------------------------------------------------------------------------------------------------

    @property
    @mirrored("greenlet.c")
    def dead(self) -> bool:
        """True when it has ended, or will never start."""
        try:
            return self._state == _DONE or greenlet.dead.__get__(self)
        except AttributeError:  # the collector has taken it apart: from CPython 3.15 on it finds waiting greenlets too
            return True

    @twin("greenlet.c")
    def ready(self) -> bool:
        """True when it has ended."""
        return self.dead

    def successful(self) -> bool:
        """True when it has ended without an error; being killed by GreenletExit is no error."""
        return self._state == _DONE and self._error is None

    @property
    def started(self) -> bool:
        """True from ``start`` until the end."""
        try:
            return self._state in (_SCHEDULED, _RUNNING)
        except AttributeError:  # as in dead
            return False

    def __bool__(self) -> bool:
        return self.started

    @property
    def exception(self) -> BaseException | None:
        """The error it ended with, or None."""
        return self._error

    @property
    def exc_info(self) -> tuple[Any, Any, Any] | tuple[()]:
        """(type, error, traceback) of the error it ended with, or an empty tuple."""
        return (type(self._error), self._error, self._traceback) if self._error is not None else ()

    @property
    def name(self) -> str:
        """A name for people. May be assigned."""
        try:
            name = self._name
        except AttributeError:  # its constructor failed, or the collector has taken it apart
            return f"{type(self).__name__} half made"
        if name is None:
            self._name = name = f"Greenlet-{next(_names)}"
        return name

    @name.setter
    def name(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        if not hasattr(self, "_name"):  # its constructor failed, or the collector has taken it apart
            return f"<{type(self).__name__} half made at {id(self):#x}>"
        function = getattr(self, "_run", None)
        what = getattr(function, "__qualname__", None) or repr(function)
        return f"<{type(self).__name__} {self.name!r} at {id(self):#x}: {what}>"

    # Waiting for it -------------------------------------------------------------------------------------------------

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended. Never raises its error, nor for the time-out.

        :param timeout: seconds, or None for no limit.
        """
        if self.dead:
            return
        current = getcurrent()
        hub = get_hub()
        if current is self:
            raise RuntimeError("a greenlet cannot join itself")
        if timeout is not None:
            self._join_until(timeout)
            return
        switch = current.switch if current is not hub else hub.resume
        began = hub.loop.time  # noqa: F841  # read by hubbub.inspect
        self.rawlink(switch)
        try:
            hub.switch()
            if not self.dead:
                hub.wait_while(lambda: not self.dead)
        except BaseException:
            self.unlink(switch)
            raise

    def _join_until(self, timeout: float) -> None:
        limit = Timeout.start_new(timeout)
        try:
            self.join()
        except Timeout as error:
            if error is not limit:
                raise
        finally:
            limit.cancel()

    def get(self, block: bool = True, timeout: float | None = None) -> T_co:
        """Wait until it has ended; return what its function returned, or raise what that raised.

        If it was killed by a GreenletExit, that is returned.

        :raises Timeout: it has not ended in ``timeout`` seconds, or not yet and ``block`` is false.
        """
        if not self.dead:
            if not block:
                raise Timeout()
            limit = Timeout.start_new(timeout)
            try:
                self.join()
            finally:
                limit.cancel()
        if self._error is not None:
            raise self._error.with_traceback(self._traceback)
        return self.value  # type: ignore[return-value]  # it has ended without an error, or was killed

    # Ending it ------------------------------------------------------------------------------------------------------

    def kill(self, exception: Any = GreenletExit, block: bool = True, timeout: float | None = None) -> None:
        """Raise ``exception`` in it, in the hub's next callback, or when the shield that it is in has ended.

        A greenlet that has not run yet never will. From another thread only with ``block`` false.

        :param block: wait until it has ended, at most ``timeout`` seconds.
        """
        check_exception(exception)
        if not (timeout is None or isinstance(timeout, Timeout)):
            as_seconds(timeout)
        if self.dead:
            return
        if self is getcurrent():
            raise exception if not isinstance(exception, type) else exception()
        if self._state != _RUNNING and self.hub.thread_ident == get_ident():
            self._end_unstarted(exception)
            return
        interrupt(self, exception)
        if block:
            self.join(timeout)

    def _end_unstarted(self, exception: Any) -> None:
        self._cancel_start()
        self.keep_failure(exception() if isinstance(exception, type) else exception)
        self._finish()

    def throw(self, *exc_info: Any) -> Any:
        """Raise an exception in it now. A greenlet that has not run yet ends without running."""
        if self._state in (_NEW, _SCHEDULED):
            error = exc_info[0] if exc_info else GreenletExit
            if len(exc_info) > 1 and exc_info[1] is not None:
                error = exc_info[1]
            check_exception(error)
            self._end_unstarted(error)
            return None
        return greenlet.throw(self, *exc_info)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.join()
        finally:
            self.kill(error if error is not None else GreenletExit)

    # Links ----------------------------------------------------------------------------------------------------------

    @twin("greenlet.c")
    def rawlink(self, callback: Callable[[Any], Any]) -> None:
        """Call ``callback(self)`` on the hub when it has ended. The next link is called when the callback has returned.

        :raises TypeError: ``callback`` is not callable.
        """
        if not callable(callback):
            check_function(callback, "the callback")
        if self._links is None:
            self._links = [callback]
        else:
            self._links.append(callback)
        if self._state == _DONE:
            self._schedule_links()

    def link(self, callback: Callable[[Any], Any]) -> None:
        """Call ``callback(self)`` in a greenlet of its own when it has ended."""
        self.rawlink(_Link(callback, None))

    def link_value(self, callback: Callable[[Any], Any]) -> None:
        """:meth:`link`, only if it ended without an error."""
        self.rawlink(_Link(callback, True))

    def link_exception(self, callback: Callable[[Any], Any]) -> None:
        """:meth:`link`, only if it ended with an error."""
        self.rawlink(_Link(callback, False))

    @twin("greenlet.c")
    def unlink(self, callback: Callable[[Any], Any]) -> None:
        """Undo one link or rawlink of ``callback``, if there is one and it has not been called."""
        links = self._links or []
        for index, link in enumerate(links):
            if link == callback or getattr(link, "callback", None) == callback:
                del links[index]
                return

    def unlink_all(self) -> None:
        """Undo every link."""
        self._links = None

    def has_links(self) -> int:
        """How many links wait to be called."""
        return len(self._links or ())

    @mirrored("greenlet.c")
    def _schedule_links(self) -> None:
        if not self._notifying:
            self._notifying = True
            self.parent.loop.ready.append(self._notify_links)  # type: ignore[union-attr]  # the parent is a hub

    @repeatable
    @twin("greenlet.c")
    def _notify_links(self) -> None:
        self._notifying = False
        while self._links:
            link = self._links[0]
            del self._links[0]  # no call from there to here
            try:
                link(self)
            except BaseException as error:
                self._link_failed(link, error)

    def _link_failed(self, link: Callable[[Any], Any], error: BaseException) -> None:
        self.hub.loop.call_failed((link, self), link, error, partial(link, self))


_NO_BODY = Greenlet.__dict__["_run"]  # the slot: a subclass with a body has a method in its place


class _Link:
    """A link that runs in a greenlet of its own: always, or only after success (True) or failure (False)."""

    __slots__ = ("callback", "when")

    def __init__(self, callback: Callable[[Any], Any], when: bool | None) -> None:
        check_function(callback, "the callback")
        self.callback = callback
        self.when = when

    def __call__(self, source: Any) -> None:
        if self.when is None or self.when == source.successful():
            greenlet(self.callback, get_hub()).switch(source)


if TYPE_CHECKING:

    @overload
    def spawn(function: Callable[..., T], /, *args: Any, context: Context | None, **kwargs: Any) -> Greenlet[T]: ...

    @overload
    def spawn(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Greenlet[T]: ...

    def spawn(*args: Any, **kwargs: Any) -> Any:
        """:meth:`Greenlet.spawn`."""

    @overload
    def spawn_later(
        seconds: float, function: Callable[..., T], /, *args: Any, context: Context | None, **kwargs: Any
    ) -> Greenlet[T]: ...

    @overload
    def spawn_later(seconds: float, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Greenlet[T]: ...

    def spawn_later(*args: Any, **kwargs: Any) -> Any:
        """:meth:`Greenlet.spawn_later`."""

else:
    spawn = Greenlet.spawn
    spawn_later = Greenlet.spawn_later


def kill(target: greenlet, exception: Any = GreenletExit) -> None:
    """Raise ``exception`` in ``target`` soon, without waiting."""
    if isinstance(target, Greenlet):
        target.kill(exception, block=False)
        return
    interrupt(target, exception)
