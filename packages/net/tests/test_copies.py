"""Copying and pickling: what stands for something of the kernel's or of OpenSSL's can be neither."""

from __future__ import annotations

import copy
import importlib
import pickle
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from hubbub.lowlevel import Hub

MODULES = ("socket", "ssl", "select", "selectors")
WAYS: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{f"pickle-{protocol}": lambda made, protocol=protocol: pickle.dumps(made, protocol) for protocol in range(2, 6)},
}


def objects(prefix: str, stack: ExitStack) -> dict[str, Any]:
    """One of each kind, of the modules whose names begin so."""
    socket, ssl, select, selectors = (importlib.import_module(prefix + name) for name in MODULES)
    listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    one = stack.enter_context(socket.create_connection(listener.getsockname()))
    other = stack.enter_context(socket.create_connection(listener.getsockname()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    subclass = type("Subclass", (ssl.SSLContext,), {})(ssl.PROTOCOL_TLS_SERVER)
    made = {
        "socket": other,
        "closed socket": socket.socket(),
        "SSLSocket": stack.enter_context(context.wrap_socket(one, do_handshake_on_connect=False)),
        "SSLContext": context,
        "default context": ssl.create_default_context(),
        "subclass of SSLContext": subclass,
        "SSLObject": context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO()),
        "MemoryBIO": ssl.MemoryBIO(),
        "binary file": stack.enter_context(other.makefile("rwb")),
        "text file": stack.enter_context(other.makefile("r")),
        "address info": socket.AddressInfo(1),
    }
    made["closed socket"].close()
    for kind in ("poll", "epoll"):
        if hasattr(select, kind):
            made[kind] = getattr(select, kind)()
    for kind in ("SelectSelector", "PollSelector", "EpollSelector", "DefaultSelector"):
        if hasattr(selectors, kind):
            made[kind] = stack.enter_context(getattr(selectors, kind)())
    return made


def outcome(way: Callable[[Any], Any], made: Any) -> str:
    try:
        way(made)
    except Exception as error:
        return type(error).__name__
    return "done"


@pytest.mark.parametrize("way", WAYS)
def test_copies(hub: Hub, way: str) -> None:
    """Each object can be copied and pickled where the standard library's can, and is a TypeError where that is."""
    with ExitStack() as stack:
        theirs, ours = objects("", stack), objects("hubbub_net.", stack)
        expected = {kind: outcome(WAYS[way], made) for kind, made in theirs.items()}
        assert {kind: outcome(WAYS[way], made) for kind, made in ours.items()} == expected
        assert expected["socket"] == expected["SSLSocket"] == "TypeError"
