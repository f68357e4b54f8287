"""What the system tells of its own addresses."""

from __future__ import annotations

from pathlib import Path

import pytest
from hubbub_dns._interfaces import PLAIN, Traits, traits_of

LINES = """\
20010db8000000000000000000000001 02 40 00 00 eth0
20010db8000000000000000000000002 02 40 00 20 eth0
20010db8000000000000000000000003 03 40 00 10 sit0
too few
"""


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("2001:db8::1", PLAIN),
        ("2001:db8::2", Traits(deprecated=True, home=False, tunnelled=False)),
        ("2001:db8::3", Traits(deprecated=False, home=True, tunnelled=True)),
        ("2001:db8::4", PLAIN),
        ("192.0.2.1", PLAIN),
        ("2001:db8::2%eth0", Traits(deprecated=True, home=False, tunnelled=False)),
    ],
)
def test_traits(tmp_path: Path, source: str, expected: Traits) -> None:
    """Flags come from the list of addresses, the kind of the interface from its own file."""
    addresses = tmp_path / "if_inet6"
    addresses.write_text(LINES)
    for device, kind in (("eth0", "1"), ("sit0", "776")):
        (tmp_path / device).mkdir()
        (tmp_path / device / "type").write_text(f"{kind}\n")
    assert traits_of(source, addresses, tmp_path) == expected


def test_other_systems(tmp_path: Path) -> None:
    """Where there are no such files, every address is plain."""
    assert traits_of("2001:db8::1", tmp_path / "absent", tmp_path) == PLAIN
    assert traits_of("::1") == PLAIN
