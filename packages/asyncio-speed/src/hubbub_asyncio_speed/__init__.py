"""Optional native accelerator for hubbub-asyncio: callbacks and messages in C."""

import typing

import hubbub.lowlevel

from hubbub_asyncio_speed.binding import asyncio_methods

__all__ = ["asyncio_methods"]

__version__: str
if not typing.TYPE_CHECKING:
    __getattr__ = hubbub.lowlevel.version_attribute(__name__, "hubbub-asyncio-speed")
