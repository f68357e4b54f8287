"""The test of the site: ``pytest --hubbub-monkey test_site_app.py``."""

import time

import hubbub
import pytest
from hubbub_server import WSGIServer
from site_app import app


def slow(environ, start_response):
    """A server that takes its time."""
    hubbub.sleep(0.2)
    start_response("200 OK", [("Content-Length", "0")])
    return [b""]


@pytest.fixture
def server():
    """The address of a slow server, in the same process."""
    with WSGIServer(("127.0.0.1", 0), slow, log=None) as server:
        yield "http://{}:{}/".format(*server.address)


def test_servers_are_asked_at_the_same_time(server):
    """Ten slow servers cost the time of one."""
    app.config["URLS"] = [server] * 10
    began = time.monotonic()
    page = app.test_client().get("/").text
    assert page.count("200") == 10
    assert time.monotonic() - began < 1.5


def test_a_server_that_is_down():
    """What is wrong is on the page."""
    app.config["URLS"] = ["http://127.0.0.1:1/"]
    assert "down" in app.test_client().get("/").text
