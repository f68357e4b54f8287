"""Build hook: compiles the extension module on the system's libev."""

from __future__ import annotations

import runpy
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MODULE = "hubbub_loop_libev._libev"
SOURCE = "libev.c"
LIBRARY = "ev"
PKG_CONFIG_NAME = "libev"
LICENCE = "BSD-2-Clause OR GPL-2.0-or-later"


class ExtensionHook(BuildHookInterface[Any]):
    """Puts the compiled module into the wheel, or beside its source for an editable install.

    Where there is nothing to compile, the wheel has none, and is for such Pythons alone.
    """

    scratch: str | None = None

    @property
    def package(self) -> Path:
        """The folder of the package."""
        return Path(self.root, "src", MODULE.partition(".")[0]).resolve()

    def dependencies(self) -> list[str]:
        """What compiling takes, where there is something to compile."""
        return [] if unsupported(self.package) else list(self.config["compiling"])

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compiles; a failure ends the build with the compiler's words."""
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        if reason := unsupported(self.package):
            self.app.display_warning(reason)
            return
        self.scratch = tempfile.mkdtemp()
        # There once something is to be compiled: see dependencies().
        from hubbub.loop.native import building, sbom

        library = building.Library(LIBRARY, PKG_CONFIG_NAME)
        built = building.compile_backend(MODULE, self.package / SOURCE, library, self.scratch)
        if version == "editable":
            building.put(built, self.package)
        else:
            build_data["force_include"][str(built)] = f"{self.package.name}/{built.name}"
            bill = Path(self.scratch, f"{self.metadata.core.name}.cdx.json")
            bill.write_text(
                sbom.bill_of_materials(
                    *(self.metadata.core.name, self.metadata.version),
                    *(PKG_CONFIG_NAME, building.loaded_version(MODULE, built), LICENCE),
                )
            )
            build_data["sbom_files"].append(str(bill))
        if ".abi3." in built.name:
            build_data["infer_tag"] = False
            build_data["tag"] = building.stable_tag(self.metadata.core.requires_python)

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Removes what compiling left behind."""
        if self.scratch:
            shutil.rmtree(self.scratch)


def unsupported(package: Path) -> str:
    """Why there is nothing for this Python, as the package itself will say; empty where there is."""
    reason: str = runpy.run_path(str(package / "_support.py"))["unsupported"]()
    return reason
