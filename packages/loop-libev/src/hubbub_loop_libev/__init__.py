"""The event loop of hubbub on libev."""

from hubbub_loop_libev.loop import LibevBackend

__all__ = ["LibevBackend"]
