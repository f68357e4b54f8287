"""Optional native accelerator for hubbub-net: reads, writes and records of TLS in C."""

import typing

import hubbub.lowlevel

from hubbub_net_speed.binding import net_methods

__all__ = ["net_methods"]

__version__: str
if not typing.TYPE_CHECKING:
    __getattr__ = hubbub.lowlevel.version_attribute(__name__, "hubbub-net-speed")
