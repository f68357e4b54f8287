"""The settings of the system's resolver: resolv.conf(5), as glibc reads it. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

__all__ = ["Settings", "candidates", "parse"]

_MAX_SERVERS = 3
_LIMITS = {"ndots": 15, "timeout": 30, "attempts": 5}  # RES_MAXNDOTS, RES_MAXRETRANS, RES_MAXRETRY of <resolv.h>


@dataclass(frozen=True, slots=True)
class Settings:
    """What resolv.conf says."""

    servers: tuple[str, ...] = ("127.0.0.1",)
    """Numeric addresses, at most three."""
    search: tuple[str, ...] = ()
    """Domains to try a name in."""
    ndots: int = 1
    """A name with fewer dots is tried in the search domains first."""
    timeout: float = 5.0
    """Seconds to wait for one server."""
    attempts: int = 2
    """How often to go through the servers."""
    rotate: bool = False
    """Begin each lookup with another server."""
    use_vc: bool = False
    """Ask over TCP only."""
    no_aaaa: bool = False
    """Never ask for IPv6 addresses."""
    no_tld_query: bool = False
    """Never ask for a name without a dot as it is."""


def parse(text: str, environ: Mapping[str, str] | None = None, hostname: str = "") -> Settings:
    """Read the text of a resolv.conf. Lines that make no sense are skipped, as resolv.conf(5) demands.

    :param environ: the environment to read ``LOCALDOMAIN`` and ``RES_OPTIONS`` from.
    :param hostname: this machine's; its domain is searched when the file and the environment name no domain.
    """
    environ = environ or {}
    servers: list[str] = []
    search: tuple[str, ...] = ()
    options: list[str] = []
    for line in text.splitlines():
        if line[:1] in ("#", ";"):
            continue
        keyword, *words = line.split() or [""]
        if keyword == "nameserver" and words and len(servers) < _MAX_SERVERS:
            servers.append(words[0])
        elif keyword == "domain" and words:
            search = (words[0],)
        elif keyword == "search" and words:
            search = tuple(words)
        elif keyword == "options":
            options += words
    if environ.get("LOCALDOMAIN"):
        search = tuple(environ["LOCALDOMAIN"].split())
    if not search and "." in hostname:
        search = (hostname.partition(".")[2],)
    options += environ.get("RES_OPTIONS", "").split()
    settings = Settings(
        servers=tuple(servers) or Settings().servers,
        search=tuple(domain.rstrip(".") for domain in search),
    )
    for option in options:
        settings = _with_option(settings, option)
    return settings


def _with_option(settings: Settings, option: str) -> Settings:
    name, _, value = option.partition(":")
    if name in _LIMITS and value.isascii() and value.isdigit():
        number = min(int(value[:9]), _LIMITS[name])
        if name == "ndots":
            return replace(settings, ndots=number)
        if name == "timeout":
            return replace(settings, timeout=float(max(number, 1)))
        return replace(settings, attempts=max(number, 1))
    match option:
        case "rotate":
            return replace(settings, rotate=True)
        case "use-vc":
            return replace(settings, use_vc=True)
        case "no-aaaa":
            return replace(settings, no_aaaa=True)
        case "no-tld-query":
            return replace(settings, no_tld_query=True)
    return settings


def candidates(name: str, settings: Settings) -> list[str]:
    """The names to ask for, in glibc's order, without trailing dots.

    :param name: as the caller gave it; with a trailing dot it is the only candidate.
    """
    if name.endswith("."):
        return [name[:-1]]
    if not settings.search:
        return [name]
    dots = name.count(".")
    searched = [f"{name}.{domain}" if domain else name for domain in settings.search]
    if dots >= settings.ndots:
        found = [name, *searched]
    elif dots or not settings.no_tld_query:
        found = [*searched, name]
    else:
        found = searched
    return list(dict.fromkeys(found))
