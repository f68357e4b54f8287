"""The command line's options."""

from __future__ import annotations

import argparse
import dataclasses
import math
import platform
from importlib import metadata
from typing import Any

from hubbub_server._listener import loopback_by_default, parse_address
from hubbub_server._networks import Networks
from hubbub_server.events import EVENT_FORMATS
from hubbub_server.http.accesslog import FORMATS
from hubbub_server.http.forwarded import FIELDS, Forwarding
from hubbub_server.http.limits import Limits

__all__ = ["OptionParser", "limits_of", "make_parser"]

_LIMITS = {
    "request_line": "longest request line, in bytes",
    "header_count": "most header fields of a request",
    "header_bytes": "longest head of a request, in bytes",
    "field_bytes": "longest header field, in bytes; none for no limit but that of the head",
    "body_bytes": "longest body of a request, in bytes; none for no limit",
    "chunk_extension_bytes": "most bytes of chunk extensions in a body",
    "trailer_bytes": "longest trailer section, in bytes",
    "requests_per_connection": "requests after which a connection is closed; none for no limit",
    "discard_bytes": "most of an unread body that is thrown away to keep a connection, in bytes",
    "header_seconds": "time for the head of a request; none for no limit",
    "body_seconds": "time for a body to make progress; none for no limit",
    "body_rate": "bytes per second below which a body has stalled",
    "idle_seconds": "time between two requests of a connection; none for no limit",
    "write_seconds": "time for a response to make progress; none for no limit",
    "write_rate": "bytes per second below which a client does not read",
    "request_seconds": "time to answer a request, after which it is interrupted; none for no limit",
    "websocket_message_bytes": "longest message of a WebSocket, in bytes; none for no limit",
    "websocket_queue_bytes": "bytes of messages that may wait, of each direction of a WebSocket",
    "websocket_ping_seconds": "silence after which a WebSocket's client is sent a ping; none for never",
    "websocket_pong_seconds": "time for a sign of life after that; none for no limit",
    "websocket_close_seconds": "time for the client's part of a closing; none for no limit",
    "concurrent_streams": "most requests of an HTTP/2 connection at a time",
    "stream_window": "most bytes of a body that an HTTP/2 client may send ahead; at least 65535",
    "stream_resets": "requests that an HTTP/2 client may take back, beyond those that are answered",
    "control_frames": "frames of an HTTP/2 client, at once, that bring neither a request nor a body",
    "linger_seconds": "how long a refused client is listened to",
}


