"""gevent.backdoor on hubbub: a Python prompt for every client that connects. There is no password."""

from __future__ import annotations

import builtins
import sys
from code import InteractiveConsole
from typing import Any

from greenlet import getcurrent

from hubbub_gevent.greenlet import Greenlet
from hubbub_gevent.server import StreamServer

__all__ = [
    "BackdoorServer",
]


class _Streams:
    """Standard input and output, separate for the greenlet of each session."""

    def __init__(self, original: Any) -> None:
        self.original = original
        self.sessions: dict[Any, Any] = {}

    def __getattr__(self, name: str) -> Any:
        if not self.sessions:
            return getattr(self.original, name)
        try:
            mine = self.sessions.get(getcurrent(), self.original)
        except RuntimeError:  # the interpreter is exiting, and greenlets do not work any more
            mine = self.original
        return getattr(mine, name)


class _Console(InteractiveConsole):
    def __init__(self, stream: Any, names: dict[str, Any]) -> None:
        super().__init__(names)
        self._stream = stream

    def write(self, data: str) -> None:
        """Send text to the client."""
        self._stream.write(data)
        self._stream.flush()

    def raw_input(self, prompt: str = "") -> str:
        """Read a line from the client.

        :raises EOFError: the client is gone.
        """
        self.write(prompt)
        line: str = self._stream.readline()
        if not line:
            raise EOFError
        return line.rstrip("\r\n")


class BackdoorServer(StreamServer):
    """A Python prompt per connection.

    :param locals: names at the prompt.
    :param banner: the greeting.
    """

    def __init__(self, listener: Any, locals: Any = None, banner: str | None = None, **server_args: Any) -> None:
        super().__init__(listener, spawn=Greenlet.spawn, **server_args)
        self.locals: dict[str, Any] = {"__doc__": None, "__name__": "__console__", **(locals or {})}
        self.banner = banner

    def handle(self, conn: Any, _address: Any) -> None:
        """Serve one session."""
        stream = conn.makefile("rw", encoding="utf-8", newline="\n")
        if not isinstance(sys.stdout, _Streams):
            sys.stdout = _Streams(sys.stdout)
        streams = sys.stdout
        streams.sessions[getcurrent()] = stream
        names = dict(self.locals)
        names["__builtins__"] = names["builtins"] = builtins
        try:
            _Console(stream, names).interact(banner=self.banner, exitmsg="")
        except (SystemExit, OSError):
            pass  # ends the session only
        finally:
            streams.sessions.pop(getcurrent(), None)
            if not streams.sessions and sys.stdout is streams:
                sys.stdout = streams.original
            try:
                stream.close()
            except OSError:
                pass  # the client is gone

    def do_close(self, sock: Any, *args: Any) -> None:
        """Close the connection."""
        sock.close()


def main() -> None:
    """``python -m gevent.backdoor PORT``."""
    if len(sys.argv) != 2:
        sys.exit("USAGE: python -m gevent.backdoor PORT")
    BackdoorServer(("127.0.0.1", int(sys.argv[1])), locals={"hello": "world"}).serve_forever()


if __name__ == "__main__":
    main()
