"""Optional native accelerator for hubbub-server: the usual request in C."""

import typing

import hubbub.lowlevel

from hubbub_server_speed.binding import usual

__all__ = ["usual"]

__version__: str
if not typing.TYPE_CHECKING:
    __getattr__ = hubbub.lowlevel.version_attribute(__name__, "hubbub-server-speed")
