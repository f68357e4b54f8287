"""Cooperative socket, ssl, select and selectors, shaped like the standard library's."""

__all__: list[str] = []
