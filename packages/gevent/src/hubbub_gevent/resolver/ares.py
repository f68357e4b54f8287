"""gevent.resolver.ares on hubbub."""

from __future__ import annotations

from typing import Any

from hubbub_dns import ares as _ares

from hubbub_gevent.resolver._base import Parameters
from hubbub_gevent.resolver._options import stub_options

__all__ = ["Resolver"]


class Resolver(Parameters, _ares.Resolver):
    """hubbub's resolver ``ares``.

    :param flags, tcp_port: accepted and not used.
    """

    def __init__(
        self,
        hub: Any = None,
        use_environ: bool = True,
        *,
        flags: Any = None,
        timeout: float | None = None,
        tries: int | None = None,
        ndots: int | None = None,
        udp_port: int | None = None,
        tcp_port: int | None = None,
        servers: Any = None,
    ) -> None:
        given = {"timeout": timeout, "tries": tries, "ndots": ndots, "udp_port": udp_port, "servers": servers}
        super().__init__(**stub_options(given))
        self.hub = hub
