"""The event loop of hubbub on libev."""

import typing

import hubbub.lowlevel

from hubbub_loop_libev.loop import LibevBackend

__all__ = ["LibevBackend"]

__version__: str
if not typing.TYPE_CHECKING:
    __getattr__ = hubbub.lowlevel.version_attribute(__name__, "hubbub-loop-libev")
