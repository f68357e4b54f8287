"""The loop contract (:mod:`hubbub.abc`) as tests: a test for each of its sentences.

A package that provides a backend subclasses :class:`LoopConformance` in its tests and overrides one fixture::

    class TestMyLoop(LoopConformance):
        @pytest.fixture
        def backend_class(self):
            return MyBackend

Where loops may differ there is a flag, a class attribute, described at :class:`~hubbub_testkit.conformance.kit.Kit`. A
subclass may replace a test of the kit only if the replacement is marked ``xfail`` with a reason.
"""

from hubbub_testkit.conformance.kit import PATIENCE, Recorder
from hubbub_testkit.conformance.suite import LoopConformance

__all__ = ["PATIENCE", "LoopConformance", "Recorder"]
