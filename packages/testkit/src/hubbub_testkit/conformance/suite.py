"""All promises of a loop together."""

from __future__ import annotations

from hubbub_testkit.conformance.backend import BackendPromises
from hubbub_testkit.conformance.callbacks import CallbackPromises
from hubbub_testkit.conformance.descriptors import DescriptorPromises
from hubbub_testkit.conformance.destruction import DestructionPromises
from hubbub_testkit.conformance.phases import PhasePromises
from hubbub_testkit.conformance.processes import ProcessPromises
from hubbub_testkit.conformance.randomness import RandomPromises
from hubbub_testkit.conformance.signals import SignalPromises
from hubbub_testkit.conformance.threads import ThreadPromises
from hubbub_testkit.conformance.timing import TimerPromises
from hubbub_testkit.conformance.waiting import WaitingPromises
from hubbub_testkit.conformance.watching import WatcherPromises

__all__ = ["LoopConformance"]


class LoopConformance(
    BackendPromises,
    CallbackPromises,
    PhasePromises,
    WatcherPromises,
    DescriptorPromises,
    WaitingPromises,
    TimerPromises,
    ThreadPromises,
    SignalPromises,
    ProcessPromises,
    DestructionPromises,
    RandomPromises,
):
    """Every backend passes these tests. Override ``backend_class``, and a flag where the loop may differ."""
