"""gevent's settings for the resolvers that query name servers themselves."""

from __future__ import annotations

from typing import Any

from hubbub_gevent._config import config

__all__ = ["stub_options"]

_NAMES = {"tries": "attempts", "ndots": "ndots", "udp_port": "port", "timeout": "timeout", "servers": "servers"}


def stub_options(given: dict[str, Any]) -> dict[str, Any]:
    """Parameters for hubbub's resolver: those given under gevent's names, else the settings of ``gevent.config``."""
    settings = {
        "tries": config.ares_tries,
        "ndots": config.ares_ndots,
        "udp_port": config.ares_udp_port,
        "timeout": config.resolver_timeout or config.ares_timeout,
        "servers": config.resolver_nameservers or config.ares_servers,
    }
    values = {**settings, **{name: value for name, value in given.items() if value is not None}}
    if isinstance(values["servers"], str):
        values["servers"] = [server.strip() for server in values["servers"].split(",")]
    return {_NAMES[name]: value for name, value in values.items() if value is not None}
