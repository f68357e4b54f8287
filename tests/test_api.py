"""The comparison of public names between two versions."""

from __future__ import annotations

from dataclasses import dataclass, field

from tools import api


@dataclass
class Thing:
    """What griffe knows of a module, class or function, as far as it is looked at."""

    path: str
    is_public: bool = True
    is_module: bool = False
    is_class: bool = False
    is_alias: bool = False
    members: dict[str, Thing] = field(default_factory=dict)


def test_public_paths() -> None:
    """Public names are found in modules and classes; private ones, and what is behind an alias, are not."""
    inner = Thing("p.m.C", is_class=True, members={"a": Thing("p.m.C.a"), "_b": Thing("p.m.C._b", is_public=False)})
    module = Thing("p.m", is_module=True, members={"C": inner})
    alias = Thing("p.C", is_alias=True, is_class=True, members={"a": Thing("p.m.C.a")})
    private = Thing("p._x", is_module=True, is_public=False, members={"f": Thing("p._x.f")})
    package = Thing("p", is_module=True, members={"m": module, "C": alias, "_x": private})
    assert api.public_paths(package) == {"p.m.C", "p.m.C.a", "p.C"}


def test_differences() -> None:
    """What went is told before what came, each in order."""
    assert api.differences(["b", "a", "c"], ["c", "e", "d"]) == ["- a", "- b", "+ d", "+ e"]
