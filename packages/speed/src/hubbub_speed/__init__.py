"""Optional native accelerators for hubbub."""

from hubbub_speed.stack_chunks import Statistics, install, statistics, uninstall

__all__ = ["Statistics", "install", "statistics", "uninstall"]
