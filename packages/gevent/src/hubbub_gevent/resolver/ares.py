"""gevent.resolver.ares on hubbub."""

from __future__ import annotations

from typing import Any

from hubbub_dns import ares as _ares

__all__ = ["Resolver"]


class Resolver(_ares.Resolver):
    """hubbub's resolver of that name."""

    def __init__(
        self,
        hub: Any = None,
        use_environ: bool = True,
        flags: Any = None,
        timeout: float | None = None,
        tries: int | None = None,
        ndots: int | None = None,
        udp_port: int | None = None,
        tcp_port: int | None = None,
        servers: Any = None,
    ) -> None:
        given = {
            "timeout": timeout,
            "attempts": tries,
            "ndots": ndots,
            "port": udp_port,
            "servers": servers.split(",") if isinstance(servers, str) else servers,
        }
        super().__init__(**{name: value for name, value in given.items() if value is not None})
