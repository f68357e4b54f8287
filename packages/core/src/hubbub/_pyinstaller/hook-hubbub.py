"""PyInstaller: nothing imports the plug-ins of hubbub. They are found by entry points, which are metadata."""

from __future__ import annotations

from importlib.metadata import entry_points
from importlib.util import find_spec

from PyInstaller.utils.hooks import collect_submodules, copy_metadata  # type: ignore[import-untyped]  # at build time

from hubbub import plugins

_GROUPS = (plugins.LOOPS, plugins.RESOLVERS, plugins.PATCHES, plugins.ACCELERATORS)
_entries = [entry for group in _GROUPS for entry in entry_points(group=group)]
_packages = sorted({entry.module.partition(".")[0] for entry in _entries})
_distributions = sorted({entry.dist.name for entry in _entries if entry.dist is not None})


def _is_for_programs(name: str) -> bool:
    return not name.endswith(("._pyinstaller", ".pytest_plugin"))


datas = [data for name in _distributions for data in copy_metadata(name)]
hiddenimports = [module for name in _packages for module in collect_submodules(name, _is_for_programs)]
# What extension modules of cffi's import in C, and plug-ins when they are asked for, if it is installed.
_optional = {"_cffi_backend": "_cffi_backend", "pycares": "pycares", "dns": "dns.resolver"}
hiddenimports += [module for package, module in _optional.items() if find_spec(package)]
