"""Reading resolv.conf."""

from __future__ import annotations

import random

import pytest
from hubbub_dns._resolvconf import Settings, candidates, parse


def test_empty() -> None:
    """Without a word, this machine is asked and the domain of its name is searched."""
    assert parse("") == Settings(servers=("127.0.0.1",), search=(), ndots=1, timeout=5.0, attempts=2)
    assert parse("", hostname="host.example.test").search == ("example.test",)


def test_everything() -> None:
    """Servers, search list and options are read; comments and unknown words are passed over."""
    text = """\
# comment
; comment
nameserver 192.0.2.1
nameserver 2001:db8::1   # the rest of the line
  nameserver 192.0.2.3
domain old.test
search one.test two.test.
options ndots:3 timeout:2 attempts:4 rotate use-vc no-aaaa no-tld-query edns0 trust-ad unknown
sortlist 192.0.2.0/255.255.255.0
"""
    assert parse(text) == Settings(
        servers=("192.0.2.1", "2001:db8::1", "192.0.2.3"),
        search=("one.test", "two.test"),
        ndots=3,
        timeout=2.0,
        attempts=4,
        rotate=True,
        use_vc=True,
        no_aaaa=True,
        no_tld_query=True,
    )


def test_last_one_wins() -> None:
    """Of domain and search the last one counts."""
    assert parse("search one.test\ndomain two.test\n").search == ("two.test",)
    assert parse("domain one.test\nsearch two.test three.test\n").search == ("two.test", "three.test")


def test_environment() -> None:
    """LOCALDOMAIN replaces the search list, RES_OPTIONS comes after the options."""
    environ = {"LOCALDOMAIN": "env.test other.test", "RES_OPTIONS": "ndots:7 rotate"}
    settings = parse("search file.test\noptions ndots:2\n", environ)
    assert settings.search == ("env.test", "other.test")
    assert settings.ndots == 7
    assert settings.rotate


def test_limits() -> None:
    """Ten servers are three, and options have glibc's limits."""
    settings = parse("".join(f"nameserver 192.0.2.{number}\n" for number in range(10)))
    assert settings.servers == ("192.0.2.0", "192.0.2.1", "192.0.2.2")
    settings = parse("options ndots:99 timeout:99999999999999999999 attempts:77\n")
    assert (settings.ndots, settings.timeout, settings.attempts) == (15, 30.0, 5)
    settings = parse("options timeout:0 attempts:0 ndots:-1 ndots: ndots:x timeout:\u00b2\n")
    assert (settings.ndots, settings.timeout, settings.attempts) == (1, 1.0, 1)


def test_nonsense() -> None:
    """No text makes it fail."""
    dice = random.Random(5)
    words = [
        "nameserver",
        "search",
        "options",
        "ndots:",
        ":",
        "#",
        "\n",
        " ",
        "\t",
        "\0",
        "127.0.0.1",
        "\u2028",
        "9" * 99,
    ]
    for _ in range(2000):
        settings = parse("".join(dice.choice(words) + dice.choice(" \n\t") for _ in range(dice.randrange(30))))
        assert settings.servers
        assert 0 <= settings.ndots <= 15


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("host", "", ["host.a", "host.b", "host"]),
        ("host", "options no-tld-query", ["host.a", "host.b"]),
        ("x.y", "options no-tld-query", ["x.y", "x.y.a", "x.y.b"]),
        ("x.y", "options ndots:2", ["x.y.a", "x.y.b", "x.y"]),
        ("x.y.", "options ndots:2", ["x.y"]),
        ("host.", "", ["host"]),
    ],
)
def test_candidates(name: str, options: str, expected: list[str]) -> None:
    """The names to ask for, in glibc's order."""
    assert candidates(name, parse(f"search a b\n{options}\n")) == expected


def test_root_in_the_search_list() -> None:
    """The root as search domain is the name itself, which is not asked for twice."""
    assert candidates("host", parse("search a . b\n")) == ["host.a", "host", "host.b"]
