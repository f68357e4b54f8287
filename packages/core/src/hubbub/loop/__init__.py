"""Event loops: the part that all share, the built-in one, and the Python half of the native ones."""
