"""The event loop of hubbub on libev."""

from hubbub_loop_libev.loop import LibevLoop

__all__ = ["LibevLoop"]
