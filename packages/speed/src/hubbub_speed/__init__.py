"""Optional native accelerators for hubbub."""

from hubbub_speed.methods import install_methods, uninstall_methods
from hubbub_speed.stack_chunks import Statistics, install, statistics, uninstall

__all__ = ["Statistics", "install", "install_methods", "statistics", "uninstall", "uninstall_methods"]
