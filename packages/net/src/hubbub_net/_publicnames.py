"""The public names of a module of the standard library."""

from __future__ import annotations

from types import ModuleType

__all__ = ["public_names"]


def public_names(module: ModuleType) -> list[str]:
    """The names of ``module`` without a leading underscore, sorted, but for those it imports from other modules."""
    listed = getattr(module, "__all__", None)
    if listed is not None:
        return sorted(set(listed))
    own = {module.__name__, f"_{module.__name__}", "builtins"}
    return sorted(
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and not isinstance(value, ModuleType)
        and (not callable(value) or getattr(value, "__module__", None) in {*own, None})
    )
