"""A software bill of materials (SBOM) for the wheel of a native backend: which library is in it, under which licence.

It is CycloneDX 1.6 in JSON, for the folder ``sboms`` of a wheel's metadata (PEP 770). Scanners read there what they
cannot see in a compiled module.
"""

from __future__ import annotations

import json
from typing import Any

__all__ = ["bill_of_materials"]


def bill_of_materials(package: str, version: str, library: str, library_version: str, licence: str) -> str:
    """The text of the document.

    Two builds of the same sources make the same text: there is neither a time nor a random number in it.

    :param package: the distribution that carries the library.
    :param licence: of the library, as an SPDX expression.
    """
    carrier = _component(package, version, "pypi")
    carried = {**_component(library, library_version, "generic"), "licenses": [{"expression": licence}]}
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": carrier},
        "components": [carried],
        "dependencies": [
            {"ref": carrier["bom-ref"], "dependsOn": [carried["bom-ref"]]},
            {"ref": carried["bom-ref"]},
        ],
    }
    return json.dumps(document, indent=2) + "\n"


def _component(name: str, version: str, kind: str) -> dict[str, Any]:
    purl = f"pkg:{kind}/{name}@{version}"
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
