"""Requests for a WebSocket, with the package for them or without."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from hubbub_server.http.exchange import Exchange

__all__ = ["serve_websocket"]


def serve_websocket(exchange: Exchange, server: Any) -> None:
    """Have ``server.serve_request`` respond to a request that asks for a WebSocket, with
    ``environ["hubbub.websocket"]``; close that when the application has returned."""
    respond = partial(server.serve_request, exchange)
    try:
        from hubbub_server.websocket.upgrade import serve_upgrade  # not loaded before it is needed
    except ModuleNotFoundError as error:
        if error.name != "wsproto":
            raise
        exchange.environ["hubbub.websocket"] = _Missing()
        respond()
    else:
        serve_upgrade(exchange, server, respond)


class _Missing:
    """Stands in ``environ["hubbub.websocket"]`` where WebSockets cannot be served."""

    subprotocols = ()

    def __call__(self, *_: Any, **__: Any) -> NoReturn:
        raise ModuleNotFoundError(
            "WebSockets need wsproto, which is not installed: pip install hubbub-server[websocket]", name="wsproto"
        )
