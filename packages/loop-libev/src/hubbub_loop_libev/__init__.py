"""The loop contract of hubbub on libev."""
