"""For a native accelerator of the HTTP server: what it knows, and what it has to do the same.

An accelerator parses the heads of usual requests, calls the WSGI application and sends usual responses. It works on the
objects of this package, whose slots change together with :data:`LAYOUT`; one that was made for another layout is
refused. What is not usual it leaves to the methods here, which are the reference.

It is found by the entry point ``usual`` in the group ``hubbub.server_accelerators``. That names a function, which is
called with :data:`PARTS` and returns a class of :class:`hubbub_server.http.request.Usual`, or None if it has nothing
for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import hubbub
from hubbub import plugins
from hubbub.exceptions import PluginUnavailable
from hubbub.io import Socket
from hubbub.lowlevel import accelerators_wanted

from hubbub_server.http import body, connection, errors, exchange, lent, request, response, sending, tally, wsgi
from hubbub_server.http.clock import NEVER, Clock, Pace
from hubbub_server.http.filewrapper import FileWrapper
from hubbub_server.http.framing import Delimiter

__all__ = ["GROUP", "LAYOUT", "MIRRORED", "PARTS", "usual_maker"]

GROUP: Final = "hubbub.server_accelerators"
"""The entry-point group."""
LAYOUT: Final = 4
"""The version of the slots, and of what the methods promise one another."""

PARTS: Mapping[str, Any] = {
    "layout": LAYOUT,
    "Body": body.Body,
    "Clock": Clock,
    "Connection": connection.Connection,
    "Exchange": exchange.Exchange,
    "FileWrapper": FileWrapper,
    "Head": request.Head,
    "Input": body.Input,
    "LentRequest": lent.LentRequest,
    "Meaning": request.Meaning,
    "Pace": Pace,
    "RequestError": errors.RequestError,
    "Response": wsgi.Response,
    "ResponseHead": response.ResponseHead,
    "Socket": Socket,
    "Tally": tally.Tally,
    "bounds": tally.BOUNDS,
    "by_chunks": Delimiter.CHUNKS,
    "by_length": Delimiter.LENGTH,
    "date": response.date,
    "heads": response.HEADS,
    "idle": connection.IDLE,
    "longest_hold": sending.LONGEST_HOLD,
    "never": NEVER,
    "nothing": request.NOTHING,
    "quick": sending.QUICK,
    "reading": connection.READING,
    "receive": connection.RECEIVE,
    "response_head": response.response_head,
    "running": connection.RUNNING,
    "sleep": hubbub.sleep,
    "today": response.TODAY,
    "yield_after": sending.YIELD_AFTER,
}
"""The objects that it has to know."""

MIRRORED: Mapping[Callable[..., Any], str] = {
    body.Body.__init__: "body.c",
    body.Body.look_ahead: "body.c",
    body.Body.next: "body.c",
    body.Body._take: "body.c",
    body.Body._wanted: "body.c",
    body.Input.__init__: "body.c",
    body.Input._all: "body.c",
    body.Input.read: "body.c",
    Pace.after: "body.c",
    connection.Connection._serve: "serving.c",
    connection.Connection.body_data: "body.c",
    connection.Connection.buffered: "body.c",
    connection.Connection._next_head: "serving.c",
    connection.Connection._receive: "serving.c",
    exchange.Exchange.run: "request.c",
    exchange.Exchange.__init__: "request.c",
    exchange.Exchange._prepare: "request.c",
    exchange.Exchange._heed: "request.c",
    exchange.Exchange._serve: "request.c",
    request.HeadParser.start_line: "head.c",
    request.HeadParser.fields: "head.c",
    request.HeadParser.raw_fields: "head.c",
    request.HeadParser.variable: "names.c",
    request.HeadParser._block: "head.c",
    request.HeadParser._environ: "head.c",
    request.HeadParser._split: "head.c",
    request.HeadParser._judge: "head.c",
    request.HeadParser._check_length: "head.c",
    exchange.Exchange.log: "tally.c",
    tally.Tally.count: "tally.c",
    exchange.Exchange._begin: "response.c",
    exchange.Exchange.send_piece: "response.c",
    exchange.Exchange.send_whole: "response.c",
    exchange.Exchange.finish: "pieces.c",
    sending.Sender.may_hold: "sending.c",
    sending.Sender.note_work: "body.c",
    sending.Sender.send: "sending.c",
    sending.Sender.send_piece: "sending.c",
    response.ResponseHead.framed: "response.c",
    response.date: "response.c",
    response.response_head: "response.c",
    wsgi.Response.start: "response.c",
    wsgi.Response.finish: "response.c",
    wsgi.Response._send: "pieces.c",
    wsgi.Response.take: "pieces.c",
    wsgi.Response.write: "response.c",
}
"""The methods and functions whose work C code does itself instead of calling them, and the file of
hubbub-server-speed."""


def usual_maker() -> Callable[[request.HeadParser], request.Usual] | None:
    """What makes the accelerator of a parser, if one is installed and wanted (``HUBBUB_ACCELERATORS``).

    :raises ImportError: it is installed but broken.
    """
    if not accelerators_wanted() or "usual" not in plugins.names(GROUP):
        return None
    try:
        bind = plugins.load(GROUP, "usual")
    except PluginUnavailable:
        return None  # there is none for this Python, by design
    made: Callable[[request.HeadParser], request.Usual] | None = bind(PARTS)
    return made
