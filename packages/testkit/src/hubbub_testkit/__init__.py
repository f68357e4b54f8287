"""Conformance suite, virtual clock and pytest plugin for hubbub."""

__all__: list[str] = []
