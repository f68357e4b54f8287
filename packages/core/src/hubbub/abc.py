"""The contracts between core and everything that plugs into it. Read this page first.

A loop holds a backend. The :class:`Backend` is what a library provides, and thin: readiness of file descriptors, and
waiting for so many seconds. Everything else (the run queue, timers, fairness, watchers, wake-ups, errors, fork, child
processes) is policy, and is written once, in :class:`hubbub.loop.base.BaseLoop`. What users see of it is :class:`Loop`.

One turn of a loop, in phases:

1. **Run queue.** Callables in ``ready`` are called in order, until the queue is empty or the turn's budget (a count
   and a time) is spent. All code of the user runs here and in phases 2, 5 and 6; none runs in 3 and 4.
2. **Prepare** watchers.
3. **Poll.** The backend's ``poll(timeout)`` waits for events: not at all while there is something to run, else until
   the next event, timer or wake-up.
4. **Dispatch.** For each event the callables that wait for it are appended to ``ready``. Nothing is called.
5. **Check** watchers.
6. **Idle** watchers, if ``ready`` is empty.

The loop ends when the run queue is empty and nothing that counts (``ref``) is waited for.

**Threads.** A loop, and its backend, belong to the thread that created them. ``run_callback_threadsafe``, ``wake`` and
the ``send`` of ``async_`` watchers may be called from any thread; nothing else may.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Protocol, TypeAlias

__all__ = [
    "LEVEL",
    "READ",
    "WRITE",
    "Address",
    "AddressInfo",
    "Backend",
    "Callback",
    "Loop",
    "Patch",
    "Resolver",
    "Watcher",
]

READ = 1
"""Interest in, or readiness for, reading."""
WRITE = 2
"""Interest in, or readiness for, writing."""

LEVEL = 4
"""Asked of an edge-triggered backend for one descriptor: report its events for as long as they last."""

Address: TypeAlias = Any
"""A socket address as the :mod:`socket` module has it: its shape depends on the family."""
AddressInfo: TypeAlias = tuple[int, int, int, str, Address]
"""One entry of what :func:`socket.getaddrinfo` returns."""


class Callback(Protocol):
    """What ``run_callback`` returns: a call that has not happened yet."""

    @property
    def pending(self) -> bool:
        """True until the call has begun or was stopped."""

    def stop(self) -> None:
        """Never call it; harmless when it was called already."""

    def close(self) -> None:
        """The same as :meth:`stop`."""


class Watcher(Protocol):
    """One interest in one kind of event. ``start`` calls back on every event until ``stop``."""

    ref: bool
    """Whether the watcher, while active, keeps the loop from ending."""
    priority: int
    """Matters for idle watchers alone: those with a higher one are called first."""

    @property
    def active(self) -> bool:
        """True between ``start`` and ``stop`` (a one-shot timer stops itself)."""

    @property
    def pending(self) -> bool:
        """True while an event has happened and the callback has not run yet."""

    def start(self, callback: Callable[..., Any], *args: Any) -> None:
        """Call ``callback(*args)`` on the hub at each event.

        :raises TypeError: ``callback`` is not callable.
        :raises LoopDestroyed: the loop is gone.
        """

    def stop(self) -> None:
        """No more calls, not even for an event that has happened already."""

    def close(self) -> None:
        """Stop, and give back what the watcher holds. It cannot be started again."""


class Backend(ABC):
    """What a library provides to a loop, and all that the loop asks of it.

    A loop calls ``open`` first, and after ``close`` nothing but ``open``. Only ``wake`` is called from other threads,
    and at any time, also when the backend is closed, or is being closed.
    """

    name: ClassVar[str]
    """The entry-point name, in the group ``hubbub.loops``."""
    edge_triggered: ClassVar[bool] = False
    """Whether ``poll`` reports a change once (and not again while it lasts)."""
    READ_BITS: ClassVar[int] = READ
    """The bits of an event mask from ``poll`` that mean: a reader should try."""
    WRITE_BITS: ClassVar[int] = WRITE
    """The bits of an event mask from ``poll`` that mean: a writer should try."""
    STICKY_BITS: ClassVar[int] = 0
    """Edge-triggered backends: bits (hang-up, error, urgent data) after which a short read proves nothing."""

    @abstractmethod
    def open(self) -> None:
        """Make the kernel state. Called by the loop's constructor, and again in a child after ``fork``.

        :raises OSError: the system refuses; then nothing is open.
        """

    @abstractmethod
    def close(self, forked: bool) -> None:
        """Give back the kernel state.

        :param forked: the process is a child, and the parent still uses what the kernel shares between the two. The
            thread that the backend belonged to may have been left behind in the middle of a ``poll``.
        """

    @abstractmethod
    def poll(self, timeout: float) -> Iterable[tuple[int, int]]:
        """Wait for events once, with the GIL released. Return early, with nothing, after :meth:`wake` or a signal.

        :param timeout: seconds; 0 only looks, a negative number waits without limit.
        :returns: (descriptor, event bits) pairs.
        """

    @abstractmethod
    def arm(self, fd: int, events: int) -> None:
        """Report ``events`` (:data:`READ`, :data:`WRITE`, both, or 0 for none) of ``fd`` from now on.

        If they are armed already, tell the kernel again: the number may be that of another file by now. An
        edge-triggered backend also gets :data:`LEVEL` where a descriptor needs that.

        :raises OSError: EBADF for a closed descriptor, EPERM for one that cannot be polled (a regular file).
        """

    @abstractmethod
    def forget(self, fd: int) -> None:
        """``fd`` is about to be closed, or was: drop all that is known of it. Never raises for an unknown one."""

    def wake(self) -> bool:
        """Make the ``poll`` that waits return, or else the next one. From any thread.

        :returns: False if the backend has no means of its own: then the loop writes to a descriptor that it watches.
        """
        return False

    def take_over(self) -> None:  # noqa: B027  # most have nothing to do for it
        """From now on the backend belongs to the calling thread, which is going to close it.

        :raises InvalidThreadUseError: the backend is in the middle of a call.
        """


class Loop(ABC):
    """An event loop, as users see it."""

    ready: deque[Callable[[], Any]]
    """The run queue."""
    error_handler: Any
    """The object that is told of failures, by ``handle_error(context, type, value, traceback)``; or None."""

    @property
    @abstractmethod
    def backend(self) -> Any:
        """The :class:`Backend` that the loop holds."""

    @abstractmethod
    def run(self, nowait: bool = False, once: bool = False) -> None:
        """Take turns until nothing is left or :meth:`break_` is called.

        :param nowait: take one turn, that does not wait.
        :param once: take one turn, that may wait.
        """

    @abstractmethod
    def break_(self) -> None:
        """End :meth:`run` after the current turn."""

    @abstractmethod
    def destroy(self) -> None:
        """Close every descriptor of the loop. Idempotent; everything after it raises LoopDestroyed."""

    @abstractmethod
    def reinit(self) -> None:
        """In the child after ``fork``: forget everything of the parent and start clean."""

    @abstractmethod
    def run_callback(self, callback: Callable[..., Any], *args: Any) -> Callback:
        """Call ``callback(*args)`` on the hub soon, after what is queued already."""

    @abstractmethod
    def run_callback_threadsafe(self, callback: Callable[..., Any], *args: Any) -> Callback:
        """:meth:`run_callback` from any thread: wakes the loop if it is waiting."""

    @abstractmethod
    def io(self, fd: int, events: int, ref: bool = True, priority: int = 0) -> Watcher:
        """Watch a descriptor, level-triggered. ``events``: :data:`READ`, :data:`WRITE` or both."""

    @abstractmethod
    def timer(self, after: float, repeat: float = 0.0, ref: bool = True, priority: int = 0) -> Watcher:
        """Call back after ``after`` seconds, then every ``repeat`` seconds if that is not 0."""

    @abstractmethod
    def signal(self, signalnum: int, ref: bool = True, priority: int = 0) -> Watcher:
        """Watch a signal (:manpage:`signal(7)`), in the main thread."""

    @abstractmethod
    def child(self, pid: int, trace: int = 0, ref: bool = True) -> Watcher:
        """Watch for the end of a child process."""

    @abstractmethod
    def async_(self, ref: bool = True, priority: int = 0) -> Watcher:
        """A watcher whose ``send`` other threads may call."""

    @abstractmethod
    def wake(self) -> None:
        """Make a waiting loop take a turn. From any thread."""

    @abstractmethod
    def now(self) -> float:
        """:func:`time.monotonic`, in seconds, as the loop read it at the last poll or :meth:`update_now`."""

    @abstractmethod
    def update_now(self) -> float:
        """Read the clock; returns the new :meth:`now`."""


class Resolver(ABC):
    """Does lookups. Results, arguments and errors are exactly those of the :mod:`socket` functions."""

    @abstractmethod
    def getaddrinfo(
        self, host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[AddressInfo]:
        """:func:`socket.getaddrinfo`."""

    @abstractmethod
    def gethostbyname(self, hostname: Any) -> str:
        """:func:`socket.gethostbyname`."""

    @abstractmethod
    def gethostbyname_ex(self, hostname: Any) -> tuple[str, list[str], list[str]]:
        """:func:`socket.gethostbyname_ex`."""

    @abstractmethod
    def gethostbyaddr(self, ip_address: Any) -> tuple[str, list[str], list[str]]:
        """:func:`socket.gethostbyaddr`."""

    @abstractmethod
    def getnameinfo(self, sockaddr: Address, flags: int) -> tuple[str, str]:
        """:func:`socket.getnameinfo`."""

    @abstractmethod
    def getfqdn(self, name: str = "") -> str:
        """:func:`socket.getfqdn`."""

    @abstractmethod
    def close(self) -> None:
        """Give back what the resolver holds. It may be used again: it then starts anew."""

    @abstractmethod
    def reinit(self) -> None:
        """Called in the child after ``fork``: make the resolver work there."""


class Patch(Protocol):
    """How one module of the standard library is made cooperative. Declared by entry point in ``hubbub.patches``.

    A patch may also have a method ``installed()``. It is called after its replacements are set, and returns a function
    that undoes what it did beside them, or None.
    """

    module: str
    """The module that is patched."""
    requires: tuple[str, ...]
    """Patches (by module name) that must be applied before this one, if they are wanted at all."""

    def replacements(self) -> dict[str, dict[str, Any]]:
        """What to set: ``{module name: {attribute: new value}}``. The originals are kept by the patcher.

        Attributes of a class are named with a dot: ``{"ssl": {"SSLContext.sslsocket_class": ...}}``.
        """
