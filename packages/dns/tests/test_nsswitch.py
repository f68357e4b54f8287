"""Reading nsswitch.conf."""

from __future__ import annotations

import pytest
from hubbub_dns._nsswitch import DEFAULT, Plan, Status, parse


def plan_of(text: bytes) -> Plan:
    """What the parser returns."""
    steps = parse(text)
    with pytest.raises(StopIteration) as info:
        next(steps)
    plan: Plan = info.value.value
    return plan


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"hosts:\tdns files\n", ["dns", "files"]),
        (b"hosts: dns [NOTFOUND=continue] files # comment\n", ["dns", "files"]),
        (b"hosts: mymachines resolve [!UNAVAIL=return] files myhostname dns\n", ["files+dns", "files", "dns"]),
        (b"hosts: mymachines files resolve dns\n", ["files", "files+dns", "dns"]),
        (b"hosts: dns[NOTFOUND=return]files\n", ["dns", "files"]),
        (b"hosts: files\n", ["files"]),
        (b"hosts: files mdns4_minimal [NOTFOUND=return] myhostname\n", ["files"]),
        (b"hosts: dns\n", ["dns"]),
        (b"hosts: dns [NOTFOUND=return files\n", ["dns"]),
        (b"# hosts: dns files\nhosts: files # dns\n", ["files"]),
    ],
)
def test_order(text: bytes, expected: list[str]) -> None:
    """The hosts file and the servers are asked in the order of the file; others are passed over."""
    assert ["+".join(step.services) for step in plan_of(text)] == expected


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"passwd: files\nhosts: files dns\n",
        b"hosts: mdns4_minimal [NOTFOUND=return] files dns\n",
        b"hosts: files [SUCCESS=return] dns\n",
        b"hosts: files [no sense] [success=what ever=return] dns\n",
        b"hosts:\n",
        b"hosts: mdns4_minimal [NOTFOUND=return] myhostname\n",
        b"\0\xff\xfehosts dns files",
    ],
)
def test_default(text: bytes) -> None:
    """The hosts file comes first where the file says so, says nothing of use, or names neither."""
    assert plan_of(text) is DEFAULT


@pytest.mark.parametrize(
    ("actions", "expected"),
    [
        ("[NOTFOUND=return]", {"SUCCESS", "NOTFOUND"}),
        ("[!UNAVAIL=return]", {"SUCCESS", "NOTFOUND", "TRYAGAIN"}),
        ("[ notfound = return  TryAgain=RETURN ]", {"SUCCESS", "NOTFOUND", "TRYAGAIN"}),
        ("[NOTFOUND=return] [NOTFOUND=continue UNAVAIL=return]", {"SUCCESS", "UNAVAIL"}),
        ("[SUCCESS=continue]", set()),
        ("[SUCCESS=merge]", set()),
        ("[!SUCCESS=return]", {"SUCCESS", "NOTFOUND", "TRYAGAIN", "UNAVAIL"}),
    ],
)
def test_actions(actions: str, expected: set[str]) -> None:
    """Actions in brackets say which answers of the service before them end the search."""
    first, second = plan_of(f"hosts: files {actions} dns\n".encode())
    assert first.final == {Status[name] for name in expected}
    assert second.final == {Status.SUCCESS}
