"""Whom a request comes from, when a proxy that is believed says it: ``X-Forwarded-*`` and ``Forwarded`` (RFC 7239)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from hubbub_server._networks import Host, Networks, host_of
from hubbub_server.http.errors import RequestError
from hubbub_server.http.request import BAD_REQUEST, is_host

__all__ = ["FIELDS", "Forwarding"]

FIELDS: Final = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "forwarded")
"""The fields that can be believed."""
_KEYS = {name: "HTTP_" + name.upper().replace("-", "_") for name in FIELDS}
_NODE = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::([0-9]{1,5}))?|([0-9A-Fa-f:.]+)", re.ASCII)
_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PAIR = re.compile(rf'[ \t]*({_TOKEN})=(?:({_TOKEN})|"((?:[^"\\]|\\.)*)")[ \t]*(;|,|$)', re.ASCII)
_SCHEMES = ("http", "https")
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)


class _Hop(NamedTuple):
    """What one proxy says of the client or proxy that asked it."""

    host: Host | None
    port: str | None
    scheme: str | None = None
    authority: str | None = None


class Forwarding:
    """Corrects the environ of requests that come from proxies.

    The list of hops is read from its end, where the nearest proxy has written, for as long as whoever wrote it is one
    of the proxies. The first who is not is the client.

    :param networks: those of the proxies.
    :param fields: of :data:`FIELDS`, those that all of these proxies set or remove themselves. Those that they pass on
        as a client sent them must not be believed, and are removed.
    :raises ValueError: not one of these fields, or ``forwarded`` together with others, which could contradict it.
    """

    def __init__(self, networks: Networks, fields: Iterable[str] = FIELDS[:2]) -> None:
        self._networks = networks
        self._fields = frozenset(fields)
        for name in self._fields:
            if name not in FIELDS:
                raise ValueError(f"the fields to believe are of {', '.join(FIELDS)}, not {name!r}")
        if "forwarded" in self._fields and len(self._fields) > 1:
            raise ValueError("either forwarded is believed or the x-forwarded fields, not both: they could contradict")
        self._others = tuple(_KEYS[name] for name in FIELDS if name not in self._fields)

    def believes(self, address: Any) -> bool:
        """Whether the address of a socket is that of one of the proxies."""
        return self._networks.has(address)

    def apply(self, environ: dict[str, Any], address: Any) -> None:
        """Set ``REMOTE_ADDR``, ``REMOTE_PORT``, ``wsgi.url_scheme``, ``HTTPS``, ``HTTP_HOST`` and ``SERVER_PORT`` as
        the proxies say, and ``hubbub.peer`` to the address of the nearest.

        From everybody else, and of other fields than those to believe, nothing is left in the environ.

        :param address: the peer's.
        :raises RequestError: 400, what a proxy says is not valid.
        """
        if not self._networks.has(address):
            for key in _KEYS.values():
                environ.pop(key, None)
            return
        for key in self._others:
            environ.pop(key, None)
        environ["hubbub.peer"] = address
        hops = self._of_forwarded(environ) if "forwarded" in self._fields else self._of_list(environ)
        for position, hop in enumerate(reversed(hops)):
            self._believe(environ, hop)
            if hop.host is None or not self._networks.has_host(hop.host) or position == len(hops) - 1:
                return

    def _believe(self, environ: dict[str, Any], hop: _Hop) -> None:
        if hop.host is not None:
            environ["REMOTE_ADDR"] = str(hop.host)
            if hop.port is None:
                environ.pop("REMOTE_PORT", None)
            else:
                environ["REMOTE_PORT"] = hop.port
        if hop.scheme is not None:
            environ["wsgi.url_scheme"] = hop.scheme
            if hop.scheme == "https":
                environ["HTTPS"] = "on"
            else:
                environ.pop("HTTPS", None)
        if hop.authority is not None:
            environ["HTTP_HOST"] = hop.authority

    def _of_list(self, environ: dict[str, Any]) -> list[_Hop]:
        """The hops of ``X-Forwarded-For``. The other fields have as many values, or one: the nearest proxy's."""
        hosts = self._values(environ, "x-forwarded-for")
        schemes = self._values(environ, "x-forwarded-proto")
        authorities = self._values(environ, "x-forwarded-host")
        ports = self._values(environ, "x-forwarded-port")
        if ports:
            if not _PORT.fullmatch(ports[-1]):
                raise RequestError(BAD_REQUEST, "X-Forwarded-Port is not valid.")
            environ["SERVER_PORT"] = ports[-1]
        count = max(len(hosts), 1)
        hops = []
        for position in range(count):
            host, port = _node(hosts[position]) if hosts else (None, None)
            scheme, authority = _of(schemes, position, count), _of(authorities, position, count)
            hops.append(_Hop(host, port, _scheme(scheme), _authority(authority)))
        return hops

    def _values(self, environ: dict[str, Any], name: str) -> list[str]:
        text = environ.get(_KEYS[name], "") if name in self._fields else ""
        return [part.strip() for part in text.split(",")] if text else []

    def _of_forwarded(self, environ: dict[str, Any]) -> list[_Hop]:
        text = environ.get("HTTP_FORWARDED", "")
        hops: list[_Hop] = []
        said: dict[str, str] = {}
        place = 0
        while place < len(text):
            match = _PAIR.match(text, place)
            name = match[1].lower() if match is not None else ""
            if match is None or name in said or (match[4] != "" and match.end() == len(text)):
                raise RequestError(BAD_REQUEST, "Forwarded is not valid.")
            said[name] = match[2] if match[2] is not None else re.sub(r"\\(.)", r"\1", match[3])
            place = match.end()
            if match[4] != ";":
                host, port = _node(said.get("for", ""))
                hops.append(_Hop(host, port, _scheme(said.get("proto")), _authority(said.get("host"))))
                said = {}
        return hops


def _of(values: list[str], position: int, count: int) -> str | None:
    """The value of a field for the hop at a position."""
    if len(values) == count:
        return values[position]
    return values[-1] if values else None


def _node(text: str) -> tuple[Host | None, str | None]:
    """The host and the port of a hop; None for one that is unknown, or obfuscated (RFC 7239, 6)."""
    match = _NODE.fullmatch(text)
    if match is None:
        return None, None
    return host_of(match[1] or match[2] or match[4]), match[3]


def _scheme(text: str | None) -> str | None:
    if text is None:
        return None
    if text.lower() not in _SCHEMES:
        raise RequestError(BAD_REQUEST, "The scheme that a proxy was asked by is not valid.")
    return text.lower()


def _authority(text: str | None) -> str | None:
    if text is not None and not is_host(text):
        raise RequestError(BAD_REQUEST, "The host that a proxy was asked for is not valid.")
    return text
