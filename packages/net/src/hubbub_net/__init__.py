"""Cooperative socket, ssl, select and selectors, shaped like the standard library's."""

import typing

import hubbub.lowlevel

__all__: list[str] = []

__version__: str
if not typing.TYPE_CHECKING:
    __getattr__ = hubbub.lowlevel.version_attribute(__name__, "hubbub-net")
