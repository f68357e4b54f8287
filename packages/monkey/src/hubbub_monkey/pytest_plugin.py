"""The option ``--hubbub-monkey`` of pytest: patches before any conftest or test is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

__all__ = ["pytest_addoption", "pytest_load_initial_conftests", "pytest_report_header"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the option."""
    parser.getgroup("hubbub").addoption(
        "--hubbub-monkey",
        action="store_true",
        help="make the standard library cooperative before anything is collected (or parts: HUBBUB_MONKEY=socket,ssl)",
    )


def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Patch, if asked to."""
    if early_config.known_args_namespace.hubbub_monkey:
        from hubbub_monkey.patching import patch_all

        patch_all()


pytest_load_initial_conftests.pytest_impl = {"tryfirst": True}  # type: ignore[attr-defined]  # what hookimpl() sets


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say what is patched."""
    if not config.getoption("hubbub_monkey"):
        return []
    from hubbub_monkey import _journal

    return [f"hubbub-monkey: {', '.join(_journal.applied)}"]
