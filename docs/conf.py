"""Settings of Sphinx, and the generator of the API pages: one per package, found by pyproject.toml."""

from __future__ import annotations

import ast
import importlib
import tomllib
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, ModuleType

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
myst_enable_extensions = ["deflist"]
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
autodoc_default_options = {"show-inheritance": True}
# An annotation that names what both core and the facade define, such as ThreadPool: Sphinx links the nearest.
suppress_warnings = ["ref.python"]
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


def definitions(module: str, path: Path) -> list[str]:
    """The public names that a module defines itself and that exist on this platform, in the order of the source.

    What it only passes on is documented where it comes from: an object described twice is ambiguous.
    """
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.FunctionDef() | ast.ClassDef():
                names.append(node.name)
            case ast.Assign(targets=[ast.Name(name)]) | ast.AnnAssign(target=ast.Name(name)):
                names.append(name)
    loaded = importlib.import_module(module)
    listed = set(loaded.__all__) if hasattr(loaded, "__all__") else set()
    return [name for name in dict.fromkeys(names) if name in listed and not passed_on(loaded, name)]


def passed_on(module: ModuleType, name: str) -> bool:
    """Whether a name of the module is an object of another module under its own or another name."""
    thing = getattr(module, name)
    defined = isinstance(thing, type | FunctionType | BuiltinFunctionType)
    return defined and thing.__module__ != module.__name__


def api_page(name: str, source: Path) -> str:
    """The page of one package."""
    lines = [name, "=" * len(name), ""]
    for module, path in public_modules(source).items():
        if module != source.name:
            lines += [module, "-" * len(module), ""]
        lines += [f".. automodule:: {module}"]
        if path.name == "__init__.py":
            lines += ["   :no-members:", ""]
            if names := re_exports(path):
                lines += ["Re-exports " + ", ".join(f":py:obj:`{name}`" for name in names) + ".", ""]
        elif names := definitions(module, path):
            lines += [f"   :members: {', '.join(names)}", ""]
        else:
            lines += ["   :no-members:", ""]
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
