"""``gevent.config``: gevent's settings. Each is read from its environment variable when first asked for."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from pprint import saferepr
from typing import Any

from hubbub import lowlevel, plugins
from hubbub.exceptions import PluginError

from hubbub_gevent._loop import loop_class

__all__ = ["Config", "Setting", "config"]


# What a value may be --------------------------------------------------------------------------------------------------


def validate_bool(value: Any) -> bool:
    """A truth value from text: 1, yes, on, true; 0, no, off, false, or empty."""
    if isinstance(value, str):
        word = value.lower().strip()
        if word in ("1", "true", "on", "yes"):
            return True
        if word in ("0", "false", "off", "no", ""):
            return False
        raise ValueError(f"Invalid boolean string: {value!r}")
    return bool(value)


def validate_anything(value: Any) -> Any:
    """Return the value unchanged."""
    return value


def validate_invalid(value: Any) -> Any:
    """:raises ValueError: always."""
    raise ValueError(f"Not a valid value: {value!r}")


def convert_str_value_as_is(value: str) -> str:
    """Return the text unchanged."""
    return value


def _positive(value: Any) -> float | None:
    if value in (None, ""):
        return None
    number = float(value)
    if number <= 0:
        raise ValueError("Must be positive")
    return number


def _at_least_two(value: Any) -> float | None:
    number = _positive(value)
    return number if number is None else max(number, 1.0)


def _integer(value: Any) -> int | None:
    return None if value in (None, "") else int(value)


def _bytes(value: Any) -> int | None:
    """A number of bytes from a number that kb, mb or gb may follow."""
    if not isinstance(value, str):
        return None if value is None else int(value)
    text = value.strip().lower()
    for suffix, factor in (("kb", 1 << 10), ("mb", 1 << 20), ("gb", 1 << 30)):
        if text.endswith(suffix):
            return int(text[:-2]) * factor
    return int(text) if text else None


def _list(value: Any) -> Any:
    return [item.strip() for item in value.split(",")] if isinstance(value, str) else value


def _imported(value: Any, known: dict[str, str]) -> Any:
    """The first of one or several names, dotted paths or objects that can be imported.

    :param known: short names and the paths that they stand for.
    :raises ImportError: none can be imported.
    """
    if isinstance(value, str) and "," in value:
        value = value.split(",")
    if not isinstance(value, (list, tuple)):
        return _import(value, known)
    error: Exception = ImportError("nothing was named")
    for item in value:
        try:
            return _import(item, known)
        except (ImportError, PluginError) as failure:
            error = failure
    raise error


def _import(name: Any, known: dict[str, str]) -> Any:
    if not isinstance(name, str):
        return name
    path = known.get(name.strip(), name.strip())
    if path.startswith("hubbub.loops:"):
        return loop_class(plugins.load(plugins.LOOPS, path.partition(":")[2]))
    module, _, attribute = path.rpartition(".")
    if not module:
        raise ImportError(
            f"Cannot import {name!r}. Required format: [package.]module.class. Or choose from {sorted(known)}"
        )
    try:
        return getattr(importlib.import_module(module), attribute)
    except AttributeError as error:
        raise ImportError(f"Cannot import {name!r}: {error}") from None


_LOOPS = {
    "libev-cext": "hubbub.loops:libev",
    "libev-cffi": "hubbub.loops:libev",
    "libev": "hubbub.loops:libev",
    "libuv-cffi": "hubbub.loops:libuv",
    "libuv": "hubbub.loops:libuv",
    "stdlib": "hubbub.loops:stdlib",
}
_RESOLVERS = {
    "thread": "hubbub_gevent.resolver.thread.Resolver",
    "dnspython": "hubbub_gevent.resolver.dnspython.Resolver",
    "ares": "hubbub_gevent.resolver.ares.Resolver",
    "block": "hubbub_gevent.resolver.blocking.Resolver",
}
_FILES = {
    "posix": "hubbub_gevent.fileobject.FileObjectPosix",
    "thread": "hubbub_gevent.fileobject.FileObjectThread",
    "block": "hubbub_gevent.fileobject.FileObjectBlock",
}


def _loop(value: Any) -> Any:
    return loop_class(lowlevel.loop_class()) if value is None else _imported(value, _LOOPS)


def _resolver(value: Any) -> Any:
    return _imported(value, _RESOLVERS)


def _file(value: Any) -> Any:
    return _imported(value, _FILES)


def _object(value: Any) -> Any:
    return _imported(value, {})


# The settings ---------------------------------------------------------------------------------------------------------


class Setting:
    """One setting: an attribute of :class:`Config`.

    :param environment_key: its environment variable.
    :param default: used if the variable is not set; a string or list is converted as the variable's value is.
    :param validate: converts what was given into a value; raises ValueError or ImportError.
    """

    def __init__(self, environment_key: str, default: Any, validate: Callable[[Any], Any], desc: str) -> None:
        self.environment_key = environment_key
        self.default = default
        self.validate = validate
        self.desc = desc
        self.name: str = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        values = vars(instance)["_values"]
        if self.name not in values:
            given = os.environ.get(self.environment_key)
            value = self.validate(self.default if given is None else given)
            if given is None and value is not None and self.name == "loop":
                return value  # hubbub.configure() may still choose another
            values[self.name] = value
        return values[self.name]

    def __set__(self, instance: Any, value: Any) -> None:
        vars(instance)["_values"][self.name] = self.validate(value)


class Config:
    """gevent's settings. All may be assigned; a new value applies to objects that are made later."""

    resolver: Setting = Setting(
        "GEVENT_RESOLVER", os.environ.get("HUBBUB_RESOLVER") or "thread", _resolver, "Who looks up names."
    )
    threadpool: Setting = Setting(
        "GEVENT_THREADPOOL", "hubbub_gevent.threadpool.ThreadPool", _object, "The class of thread pools."
    )
    threadpool_idle_task_timeout: Setting = Setting(
        "GEVENT_THREADPOOL_IDLE_TASK_TIMEOUT", 5.0, _positive, "Seconds after which an idle thread of the pool ends."
    )
    loop: Setting = Setting("GEVENT_LOOP", None, _loop, "The event loop.")
    libev_backend: Setting = Setting("GEVENT_BACKEND", None, validate_anything, "What libev asks the kernel with.")
    format_context: Setting = Setting(
        "GEVENT_FORMAT_CONTEXT", saferepr, _object, "A function that shows what failed in a report of an error."
    )
    fileobject: Setting = Setting("GEVENT_FILE", "posix", _file, "The class behind gevent.fileobject.FileObject.")
    disable_watch_children: Setting = Setting("GEVENT_NOWAITPID", False, validate_bool, "Leave child processes alone.")
    trace_malloc: Setting = Setting("PYTHONTRACEMALLOC", None, validate_anything, "Python's own.")
    track_greenlet_tree: Setting = Setting(
        "GEVENT_TRACK_GREENLET_TREE", True, validate_bool, "Whether greenlets know who spawned them."
    )
    monitor_thread: Setting = Setting(
        "GEVENT_MONITOR_THREAD_ENABLE", False, validate_bool, "Whether each hub is watched."
    )
    max_blocking_time: Setting = Setting(
        "GEVENT_MAX_BLOCKING_TIME", 0.1, _positive, "Seconds that a greenlet may run before it is reported."
    )
    print_blocking_reports: Setting = Setting(
        "GEVENT_MONITOR_PRINT_BLOCKING_REPORTS", True, validate_bool, "Whether such reports are printed."
    )
    memory_monitor_period: Setting = Setting(
        "GEVENT_MONITOR_MEMORY_PERIOD", 5.0, _at_least_two, "Seconds between two looks at the memory in use."
    )
    max_memory_usage: Setting = Setting(
        "GEVENT_MONITOR_MEMORY_MAX", None, _bytes, "How many bytes may be in use; kb, mb or gb may follow."
    )
    resolver_nameservers: Setting = Setting("GEVENT_RESOLVER_NAMESERVERS", None, _list, "Name servers, with commas.")
    resolver_timeout: Setting = Setting(
        "GEVENT_RESOLVER_TIMEOUT", None, _positive, "Seconds to wait for a name server."
    )
    ares_flags: Setting = Setting("GEVENTARES_FLAGS", None, _integer, "c-ares' flags.")
    ares_timeout: Setting = Setting("GEVENTARES_TIMEOUT", None, _positive, "Use GEVENT_RESOLVER_TIMEOUT.")
    ares_tries: Setting = Setting("GEVENTARES_TRIES", None, _integer, "How often each name server is asked.")
    ares_ndots: Setting = Setting("GEVENTARES_NDOTS", None, _integer, "How many dots make a name complete.")
    ares_udp_port: Setting = Setting("GEVENTARES_UDP_PORT", None, _integer, "The name servers' port.")
    ares_tcp_port: Setting = Setting("GEVENTARES_TCP_PORT", None, _integer, "The name servers' port for TCP.")
    ares_servers: Setting = Setting("GEVENTARES_SERVERS", None, _list, "Use GEVENT_RESOLVER_NAMESERVERS.")

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"gevent.config, which is hubbub's, has no setting {name!r}; "
            "if gevent 26.9.0 has it, please report that to hubbub"
        )

    @property
    def settings(self) -> dict[str, Setting]:
        """All settings by name."""
        return {name: item for name, item in vars(type(self)).items() if isinstance(item, Setting)}

    def set(self, name: str, value: Any) -> None:
        """Assign a setting by its name."""
        setattr(self, name, value)

    def print_help(self) -> None:
        """Print all settings and their environment variables."""
        for name, setting in sorted(self.settings.items()):
            sys.stdout.write(f"{name} ({setting.environment_key})\n    {setting.desc}\n")


config = Config()


def main() -> None:
    """``python -m gevent._config``."""
    config.print_help()


if __name__ == "__main__":
    main()
