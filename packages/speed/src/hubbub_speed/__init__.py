"""Optional native accelerators for hubbub."""

import typing

import hubbub.lowlevel

from hubbub_speed.methods import install_methods, uninstall_methods
from hubbub_speed.stack_chunks import Statistics, install, statistics, uninstall

__all__ = ["Statistics", "install", "install_methods", "statistics", "uninstall", "uninstall_methods"]

__version__: str
if not typing.TYPE_CHECKING:
    __getattr__ = hubbub.lowlevel.version_attribute(__name__, "hubbub-speed")
