"""``gevent.config``: gevent's settings, read from its environment variables and handed on to hubbub."""

from __future__ import annotations

import os
from collections.abc import Callable
from pprint import saferepr
from typing import Any

import hubbub
from hubbub import plugins

__all__ = ["Config", "config"]

_LOOPS = {
    "libev-cext": "libev",
    "libev-cffi": "libev",
    "libev": "libev",
    "libuv-cffi": "libuv",
    "libuv": "libuv",
    "stdlib": "stdlib",
}
_RESOLVERS = {"thread": "thread", "dnspython": "dnspython", "ares": "ares", "block": "block"}


def validate_bool(value: Any) -> bool:
    """A truth value from text: 1, yes, on, true; 0, no, off, false, or nothing."""
    if isinstance(value, str):
        word = value.lower().strip()
        if word in ("1", "true", "on", "yes"):
            return True
        if word in ("0", "false", "off", "no", ""):
            return False
        raise ValueError(f"Invalid boolean string: {value!r}")
    return bool(value)


def _number(value: Any) -> float | None:
    return None if value in (None, "") else float(value)


def _bytes(value: Any) -> int | None:
    """A number of bytes; kb, mb and gb may follow it."""
    if not isinstance(value, str):
        return None if value is None else int(value)
    text = value.strip().lower()
    for suffix, factor in (("kb", 1 << 10), ("mb", 1 << 20), ("gb", 1 << 30)):
        if text.endswith(suffix):
            return int(text[:-2]) * factor
    return int(text) if text else None


def _as_is(value: Any) -> Any:
    return value


def _names(value: Any) -> Any:
    return [name.strip() for name in value.split(",")] if isinstance(value, str) else value


_Reader = Callable[[Any], Any]
_SETTINGS: dict[str, tuple[str, Any, _Reader]] = {
    "resolver": ("GEVENT_RESOLVER", ["thread", "dnspython", "ares", "block"], _names),
    "threadpool": ("GEVENT_THREADPOOL", "gevent.threadpool.ThreadPool", _as_is),
    "threadpool_idle_task_timeout": ("GEVENT_THREADPOOL_IDLE_TASK_TIMEOUT", 5.0, _number),
    "loop": ("GEVENT_LOOP", ["libev-cext", "libev-cffi", "libuv-cffi"], _names),
    "libev_backend": ("GEVENT_BACKEND", None, _as_is),
    "format_context": ("GEVENT_FORMAT_CONTEXT", saferepr, _as_is),
    "fileobject": ("GEVENT_FILE", "posix", _as_is),
    "disable_watch_children": ("GEVENT_NOWAITPID", False, validate_bool),
    "trace_malloc": ("PYTHONTRACEMALLOC", False, validate_bool),
    "track_greenlet_tree": ("GEVENT_TRACK_GREENLET_TREE", True, validate_bool),
    "monitor_thread": ("GEVENT_MONITOR_THREAD_ENABLE", False, validate_bool),
    "max_blocking_time": ("GEVENT_MAX_BLOCKING_TIME", 0.1, _number),
    "print_blocking_reports": ("GEVENT_MONITOR_PRINT_BLOCKING_REPORTS", True, validate_bool),
    "memory_monitor_period": ("GEVENT_MONITOR_MEMORY_PERIOD", 5, _number),
    "max_memory_usage": ("GEVENT_MONITOR_MEMORY_MAX", None, _bytes),
    "resolver_nameservers": ("GEVENT_RESOLVER_NAMESERVERS", None, _as_is),
    "resolver_timeout": ("GEVENT_RESOLVER_TIMEOUT", None, _number),
    "ares_flags": ("GEVENTARES_FLAGS", None, _as_is),
    "ares_timeout": ("GEVENTARES_TIMEOUT", None, _as_is),
    "ares_tries": ("GEVENTARES_TRIES", None, _as_is),
    "ares_ndots": ("GEVENTARES_NDOTS", None, _as_is),
    "ares_udp_port": ("GEVENTARES_UDP_PORT", None, _as_is),
    "ares_tcp_port": ("GEVENTARES_TCP_PORT", None, _as_is),
    "ares_servers": ("GEVENTARES_SERVERS", None, _as_is),
}


class Config:
    """One attribute per setting, read once from the environment; all may be assigned."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in _SETTINGS:
            raise AttributeError(f"gevent.config, which is hubbub's, has no setting {name!r}")
        if name not in self._values:
            variable, default, read = _SETTINGS[name]
            given = os.environ.get(variable)
            self._values[name] = read(given) if given is not None else default
            if name in ("loop", "resolver"):
                return self._class_of(name)
        elif name in ("loop", "resolver"):
            return self._class_of(name)
        return self._values[name]

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            super().__setattr__(name, value)
            return
        if name not in _SETTINGS:
            raise AttributeError(f"gevent.config, which is hubbub's, has no setting {name!r}")
        self._values[name] = _SETTINGS[name][2](value)
        if name in ("loop", "resolver"):
            self.apply(name)

    def set(self, name: str, value: Any) -> None:
        """The same as assigning."""
        setattr(self, name, value)

    def _class_of(self, name: str) -> Any:
        choice = self._chosen(name)
        if not isinstance(choice, str):
            return choice
        return plugins.load(plugins.LOOPS if name == "loop" else plugins.RESOLVERS, choice)

    def _chosen(self, name: str) -> Any:
        """hubbub's name for the first choice that is installed."""
        value = self._values.get(name, _SETTINGS[name][1])
        if not isinstance(value, (list, tuple)):
            return value
        table, group = (_LOOPS, plugins.LOOPS) if name == "loop" else (_RESOLVERS, plugins.RESOLVERS)
        installed = plugins.names(group)
        for item in value:
            if not isinstance(item, str):
                return item
            if table.get(item, item) in installed:
                return table.get(item, item)
        return table.get(value[0], value[0])

    def apply(self, name: str) -> None:
        """Hand the setting on to hubbub."""
        hubbub.configure(**{name: self._chosen(name)})

    def apply_environment(self) -> None:
        """Hand on what gevent's variables say, where they say anything."""
        for name in ("loop", "resolver"):
            given = os.environ.get(_SETTINGS[name][0])
            if given:
                self._values[name] = _names(given)
                self.apply(name)


config = Config()
config.apply_environment()
