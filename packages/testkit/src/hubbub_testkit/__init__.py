"""Conformance suite, virtual clock and pytest plugin for hubbub."""

import typing

import hubbub.lowlevel

from hubbub_testkit.clock import VirtualClock, VirtualClockLoop

__all__ = ["VirtualClock", "VirtualClockLoop"]

__version__: str
if not typing.TYPE_CHECKING:
    __getattr__ = hubbub.lowlevel.version_attribute(__name__, "hubbub-testkit")
