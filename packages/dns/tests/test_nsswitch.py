"""Reading nsswitch.conf."""

from __future__ import annotations

import pytest
from hubbub_dns._nsswitch import parse


def servers_first(text: bytes) -> bool:
    """What the parser returns."""
    steps = parse(text)
    with pytest.raises(StopIteration) as info:
        next(steps)
    assert isinstance(info.value.value, bool)
    return info.value.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", False),
        (b"passwd: files\nhosts: files dns\n", False),
        (b"hosts:\tdns files\n", True),
        (b"hosts: dns [NOTFOUND=continue files] files # comment\n", True),
        (b"hosts: mymachines resolve [!UNAVAIL=return] files myhostname dns\n", True),
        (b"hosts: mymachines files resolve dns\n", False),
        (b"hosts: dns\n", False),
        (b"# hosts: dns files\nhosts: files # dns\n", False),
        (b"hosts:\n", False),
        (b"\0\xff\xfehosts dns files", False),
    ],
)
def test_order(text: bytes, expected: bool) -> None:
    """The servers come first only where the file says so and names the hosts file too."""
    assert servers_first(text) is expected