class OptionParser(argparse.ArgumentParser):
    """A parser that knows which of its options are settings, which may be given elsewhere too."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.settings: dict[str, argparse.Action] = {}
        """By the names of their attributes."""
        self.repeated: set[str] = set()
        """Those that may be given several times."""

    def add(self, *names: str, to: Any = None, **options: Any) -> None:
        """Add an option that is a setting, to a group ``to`` or to none."""
        action = (self if to is None else to).add_argument(*names, **options)
        self.settings[action.dest] = action
        if options.get("action") == "append":
            self.repeated.add(action.dest)


def make_parser() -> OptionParser:
    """The parser of ``hubbub-serve``."""
    parser = OptionParser(
        prog="hubbub-serve",
        description="Serve a WSGI or ASGI application over HTTP."
        " SIGTERM stops it, SIGHUP reloads, SIGUSR1 opens logs anew.",
    )
    parser.add("application", nargs="?", metavar="module:attribute", help="the application; module alone means :app")
    parser.add("--factory", action="store_true", help="the attribute is a function that makes the application")
    parser.add("--asgi", action="store_true", help="the application is one of ASGI 3 (needs hubbub-asyncio)")
    parser.add(
        "-b",
        "--bind",
        action="append",
        metavar="ADDRESS",
        help="host:port, :port, [v6]:port, port, unix:path or unix:path?mode=660&user=NAME&group=NAME; may be given"
        " several times (default: 127.0.0.1:8000)",
    )
    parser.add("--backlog", type=_natural, default=1024, help="connections the kernel queues (default: 1024)")
    parser.add(
        "--proxy-from",
        action="append",
        type=_networks,
        metavar="NETWORKS",
        help="networks (10.0.0.0/8,::1,unix,*) whose connections begin with a header of the PROXY protocol",
    )
    parser.add(
        "--forwarded-from",
        action="append",
        type=_networks,
        metavar="NETWORKS",
        help="networks of proxies that are believed when they say by whom they were asked",
    )
    parser.add(
        "--forwarded-fields",
        type=_fields,
        default=",".join(FIELDS[:2]),
        metavar="NAMES",
        help=f"the fields in which they say it, of {', '.join(FIELDS)} (default: {', '.join(FIELDS[:2])})",
    )
    parser.add("--certfile", help="serve TLS with this certificate (PEM, with its chain)")
    parser.add("--http2", action="store_true", help="serve HTTP/2 too (needs hubbub-server[http2])")
    parser.add("--keyfile", help="the certificate's key, if it is not in the same file")
    parser.add("-w", "--workers", type=_positive, help="so many processes, watched by one more")
    parser.add("--reuse-port", action="store_true", help="a listener per worker (SO_REUSEPORT)")
    parser.add("--loop", help="the event loop (default: $HUBBUB_LOOP or the first installed)")
    parser.add("--resolver", help="the resolver (default: $HUBBUB_RESOLVER or hubbub-dns)")
    parser.add(
        "--monkey",
        action=argparse.BooleanOptionalAction,
        help="make the standard library cooperative first (default: if hubbub-monkey is installed)",
    )
    parser.add("--reload", action="store_true", help="start anew when a module changes; for development")
    parser.add(
        "--max-connections",
        type=_limit_type("int | None"),
        metavar="N",
        help="most connections at once; more make those close that have been idle for longest, or wait (default: none)",
    )
    parser.add(
        "--max-memory",
        type=_limit_type("int | None"),
        metavar="BYTES",
        help="with more memory than that in use, connections that are idle are closed (default: none)",
    )
    parser.add(
        "--start-seconds",
        type=_limit_type("float | None"),
        default=300.0,
        metavar="N",
        help="time for a worker to begin to serve; none for no limit (default: 300)",
    )
    parser.add(
        "--stuck-seconds",
        type=_limit_type("float | None"),
        default=60.0,
        metavar="N",
        help="a worker that has stood still for so long is ended and replaced; none for never (default: 60)",
    )
    parser.add(
        "--blocking-seconds",
        type=_limit_type("float | None"),
        metavar="N",
        help="code that lets nothing else run for so long is shown in the error log; none for never (default: none)",
    )
    parser.add("--stop-seconds", type=_seconds, default=30.0, help="time for requests to end (default: 30)")
    parser.add("--access-log", metavar="FILE", help="- for stderr, none for none (default: -)")
    parser.add("--log-format", choices=sorted(FORMATS), default="common")
    parser.add(
        "--events",
        metavar="FILE",
        help="one stream of events: requests, errors, starts and stops; - for stderr. The other logs are off then,"
        " unless they are asked for (default: none)",
    )
    parser.add("--event-format", choices=sorted(EVENT_FORMATS), default="json")
    parser.add("--request-ids", action="store_true", help="give each request an id, and say it in X-Request-ID")
    parser.add(
        "--status",
        type=_status_address,
        metavar="ADDRESS",
        help="show how things stand, under /-/, at this address; of the loopback interface, unless it names another",
    )
    parser.add(
        "--telemetry",
        action="store_true",
        help="spans and measurements of each request, for OpenTelemetry (needs opentelemetry-api)",
    )
    parser.add("--error-log", metavar="FILE", help="- for stderr, none for none (default: -)")
    group = parser.add_argument_group("limits")
    defaults = Limits()
    for field in dataclasses.fields(Limits):
        default = getattr(defaults, field.name)
        parser.add(
            f"--{field.name.replace('_', '-')}",
            type=_limit_type(str(field.type)),
            to=group,
            default=default,
            metavar="N",
            help=f"{_LIMITS[field.name]} (default: {'none' if default is None else f'{default:g}'})",
        )
    group = parser.add_argument_group("settings", "Each option may also be given in a file or in the environment.")
    group.add_argument("--config", metavar="FILE", help="settings from a TOML file, such as: workers = 4")
    group.add_argument(
        "--show-config", action="store_true", help="show all settings and where each comes from, and end"
    )
    group.add_argument("--check", action="store_true", help="load the application and the certificate, and end")
    group.add_argument("--version", action="version", version=_version())
    # What the supervisor tells its workers.
    parser.add_argument("--inherited", type=_numbers, default=[], help=argparse.SUPPRESS)
    parser.add_argument("--control", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--counters", type=int, help=argparse.SUPPRESS)
    return parser


def _version() -> str:
    """This package, the core, the interpreter: what a report of a fault should say."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"hubbub-serve {metadata.version('hubbub-server')} (hubbub {metadata.version('hubbub')}, {python})"


def limits_of(options: argparse.Namespace) -> Limits:
    """The limits among the options."""
    return Limits(**{field.name: getattr(options, field.name) for field in dataclasses.fields(Limits)})


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"a whole number from 0 up, not {text!r}")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"a whole number from 1 up, not {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0.0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"a number of seconds from 0 up, not {text!r}")
    return number


def _networks(text: str) -> str:
    try:
        return str(Networks([text]))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _fields(text: str) -> str:
    try:
        Forwarding(Networks(()), text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _status_address(text: str) -> str:
    address = loopback_by_default(text)
    try:
        parse_address(address)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return address


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part]


def _limit_type(annotation: str) -> Any:
    make: Any = float if "float" in annotation else int

    def read(text: str) -> Any:
        if "None" in annotation and text.lower() == "none":
            return None
        try:
            number = make(text)
        except ValueError:
            number = 0
        if not 0 < number < math.inf:
            kind = "whole number" if make is int else "number"
            raise argparse.ArgumentTypeError(
                f"a {kind} above 0{' or none' if 'None' in annotation else ''}, not {text!r}"
            )
        return number

    return read
