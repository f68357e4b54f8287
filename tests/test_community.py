"""The documents for those who take part, and the settings of their tools."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

DOCUMENTS = ("CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "README.md", "SECURITY.md")
LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links(root: Path, name: str) -> None:
    """Links of the documents at the top lead to files that exist, or to other sites."""
    links = LINK.findall((root / name).read_text())
    assert links
    for link in links:
        assert link.startswith("https://") or (root / link.partition("#")[0]).exists(), link


def test_files_exist(root: Path) -> None:
    """What CONTRIBUTING names in the tree exists."""
    text = (root / "CONTRIBUTING.md").read_text()
    for path in re.findall(r"`((?:packages|integration|docs)/[\w/.-]*?)(?=[\s`])", text):
        assert (root / path).exists(), path


WRITTEN = (
    "*.md",
    "*.toml",
    ".github/**/*.yml",
    "docs/*.md",
    "docs/howto/*.md",
    "docs/explanation/*.md",
    "packages/*/*.*",
)
ADDRESS = re.compile(r"https://(?:github\.com/[\w-]+|[\w-]+\.github\.io)/hubbub\b")


def test_one_address(root: Path) -> None:
    """Whatever names the repository or the site names those of the settings: who moves them is told what is left."""
    places = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hubbub"]
    paths = [path for pattern in WRITTEN for path in root.glob(pattern) if path.is_file()]
    wrong = {
        f"{path.relative_to(root)}: {address}"
        for path in paths
        for address in ADDRESS.findall(path.read_text())
        if address not in places.values()
    }
    assert wrong == set()
    named = {path for path in paths if places["source"] in path.read_text()}
    assert {root / "SECURITY.md", root / ".github/ISSUE_TEMPLATE/config.yml"} <= named


def test_same_tools(root: Path) -> None:
    """A commit is checked by the versions of the tools that ./do uses."""
    pinned = dict(
        line.split("==")
        for name in ("lint", "workflows")
        for line in (root / "requirements" / f"{name}.txt").read_text().split()
    )
    found = re.findall(r'"([\w-]+)==([\w.]+)"', (root / ".pre-commit-config.yaml").read_text())
    assert {name for name, _ in found} == {"ruff", "zizmor"}
    for name, version in found:
        assert pinned[name] == version, name
