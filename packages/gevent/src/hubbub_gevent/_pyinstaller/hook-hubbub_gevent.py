"""PyInstaller's hook: this package imports its modules under gevent's names, which PyInstaller cannot find."""

from __future__ import annotations

from PyInstaller.utils.hooks import collect_submodules, copy_metadata  # type: ignore[import-untyped]  # at build time

hiddenimports = ["hubbub", *collect_submodules("hubbub_gevent", lambda name: "._pyinstaller" not in name)]
datas = copy_metadata("hubbub-gevent")
