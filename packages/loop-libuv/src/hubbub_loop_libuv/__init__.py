"""The loop contract of hubbub on libuv."""
