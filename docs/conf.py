"""Settings of Sphinx, and the generator of the API pages: one per package, found by pyproject.toml."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import tomllib
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parent.parent

project = "hubbub"
author = "the hubbub authors"
copyright = "the hubbub authors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.doctest", "sphinx.ext.intersphinx"]
html_theme = "furo"
html_title = "hubbub"
html_theme_options = {"source_edit_link": "", "top_of_page_buttons": []}
# The inventory of CPython's documentation is at hand, so that a build needs no network.
intersphinx_mapping = {"python": ("https://docs.python.org/3", "python.inv")}
exclude_patterns = ["_build"]
myst_heading_anchors = 3
toc_object_entries_show_parents = "hide"
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


def listed_names(module: ModuleType) -> list[str]:
    """The names that a module says are public and that exist on this platform."""
    return [name for name in getattr(module, "__all__", ()) if hasattr(module, name)]


def homes(modules: dict[str, ModuleType]) -> dict[tuple[str, int], str]:
    """Where each public object is described: in the shortest of the modules that list it under one name.

    An object described twice is ambiguous.
    """
    found: dict[tuple[str, int], str] = {}
    for module in sorted(modules, key=lambda name: (name.count("."), name)):
        for name in listed_names(modules[module]):
            thing = getattr(modules[module], name)
            found.setdefault((name, id(thing)), module)
    return found


def is_own(module: ModuleType, name: str) -> bool:
    """Whether the package defines what a module lists; the rest comes from the standard library or another package."""
    thing = getattr(module, name)
    if isinstance(thing, type | FunctionType | MethodType | BuiltinFunctionType):
        return (getattr(thing, "__module__", None) or "").partition(".")[0] == module.__name__.partition(".")[0]
    return name in assigned(module)


def assigned(module: ModuleType) -> set[str]:
    """The names to which the source of a module assigns."""
    found = set()
    for node in ast.parse(inspect.getsource(module)).body:
        match node:
            case ast.Assign(targets=[ast.Name(name)]) | ast.AnnAssign(target=ast.Name(name)):
                found.add(name)
    return found


def directive(module: ModuleType, name: str) -> list[str]:
    """The lines that describe one public name."""
    thing = getattr(module, name)
    target = f"{module.__name__}.{name}"
    if isinstance(thing, type):
        kind = "autoexception" if issubclass(thing, BaseException) else "autoclass"
        return [f".. {kind}:: {target}", "   :members:", *inherited(thing), ""]
    if isinstance(thing, FunctionType | MethodType | BuiltinFunctionType):
        return [f".. autofunction:: {target}", ""]
    return [f".. autodata:: {target}", "   :no-value:", ""]


def inherited(kind: type) -> list[str]:
    """The option that shows what a class has from bases in private modules, which no page describes."""
    private = [base for base in kind.__mro__ if is_ours(base) and "._" in base.__module__]
    if not private:
        return []
    others = [base.__name__ for base in kind.__mro__[1:] if base not in private]
    return [f"   :inherited-members: {', '.join(others)}"]


def is_ours(kind: type) -> bool:
    """Whether a class is defined in a package of this repository."""
    return kind.__module__.partition(".")[0].startswith("hubbub")


def module_section(module: ModuleType, where: dict[tuple[str, int], str], is_package: bool) -> list[str]:
    """The description of one module and of the names that are described with it."""
    lines = ["```{eval-rst}", f".. automodule:: {module.__name__}", "   :no-members:", ""]
    others = []
    for name in listed_names(module):
        home = where[name, id(getattr(module, name))]
        if not is_own(module, name):
            continue
        if home == module.__name__:
            lines += directive(module, name)
        elif not is_package:
            others.append(f":py:obj:`{name} <{home}.{name}>`")
    if others:
        lines += ["Also here: " + ", ".join(others) + ".", ""]
    return [*lines, "```", ""]


def package_page(readme: str, source: Path) -> str:
    """The page of one package: its README, then what is public, by the shortest name under which it can be imported."""
    paths = public_modules(source)
    modules = {module: importlib.import_module(module) for module in paths}
    where = homes(modules)
    lines = [readme, "## Reference", ""]
    for module, path in paths.items():
        lines += [f"### `{module}`", "", *module_section(modules[module], where, path.name == "__init__.py")]
    return "\n".join(lines)


def on_site(readme: str, documentation: str) -> str:
    """A README whose links to pages of this site lead there from a page of ``api``, wherever the site is."""
    return re.sub(rf"\({re.escape(documentation)}/(?:(api)/)?([\w/-]*)\.html", _page, readme)


def _page(found: re.Match[str]) -> str:
    return f"({found[2]}.md" if found[1] else f"(../{found[2]}.md"


def write_api(app: Sphinx) -> None:
    """Writes the API pages, leaving those alone that would not change."""
    documentation = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hubbub"]["documentation"]
    folder = Path(app.srcdir, "api")
    folder.mkdir(exist_ok=True)
    pages = {}
    for path in sorted(ROOT.glob("packages/*/pyproject.toml")):
        name = tomllib.loads(path.read_text())["project"]["name"]
        (source,) = (p for p in (path.parent / "src").iterdir() if (p / "py.typed").exists())
        readme = (path.parent / "README.md").read_text()
        compat = path.parent / "COMPAT.md"
        if compat.exists():
            pages[f"{name}-compat.md"] = compat.read_text()
        pages[f"{name}.md"] = package_page(on_site(readme, documentation), source)
    for stale in {path.name for path in folder.iterdir()} - set(pages):
        (folder / stale).unlink()
    for file, text in pages.items():
        page = folder / file
        if not page.exists() or page.read_text() != text:
            page.write_text(text)


def setup(app: Sphinx) -> None:
    """Has the API pages written before Sphinx looks for documents."""
    app.connect("builder-inited", write_api)
