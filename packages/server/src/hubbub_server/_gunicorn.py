"""What gunicorn's settings say about proxies and hooks. Nothing here imports gunicorn."""

from __future__ import annotations

import base64
import functools
import ipaddress
from typing import Any
from urllib.parse import unquote_to_bytes

from hubbub_server.http.accesslog import as_text, escape_breaks
from hubbub_server.http.errors import RequestError
from hubbub_server.http.request import BAD_REQUEST

__all__ = ["UNSUPPORTED", "Hooks", "Proxies", "Request", "for_log", "mount"]

UNSUPPORTED = {
    "proxy_protocol": "off",
    "permit_obsolete_folding": False,
    "permit_unconventional_http_method": False,
    "permit_unconventional_http_version": False,
    "strip_header_spaces": False,
    "casefold_http_method": False,
}
"""Settings of gunicorn's that do nothing here, with the values at which that makes no difference."""


class Request:
    """A request as gunicorn shows it to hooks and to its log."""

    def __init__(self, environ: dict[str, Any]) -> None:
        # An application may have emptied it by the time of the log and of the hook that follows a request.
        self.method: str = as_text(environ.get("REQUEST_METHOD"))
        self.uri: str = as_text(environ.get("RAW_URI"))
        self.path, _, self.query = self.uri.partition("?")
        self.scheme: str = as_text(environ.get("wsgi.url_scheme"), "http")
        protocol = as_text(environ.get("SERVER_PROTOCOL"), "HTTP/1.1")
        self.version = tuple(int(digit) for digit in protocol.removeprefix("HTTP/").split(".") if digit in "01")
        self.remote_addr = (environ.get("REMOTE_ADDR", ""), environ.get("REMOTE_PORT", ""))
        self._environ = environ

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The fields, their names in capitals."""
        fields = []
        for key, value in self._environ.items():
            if not isinstance(key, str):
                continue
            if key.startswith("HTTP_"):
                fields.append((key.removeprefix("HTTP_").replace("_", "-"), as_text(value)))
            elif key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
                fields.append((key.replace("_", "-"), as_text(value)))
        return fields


class Hooks:
    """The functions that are to be called around requests; those that the settings do not name are not."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        cfg = worker.cfg
        self.before = self._named("pre_request", cfg.pre_request)
        """``pre_request(worker, req)``, or None."""
        after = self._named("post_request", cfg.post_request)
        self.after = None if after is None else functools.partial(self._call_after, after)
        """``after(request, environ, response)``, which calls ``post_request``; or None."""

    def _named(self, name: str, function: Any) -> Any:
        usual = type(self._worker.cfg.settings[name]).default
        return None if function is usual else function

    def _call_after(self, function: Any, request: Request, environ: dict[str, Any], response: Any) -> None:
        try:
            function(self._worker, request, environ, response)
        except Exception:
            # The response is under way; as in gunicorn's workers.
            self._worker.log.exception("Exception in post_request hook")


def for_log(environ: dict[str, Any]) -> dict[str, Any]:
    """A copy of an environ none of whose values breaks a line of gunicorn's log, which itself escapes only quotes.

    The user's name is taken by gunicorn out of the Authorization field, so that is looked into.
    """
    safe = {
        key: escape_breaks(value) if type(value) is str else value if key.startswith("wsgi.") else as_text(value)
        for key, value in environ.items()
        if type(key) is str
    }
    scheme, _, coded = safe.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            plain = base64.b64decode(coded.strip().encode("latin-1"))
            user = plain.split(b":", 1)[0].decode("utf-8")
        except ValueError:
            user = ""
        safe["HTTP_AUTHORIZATION"] = f"{scheme} {base64.b64encode(escape_breaks(user).encode() + b':').decode()}"
    return safe


class Proxies:
    """The proxies that may say what they were asked by whom: ``forwarded_allow_ips`` and what hangs on it."""

    def __init__(self, cfg: Any) -> None:
        self._all = "*" in cfg.forwarded_allow_ips
        self._networks = [ipaddress.ip_network(text, strict=False) for text in cfg.forwarded_allow_ips if text != "*"]
        self.names = frozenset(getattr(cfg, "forwarder_headers", ()))
        """Fields with an underscore in their names that a trusted proxy may send, in capitals."""
        self._schemes = {
            "HTTP_" + name.upper().replace("-", "_"): value for name, value in cfg.secure_scheme_headers.items()
        }
        self.trust = functools.lru_cache(maxsize=1024)(self._trust)
        """Whether the client at an address is such a proxy."""

    def _trust(self, address: str) -> bool:
        if self._all or not address:  # a UNIX socket has no address: whoever may open it is trusted
            return True
        try:
            host = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(host in network for network in self._networks)

    def apply(self, environ: dict[str, Any]) -> str:
        """Set the scheme that a trusted proxy was asked for; the SCRIPT_NAME it gives.

        :raises RequestError: 400, its fields contradict one another.
        """
        if not self.trust(environ["REMOTE_ADDR"]):
            return ""
        said = {"https" if environ[key] == value else "http" for key, value in self._schemes.items() if key in environ}
        if len(said) > 1:
            raise RequestError(BAD_REQUEST, "The fields that tell the scheme contradict one another.")
        if said:
            environ["wsgi.url_scheme"] = said.pop()
        return str(environ.get("HTTP_SCRIPT_NAME", "")) if "SCRIPT_NAME" in self.names else ""


def mount(environ: dict[str, Any], script_name: str) -> None:
    """Have the application see itself at ``script_name``.

    :raises ValueError: the path does not begin with it.
    """
    path = environ["PATH_INFO"]
    script = unquote_to_bytes(script_name).decode("latin-1")
    if not path.startswith(script):
        raise ValueError(f"the path {path!r} does not begin with the SCRIPT_NAME {script!r} that it is said to have")
    environ["PATH_INFO"] = path[len(script) :]
    environ["SCRIPT_NAME"] = script_name
