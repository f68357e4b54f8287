"""A live feed over WebSocket: ``python feed.py``, then open http://127.0.0.1:8000 in several windows.

One greenlet makes the news, and gives each piece to all clients without waiting for any. A client that does not keep
up is closed, so that nobody is held up and no memory fills.
"""

import argparse
import json
import random
from collections.abc import Callable, Iterable
from typing import Any

import hubbub
from hubbub_server import WSGIServer
from hubbub_server.websocket import WebSocket, broadcast, check_origin

PAGE = """<!doctype html><meta charset="utf-8"><title>Feed</title><h1 id="price">…</h1><p id="state"></p>
<script>
const socket = new WebSocket(location.href.replace(/^http/, "ws") + "feed");
const show = (id, text) => document.getElementById(id).textContent = text;
socket.onmessage = event => { const news = JSON.parse(event.data); show("price", news.price);
                              show("state", `${news.clients} are watching`) };
socket.onclose = event => show("state", `closed: ${event.code} ${event.reason}`);
</script>"""
TRY_AGAIN = 1013  # the close code for: too slow just now


class Feed:
    """A price that changes, and those who watch it."""

    def __init__(self) -> None:
        self.clients: set[WebSocket] = set()
        self.price = 100.0

    def run(self, seconds: float) -> None:
        """Tell everybody a new price, every ``seconds``."""
        while True:
            hubbub.sleep(seconds)
            self.price *= random.uniform(0.99, 1.01)
            news = {"price": round(self.price, 2), "clients": len(self.clients)}
            for slow in broadcast(self.clients, json.dumps(news)):
                self.clients.discard(slow)
                slow.close(TRY_AGAIN, "too slow", wait=False)

    def serve(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """The WSGI application: the page, and the feed for it."""
        if "hubbub.websocket" not in environ:
            start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
            return [PAGE.encode()]
        check_origin(environ)  # only our own page may watch
        client = environ["hubbub.websocket"]()
        self.clients.add(client)
        try:
            client.wait_closed()
        finally:
            self.clients.discard(client)
        return []


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bind", default="127.0.0.1:8000")
    parser.add_argument("--seconds", type=float, default=1.0, help="between two pieces of news")
    options = parser.parse_args()
    feed = Feed()
    hubbub.spawn(feed.run, options.seconds)
    WSGIServer(options.bind, feed.serve, log=None).serve_forever()
