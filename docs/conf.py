"""Settings of Sphinx, and the generator of the API pages: one per package, found by pyproject.toml."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parent.parent

project = "hubbub"
author = "the hubbub authors"
copyright = "the hubbub authors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.doctest"]
html_theme = "alabaster"
html_theme_options = {"description": "Greenlet-based networking for Python", "fixed_sidebar": True}
exclude_patterns = ["_build"]
myst_heading_anchors = 3
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
doctest_test_doctest_blocks = "default"


def public_modules(source: Path) -> dict[str, Path]:
    """The modules of a package by dotted name, without private ones; the package itself comes first."""
    found = {}
    for path in sorted(source.rglob("*.py")):
        parts = path.relative_to(source.parent).with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
        if not any(part.startswith("_") for part in parts):
            found[".".join(parts)] = path
    return dict(sorted(found.items()))


def re_exports(path: Path) -> list[str]:
    """Where the names that an ``__init__.py`` re-exports are defined."""
    return [
        f"{node.module}.{alias.name}"
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0 and node.module != "__future__"
        for alias in node.names
    ]


def api_page(name: str, source: Path) -> str:
    """The page of one package."""
    lines = [name, "=" * len(name), ""]
    for module, path in public_modules(source).items():
        if module != source.name:
            lines += [module, "-" * len(module), ""]
        if path.name == "__init__.py":
            lines += [f".. automodule:: {module}", "   :no-members:", ""]
            if names := re_exports(path):
                lines += ["Re-exports " + ", ".join(f":py:obj:`{name}`" for name in names) + ".", ""]
        else:
            lines += [f".. automodule:: {module}", ""]
    return "\n".join(lines)


def write_api(app: Sphinx) -> None:
    """Writes the API pages, leaving those alone that would not change."""
    folder = Path(app.srcdir, "api")
    folder.mkdir(exist_ok=True)
    pages = {}
    for path in sorted(ROOT.glob("packages/*/pyproject.toml")):
        name = tomllib.loads(path.read_text())["project"]["name"]
        (source,) = (p for p in (path.parent / "src").iterdir() if (p / "py.typed").exists())
        pages[f"{name}.rst"] = api_page(name, source)
    for stale in {path.name for path in folder.iterdir()} - set(pages):
        (folder / stale).unlink()
    for file, text in pages.items():
        page = folder / file
        if not page.exists() or page.read_text() != text:
            page.write_text(text)


def setup(app: Sphinx) -> None:
    """Has the API pages written before Sphinx looks for documents."""
    app.connect("builder-inited", write_api)
