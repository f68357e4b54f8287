"""How ``socket``, ``ssl``, ``select`` and ``selectors`` are made cooperative: entry points of ``hubbub.patches``.

The lookup of names is a patch of its own, so that it can be left out.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from hubbub.patches import ModulePatch

__all__ = ["select", "selectors", "socket", "ssl"]

_SELECTOR_USERS = {
    "multiprocessing.connection": ("_WaitSelector",),
    "socketserver": ("_ServerSelector",),
    "subprocess": ("_PopenSelector",),
}
"""Modules that choose their selector class when they are imported."""


def _taken(module: str, names: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Those of ``names`` that ``module`` has, with their values in the cooperative module of the same name."""
    ours = importlib.import_module(f"hubbub_net.{module}")
    theirs = importlib.import_module(module)
    return {module: {name: getattr(ours, name) for name in names if hasattr(theirs, name)}}


def _socket() -> dict[str, dict[str, Any]]:
    return _taken("socket", ("create_connection", "create_server", "fromfd", "fromshare", "socket", "socketpair"))


def _ssl() -> dict[str, dict[str, Any]]:
    from hubbub_net.socket import create_connection
    from hubbub_net.ssl import SSLSocket

    # The class SSLSocket in the module is not replaced: its own methods look it up there.
    return {"ssl": {"SSLContext.sslsocket_class": SSLSocket, "create_connection": create_connection}}


def _select() -> dict[str, dict[str, Any]]:
    return _taken("select", ("epoll", "kqueue", "poll", "select"))


def _selectors() -> dict[str, dict[str, Any]]:
    names = ("Devpoll", "Epoll", "Kqueue", "Poll", "Select", "Default")
    replaced = _taken("selectors", tuple(f"{name}Selector" for name in names))
    for module, attributes in _SELECTOR_USERS.items():
        loaded = sys.modules.get(module)
        for attribute in attributes:
            chosen = getattr(loaded, attribute, None)
            if chosen is not None and chosen.__name__ in replaced["selectors"]:
                replaced.setdefault(module, {})[attribute] = replaced["selectors"][chosen.__name__]
    return replaced


socket: ModulePatch = ModulePatch("socket", _socket)
ssl: ModulePatch = ModulePatch("ssl", _ssl, requires=("socket",))
select: ModulePatch = ModulePatch("select", _select)
selectors: ModulePatch = ModulePatch("selectors", _selectors, requires=("select",))
