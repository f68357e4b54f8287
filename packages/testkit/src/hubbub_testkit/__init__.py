"""Conformance suite, virtual clock and pytest plugin for hubbub."""

from hubbub_testkit.clock import VirtualClock, VirtualClockLoop

__all__ = ["VirtualClock", "VirtualClockLoop"]
