"""gevent's loop: any of hubbub's, with the additional names of gevent's."""

from __future__ import annotations

import time
from functools import cache
from typing import Any

from hubbub.lowlevel import BaseLoop

from hubbub_gevent import _watchers

__all__ = ["loop_class"]

_MODULES = {"libev": "gevent.libev.corecext", "libuv": "gevent.libuv.loop"}
_RESOLUTIONS = {"libuv": 0.001}
_BACKENDS = {"select": 1, "poll": 2, "epoll": 4, "kqueue": 8}
"""libev's numbers of backends, which programs compare."""


_EFFECTLESS = {"forkcheck", "noenv", "noinotify", "nosigmask", "signalfd"}
"""Flags of libev that have no effect on hubbub's loops."""


def _backend(flags: Any) -> str:
    """The backends that libev's flags choose: names separated by commas."""
    if isinstance(flags, int):
        return ",".join(name for name, number in _BACKENDS.items() if flags & number)
    names = flags.split(",") if isinstance(flags, str) else flags
    return ",".join(name for name in (name.strip().lower() for name in names) if name not in _EFFECTLESS)


class GeventLoop(BaseLoop):
    """What gevent's loops have beyond hubbub's."""

    MINPRI: int = -2
    MAXPRI: int = 2
    backend_class: Any = None
    """The class of its backend; None for a loop that has a backend of its own."""

    WatcherType = _watchers.WatcherType
    origflags = ()
    origflags_int = 0
    sig_pending = 0
    approx_timer_resolution = 1e-05
    default: Any = False
    error_handler: Any = None

    def __init__(self, flags: Any = None, default: bool | None = None, ptr: int = 0) -> None:
        """Open a loop.

        :param flags: the system calls that libev may use: names, or the sum of libev's numbers. Other loops ignore it.
        :param default: whether it is the default loop; None: it is.
        :param ptr: ignored; in gevent a structure of libev.
        :raises ValueError: libev does not know a name, or was built without that system call.
        """
        options = {"interface": _backend(flags)} if self.name == "libev" and flags else {}
        backend = () if self.backend_class is None else (self.backend_class(**options),)
        init: Any = super().__init__
        init(*backend, default=default is None or bool(default))

    def handle_error(self, context: Any, type: Any, value: Any, tb: Any) -> None:
        """A callback failed: tell the hub."""
        super().handle_error(context, type, value, tb)

    @property
    def backend(self) -> Any:
        """The name of the system call that is used, such as ``epoll``."""
        return getattr(super().backend, "interface", "default")

    def fileno(self) -> int:
        """The descriptor of the kernel interface, or -1."""
        fileno = getattr(super().backend, "fileno", None)
        return -1 if fileno is None else int(fileno())

    def verify(self) -> None:
        """Check that the structures of the loop agree with one another, if the loop can."""
        verify = getattr(super().backend, "verify", None)
        if verify is not None:
            verify()

    @property
    def backend_int(self) -> int:
        """libev's number of the system call that is used; 0 if it has none."""
        return _BACKENDS.get(self.backend, 0)

    @property
    def pendingcnt(self) -> int:
        """How many calls are in the run queue."""
        return len(self.ready)

    @property
    def activecnt(self) -> int:
        """How many watchers are active."""
        return self.refs + len(self.holders) + self.timer_count()

    def ref(self) -> None:
        """One more reason for the loop to go on."""
        self.refs += 1

    def unref(self) -> None:
        """Undo :meth:`ref`."""
        self.refs -= 1

    def update(self) -> None:
        """The older name of ``update_now``."""
        self.update_now()

    def closing_fd(self, fd: int) -> bool:
        """``fd`` is about to be closed: wake the greenlets and call the watchers that wait for it.

        :returns: whether any waited.
        """
        known = fd in self.handles
        self.descriptor_closing(fd)
        return known

    # Watchers -------------------------------------------------------------------------------------------------------

    def io(self, fd: int, events: int, ref: bool = True, priority: int | None = None) -> Any:
        """Watch a descriptor."""
        return _watchers.io(self, fd, events, ref, priority or 0)

    def timer(self, after: float, repeat: float = 0.0, ref: bool = True, priority: int | None = None) -> Any:
        """Call back after ``after`` seconds."""
        return _watchers.timer(self, after, repeat, ref, priority or 0)

    def signal(self, signum: int, ref: bool = True, priority: int | None = None) -> Any:
        """Watch a signal."""
        return _watchers.signal(self, signum, ref, priority or 0)

    def child(self, pid: int, trace: int = 0, ref: bool = True) -> Any:
        """Watch for the end of a child process."""
        return _watchers.child(self, pid, trace, ref)

    def async_(self, ref: bool = True, priority: int | None = None) -> Any:
        """Make a watcher by which other threads wake the loop."""
        return _watchers.async_(self, ref, priority or 0)

    def idle(self, ref: bool = True, priority: int | None = None) -> Any:
        """Call back in turns that have nothing else to do."""
        return _watchers.idle(self, ref, priority or 0)

    def prepare(self, ref: bool = True, priority: int | None = None) -> Any:
        """Call back before each poll."""
        return _watchers.prepare(self, ref, priority or 0)

    def check(self, ref: bool = True, priority: int | None = None) -> Any:
        """Call back after each poll."""
        return _watchers.check(self, ref, priority or 0)

    def fork(self, ref: bool = True, priority: int | None = None) -> Any:
        """Call back in the child after a fork."""
        return _watchers.fork(self, ref, priority or 0)

    def stat(self, path: Any, interval: float = 0.0, ref: bool = True, priority: int | None = None) -> Any:
        """Watch a path's status."""
        return _watchers.stat(self, path, interval, ref, priority or 0)


setattr(GeventLoop, "async", GeventLoop.async_)


class _WallClock(GeventLoop):
    """A loop whose clock is the time of day, as libev's is."""

    def now(self) -> float:
        """Seconds since 1970, as of the last poll."""
        return self.time + (time.time() - time.monotonic())


@cache
def loop_class(backend: Any) -> Any:
    """The loop class with gevent's names for one of hubbub's backends or loops; the same class each time."""
    if issubclass(backend, GeventLoop):
        return backend
    extras = _WallClock if backend.name == "libev" else GeventLoop
    names = {
        "__module__": _MODULES.get(backend.name, backend.__module__),
        "__doc__": backend.__doc__,
        "name": backend.name,
        "approx_timer_resolution": _RESOLUTIONS.get(backend.name, GeventLoop.approx_timer_resolution),
    }
    if issubclass(backend, BaseLoop):
        return type("loop", (extras, backend), names)
    for name, source in (("version", "version"), ("backends", "interfaces")):
        if hasattr(backend, source):
            names[name] = staticmethod(getattr(backend, source))
    return type("loop", (extras,), names | {"backend_class": backend})
