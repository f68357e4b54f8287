"""The scope with which an ASGI application is called for a request."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

__all__ = ["http_scope"]

_ASGI = {"version": "3.0", "spec_version": "2.4"}


def http_scope(environ: dict[str, Any], request: Any, root_path: str | None) -> dict[str, Any]:
    """The connection scope of an HTTP request (specification of ASGI, "HTTP Connection Scope").

    :param request: ``environ["hubbub.request"]``, or None with servers that have no such thing.
    :param root_path: if None, ``SCRIPT_NAME``.
    """
    script = environ["SCRIPT_NAME"]
    path, raw_path, query = _target(script, environ["PATH_INFO"], environ["QUERY_STRING"], environ.get("REQUEST_URI"))
    client = environ.get("REMOTE_ADDR")
    return {
        "type": "http",
        "asgi": _ASGI.copy(),
        "http_version": environ["SERVER_PROTOCOL"][5:],
        "method": environ["REQUEST_METHOD"],
        "scheme": environ["wsgi.url_scheme"],
        "path": path,
        "raw_path": raw_path,
        "query_string": query,
        "root_path": _decoded(script) if root_path is None else root_path,
        "headers": _fields(environ) if request is None else request.fields(),
        "client": _address(client, environ.get("REMOTE_PORT", "0")) if client else None,
        "server": _address(environ["SERVER_NAME"], environ["SERVER_PORT"]),
        "extensions": {},
    }


@lru_cache(maxsize=1024)
def _address(host: str, port: str) -> tuple[str, int]:
    return host, int(port)


@lru_cache(maxsize=1024)
def _target(script: str, path: str, query: str, target: str | None) -> tuple[str, bytes | None, bytes]:
    """The path as text, the path as it was sent, and the query."""
    raw_path = None if target is None else _raw_path(target)
    return _decoded(script + path) or "/", raw_path, query.encode("latin-1")


def _decoded(text: str) -> str:
    """Decode as UTF-8 the bytes that PEP 3333 stores as latin-1 text."""
    return text if text.isascii() else text.encode("latin-1").decode("utf-8", "replace")


def _raw_path(target: str) -> bytes:
    """The path of a request target, as it was sent."""
    path = target.partition("?")[0]
    if path[:1] != "/" and "://" in path:  # an absolute target (RFC 9112, 3.2.2)
        path = "/" + path.partition("://")[2].partition("/")[2]
    return path.encode("latin-1")


def _fields(environ: dict[str, Any]) -> list[tuple[bytes, bytes]]:
    """The header fields, from the variables of the WSGI environ."""
    fields = []
    for key, value in environ.items():
        if key.startswith("HTTP_"):
            name = key[5:]
        elif key in ("CONTENT_TYPE", "CONTENT_LENGTH") and value:
            name = key
        else:
            continue
        fields.append((name.replace("_", "-").lower().encode("latin-1"), value.encode("latin-1")))
    return fields
