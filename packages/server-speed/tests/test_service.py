"""The attributes of a server that each request asks for, however the server has them."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hubbub_server import WSGIServer
from hubbub_server.http.accesslog import AccessLog

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def says(text: str) -> Any:
    """An application that answers with a text."""

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        return [f"{text} {environ.get('more')}".encode()]

    return application


def test_they_may_be_changed(serve: Any, converse: Any) -> None:
    """What is assigned while the server runs holds for the next request of a connection that is open already."""
    log = io.StringIO()

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        server.application = says("second")
        server.base_env = {**server.base_env, "more": "entries"}
        server.access_log = AccessLog(log, lambda entry: entry.request)
        start_response("200 OK", [])
        return [b"first"]

    server = serve(application)
    answers = converse(server, [REQUEST * 3])
    assert answers.count(b"first") == 1
    assert answers.count(b"second entries") == 2
    assert log.getvalue().count("GET / HTTP/1.1") == 2


def test_a_server_that_stops(serve: Any, converse: Any) -> None:
    """When the server begins to stop, the response that is under way is the connection's last."""

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        server.stopping = True
        start_response("200 OK", [])
        return [b"the last"]

    server = serve(application)
    answers = converse(server, [REQUEST * 3])
    assert answers.count(b"the last") == 1
    assert b"\r\nConnection: close\r\n" in answers


class Method(WSGIServer):
    """Its application is a method."""

    def application(self, environ: dict[str, Any], start_response: Any) -> Any:
        """Answers."""
        start_response("200 OK", [])
        return [b"a method " + str(environ.get("more")).encode()]


class Property(Method):
    """It makes its entries anew each time."""

    count = 0

    @property
    def base_env(self) -> Any:
        """What every environ starts with."""
        self.count += 1
        return {**self.__dict__["own"], "more": self.count}

    @base_env.setter
    def base_env(self, value: Any) -> None:
        self.__dict__["own"] = value


class Asked(Method):
    """It is asked for every attribute."""

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        return {**value, "more": "asked"} if name == "base_env" else value


@pytest.mark.parametrize(("kind", "expected"), [(Method, "None"), (Property, "1"), (Asked, "asked")])
def test_classes_that_have_them_in_another_way(hub: Any, converse: Any, kind: Any, expected: str) -> None:
    """A method, a property, or a class that answers by itself: each is asked as Python asks it."""
    server = kind(("127.0.0.1", 0), log=None)
    server.start()
    try:
        first = converse(server, [REQUEST])
        assert f"a method {expected}".encode() in first
        following = b"a method 2" if kind is Property else f"a method {expected}".encode()
        assert following in converse(server, [REQUEST])
    finally:
        server.stop(0.2)


def test_a_class_that_is_changed(hub: Any, converse: Any) -> None:
    """A class may get such an attribute while its servers run."""

    class Own(WSGIServer):
        pass

    server = Own(("127.0.0.1", 0), says("assigned"), log=None)
    server.start()
    try:
        assert b"assigned" in converse(server, [REQUEST])
        Own.application = property(lambda self: says("of the class"))
        assert b"of the class" in converse(server, [REQUEST])
        del Own.application
        assert b"assigned" in converse(server, [REQUEST])
    finally:
        server.stop(0.2)


def test_servers_of_two_kinds(serve: Any, hub: Any, converse: Any) -> None:
    """Servers of different classes answer in turn, each by its own."""
    plain = serve(says("plain"))
    other = Method(("127.0.0.1", 0), log=None)
    other.start()
    try:
        for _ in range(3):
            assert b"plain" in converse(plain, [REQUEST])
            assert b"a method" in converse(other, [REQUEST])
    finally:
        other.stop(0.2)
