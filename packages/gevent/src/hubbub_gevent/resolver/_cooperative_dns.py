"""The facade's own copy of dnspython, whose queries wait cooperatively though nothing is patched."""

from __future__ import annotations

import importlib
import sys
from functools import cache
from types import ModuleType

__all__ = ["cooperative_dns"]

_REPLACED = ("select", "selectors", "socket", "ssl", "time")
"""Modules that dnspython takes from this package instead of the standard library."""
_LOADED = ("message", "name", "query", "rdata", "resolver", "reversename", "tsigkeyring", "update", "zone")


@cache
def cooperative_dns() -> ModuleType:
    """The copy of the package ``dns``, the same each time.

    While the copy is loaded, :data:`sys.modules` has the cooperative modules under the standard names. No greenlet
    switches meanwhile; other native threads must not import dnspython or what it needs for the first time then.

    :raises ImportError: dnspython is not installed.
    """
    _load()  # this also loads what dnspython needs, which must get the standard modules
    mine = {name: importlib.import_module(f"hubbub_gevent.{name}") for name in _REPLACED}
    public = {name: sys.modules.pop(name) for name in list(sys.modules) if _is_dns(name)}
    standard = {name: sys.modules[name] for name in _REPLACED if name in sys.modules}
    sys.modules.update(mine)
    try:
        dns = _load()
        # A type that is loaded later would import the public modules, as the names mean those again.
        sys.modules["dns.rdata"].load_all_types()
        return dns
    finally:
        for name in [name for name in sys.modules if name in _REPLACED or _is_dns(name)]:
            del sys.modules[name]
        sys.modules.update(standard)
        sys.modules.update(public)


def _load() -> ModuleType:
    for name in _LOADED:
        importlib.import_module(f"dns.{name}")
    return sys.modules["dns"]


def _is_dns(name: str) -> bool:
    return name.partition(".")[0] == "dns"
