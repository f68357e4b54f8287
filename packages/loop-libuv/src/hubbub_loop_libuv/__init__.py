"""The event loop of hubbub on libuv."""

from hubbub_loop_libuv.loop import LibuvBackend

__all__ = ["LibuvBackend"]
