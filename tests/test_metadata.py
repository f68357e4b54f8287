"""What an index shows of each package."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from trove_classifiers import classifiers as known_classifiers

from tools import changelogs

if TYPE_CHECKING:
    from conftest import Package

LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.fixture(scope="module")
def places(root: Path) -> dict[str, str]:
    """Where the project says that it lives."""
    found: dict[str, str] = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hubbub"]
    return found


def test_urls(package: Package, places: dict[str, str]) -> None:
    """Every package names its page, its source, its changelog and where to report, all of this project."""
    short, name = package.short, package.project["name"]
    assert package.project["urls"] == {
        "Documentation": f"{places['documentation']}/api/{name}.html",
        "Source": f"{places['source']}/tree/main/packages/{short}",
        "Changelog": f"{places['source']}/blob/main/packages/{short}/CHANGELOG.md",
        "Issues": f"{places['source']}/issues",
    }


def test_classifiers(package: Package) -> None:
    """The classifiers of every package are known to the index, sorted, and say topic, system and audience."""
    found = package.project["classifiers"]
    assert set(found) <= known_classifiers
    assert len(found) == len(set(found))
    for kind in ("Topic", "Operating System", "Intended Audience", "Development Status"):
        assert any(word.startswith(f"{kind} :: ") for word in found), kind
    assert not any(word.startswith("License :: ") for word in found), "the licence is an SPDX expression (PEP 639)"
    assert package.project["keywords"]


def test_dunder_version(package: Package) -> None:
    """``__version__`` is the version of the installed distribution; any other name that is not there is an error."""
    module = importlib.import_module(package.import_name)
    assert module.__version__ == version(package.project["name"])
    with pytest.raises(AttributeError, match=f"module '{package.import_name}' has no attribute 'nonsense'"):
        _ = module.nonsense


def targets(path: Path) -> list[str]:
    """Where the links of a document lead."""
    return LINK.findall(re.sub(r"```.*?```|`[^`]*`", "", path.read_text(), flags=re.DOTALL))


def test_links_hold_on_the_index(package: Package, root: Path, places: dict[str, str]) -> None:
    """A README has no link that only the repository could follow, and what it links to in the project exists."""
    documents = [path for folder in (".", "howto") for path in (root / "docs" / folder).glob("*.md")]
    pages = {path.relative_to(root / "docs").with_suffix("").as_posix() for path in documents}
    for other in (root / "packages").glob("*/pyproject.toml"):
        name = tomllib.loads(other.read_text())["project"]["name"]
        pages |= {f"api/{name}", *([f"api/{name}-compat"] if other.with_name("COMPAT.md").exists() else [])}
    for target in targets(package.folder / "README.md"):
        address, _, anchor = target.partition("#")
        if address.startswith(places["documentation"]):
            page = address.removeprefix(places["documentation"]).strip("/").removesuffix(".html")
            assert page in pages | {""}, target
        elif address.startswith(places["source"]):
            path = re.sub(r"^/(?:blob|tree)/main/", "", address.removeprefix(places["source"]))
            assert (root / path).exists(), target
        elif address:
            assert address.startswith("https://"), f"{target} leads nowhere on the index"
        else:
            assert anchor in anchors(package.folder / "README.md"), target


def test_site_keeps_links(root: Path) -> None:
    """A link of a README to a page of the site leads there from the README's own page, also to one in a folder."""
    spec = importlib.util.spec_from_file_location("docs_conf_links", root / "docs" / "conf.py")
    assert spec is not None
    assert spec.loader is not None
    conf = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conf)
    site = "https://x.test/y"
    readme = (
        f"[a]({site}/tutorial.html) [b]({site}/howto/tls.html#x) [c]({site}/api/hubbub-net.html) [d](https://z/a.html)"
    )
    assert (
        conf.on_site(readme, site)
        == "[a](../tutorial.md) [b](../howto/tls.md#x) [c](hubbub-net.md) [d](https://z/a.html)"
    )


def anchors(path: Path) -> set[str]:
    """The headings of a document as links spell them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_changelog(package: Package) -> None:
    """Every changelog has the form of Keep a Changelog and says what the next version brings."""
    changelog = changelogs.parse((package.folder / "CHANGELOG.md").read_text())
    newest = changelog.sections[1] if len(changelog.sections) > 1 else None
    if newest is None:
        assert not changelog.sections[0].empty
    elif package.project["version"] == newest.name:
        assert newest.day is not None


LOG = """# Changelog

## [Unreleased]

### Added

- a

## [0.2.0] - 2030-01-02

### Fixed

- b

## [0.1.0] - 2029-12-31 [YANKED]

- c
"""


def test_sections() -> None:
    """Sections have their version, day and text."""
    sections = changelogs.parse(LOG).sections
    assert [(section.name, section.day) for section in sections] == [
        ("Unreleased", None),
        ("0.2.0", date(2030, 1, 2)),
        ("0.1.0", date(2029, 12, 31)),
    ]
    assert sections[1].text == "### Fixed\n\n- b"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("## [Unreleased]", "## Unreleased", "is to be"),
        ("## [Unreleased]\n", "", "first section"),
        (" - 2030-01-02", "", "is to be"),
        ("### Fixed", "### Mended", "one of Added, Changed"),
        ("0.2.0", "0.0.2", "newest first"),
        ("0.2.0", "0.1.0", "once each"),
        ("0.2.0", "zero", "no version"),
    ],
)
def test_wrong_forms(old: str, new: str, said: str) -> None:
    """What is not of the form is refused with what would be right."""
    assert old in LOG
    with pytest.raises(ValueError, match=said):
        changelogs.parse(LOG.replace(old, new, 1))


def test_release_of_a_changelog() -> None:
    """What was unreleased gets version and day; a second time there is nothing, and a version comes once."""
    done = changelogs.release(LOG, "0.3.0", date(2030, 2, 1))
    changelog = changelogs.parse(done)
    assert [section.name for section in changelog.sections] == ["Unreleased", "0.3.0", "0.2.0", "0.1.0"]
    assert changelog.sections[0].empty
    assert changelog.sections[1].text == "### Added\n\n- a"
    with pytest.raises(ValueError, match="nothing is unreleased"):
        changelogs.release(done, "0.4.0", date(2030, 2, 1))
    with pytest.raises(ValueError, match="has been released"):
        changelogs.release(LOG, "0.2.0", date(2030, 2, 1))
