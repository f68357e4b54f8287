"""The event loop of hubbub on libuv."""

import typing

import hubbub.lowlevel

from hubbub_loop_libuv.loop import LibuvBackend

__all__ = ["LibuvBackend"]

__version__: str
if not typing.TYPE_CHECKING:
    __getattr__ = hubbub.lowlevel.version_attribute(__name__, "hubbub-loop-libuv")
