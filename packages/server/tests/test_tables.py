"""The tables of the README: their rows are those that there are, each is true, and each has its test."""

from __future__ import annotations

import ast
import dataclasses
import itertools
import re
from pathlib import Path
from typing import Any

import hubbub
import hubbub_server
import pytest
from hubbub_server import Limits

FOLDER = Path(__file__).parent
README = (FOLDER.parent / "README.md").read_text()

POST = b"POST / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
SIZES = {
    "request_line": (16, b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n", 2, 3, 414),
    "header_count": (3, b"GET / HTTP/1.1\r\nHost: x\r\n%b\r\n", b"X: y\r\n" * 2, b"X: y\r\n" * 3, 431),
    "header_bytes": (60, b"GET / HTTP/1.1\r\nHost: x\r\nX: %b\r\n\r\n", 28, 29, 431),
    "field_bytes": (20, b"GET / HTTP/1.1\r\nHost: x\r\nX: %b\r\n\r\n", 17, 18, 431),
    "body_bytes": (3, CHUNKED + b"%b0\r\n\r\n", b"3\r\nabc\r\n", b"4\r\nabcd\r\n", 413),
    "chunk_extension_bytes": (8, CHUNKED + b"1;x=%b\r\na\r\n0\r\n\r\n", 5, 6, 400),
    "trailer_bytes": (20, CHUNKED + b"0\r\nX: %b\r\n\r\n", 15, 30, 431),
}
"""For each limit on a size: a value, a request, what to put there that is allowed, what is not, and the status then."""

CODES = {
    "1000": ["test_websocket.test_kinds_of_data"],
    "1001": ["test_websocket.test_stop"],
    "1002": ["test_websocket_rfc.test_reserved_bits", "test_websocket_rfc.test_wrong_order"],
    "1007": ["test_websocket_rfc.test_invalid_text", "test_websocket_rfc.test_damaged_data"],
    "1008": ["test_websocket.test_message_that_stalls"],
    "1009": ["test_websocket_rfc.test_message_limit", "test_websocket_rfc.test_bombs"],
    "1011": ["test_websocket.test_failed_application", "test_websocket.test_websocket_pong_seconds"],
}
"""The tests of the close codes of WebSockets."""

TESTS = {
    "Limits": {
        "requests_per_connection": ["test_tables.test_requests_per_connection"],
        "discard_bytes": ["test_tables.test_discard_bytes"],
        "header_seconds": ["test_limits.test_slow_head", "test_limits.test_silence_at_the_start"],
        "body_seconds": ["test_limits.test_slow_body"],
        "body_rate": ["test_limits.test_dripping_body"],
        "idle_seconds": ["test_limits.test_idle"],
        "write_seconds": ["test_limits.test_client_that_does_not_read"],
        "write_rate": ["test_clock.test_pace"],
        "request_seconds": ["test_deadline.test_nothing_sent", "test_deadline.test_part_sent"],
        "linger_seconds": ["test_limits.test_answer_survives_what_follows_it", "test_tables.test_linger_seconds"],
        "websocket_message_bytes": ["test_websocket_rfc.test_message_limit", "test_websocket_rfc.test_bombs"],
        "websocket_queue_bytes": [
            *(
                "test_websocket.test_websocket_queue_bytes_of_receiver",
                "test_websocket.test_websocket_queue_bytes_of_sender",
            ),
        ],
        "websocket_ping_seconds": ["test_websocket.test_websocket_ping_seconds"],
        "websocket_pong_seconds": ["test_websocket.test_websocket_pong_seconds"],
        "websocket_close_seconds": ["test_websocket.test_websocket_close_seconds"],
        "concurrent_streams": ["test_http2_attacks.test_concurrent_streams"],
        "stream_window": ["test_http2_attacks.test_stream_window"],
        "stream_resets": ["test_http2_attacks.test_stream_resets"],
        "control_frames": ["test_http2_attacks.test_control_frames"],
        **{name: ["test_tables.test_sizes"] for name in SIZES},
    },
    "HTTP/2": {
        "hubbub.early_hints(fields)": ["test_trailers.test_early_hints"],
        "hubbub.send_trailers(fields)": ["test_trailers.test_trailers_of_responses"],
        "hubbub.trailers()": ["test_trailers.test_trailers_of_requests"],
    },
    "WebSocket": {
        "receive(timeout), iteration": [
            *("test_websocket.test_timeout_of_receive", "test_websocket.test_killed_receiver"),
        ],
        "send(data, timeout)": [
            *("test_websocket.test_websocket_queue_bytes_of_sender", "test_websocket.test_killed_sender"),
        ],
        "send_nowait(data)": ["test_websocket.test_websocket_queue_bytes_of_sender"],
        "ping(timeout)": ["test_websocket.test_ping_by_the_application"],
        "close(code, reason, wait)": ["test_websocket.test_closed_by_application", "test_websocket.test_wrong_close"],
        "wait_closed(timeout)": ["test_websocket.test_wait_closed"],
        "go_away()": ["test_websocket.test_stop"],
        "statistics()": ["test_websocket.test_websocket_queue_bytes_of_receiver"],
    },
    "Events and request ids": {
        "request": ["test_events.test_requests"],
        "error": ["test_events.test_errors", "test_events.test_deadline"],
        "exception": ["test_events.test_errors"],
        "log": ["test_events.test_errors"],
        "websocket": ["test_websocket.test_events"],
        "websocket_closed": ["test_websocket.test_events"],
        "blocked": ["test_command.test_blocking_seconds"],
        "listening, stopping, stopped": ["test_events.test_life"],
        "supervisor": ["test_events.test_command"],
        "lost": ["test_events.test_lost_events"],
    },
    "Status codes": {
        "100": ["test_wsgi.test_expect_continue"],
        "101": ["test_websocket.test_events"],
        "400": ["test_attacks.test_attacks", "test_websocket.test_bad_opening"],
        "403": ["test_websocket.test_origin"],
        "405, 426": ["test_websocket.test_bad_opening"],
        "408": ["test_limits.test_slow_head", "test_limits.test_slow_body"],
        "413, 414, 431": ["test_tables.test_sizes"],
        "417": ["test_attacks.test_attacks"],
        "500": ["test_faults.test_faults"],
        "501": ["test_attacks.test_attacks"],
        "503": [
            *("test_deadline.test_nothing_sent", "test_faults.test_killed_by_stop"),
            "test_websocket.test_stop_refuses_new_ones",
        ],
        "505": ["test_attacks.test_attacks"],
        "a reset": ["test_deadline.test_part_sent", "test_limits.test_client_that_does_not_read"],
        "a close": [
            "test_limits.test_idle",
            "test_limits.test_silence_at_the_start",
            "test_command.test_term_under_load",
        ],
    },
    "How things stand": {
        "/-/": ["test_status.test_page_in_a_browser", "test_status.test_page_has_nothing_from_elsewhere"],
        "/-/health": ["test_counters.test_health", "test_status.test_health_of_a_service_that_ends"],
        "/-/status": ["test_status.test_answers_while_all_workers_compute", "test_counters.test_report"],
        "/-/metrics": ["test_counters.test_metrics", "test_counters.test_open_metrics"],
    },
    "The command": {
        "SIGTERM, SIGINT": [
            *("test_command.test_term_lets_requests_end", "test_command.test_term_under_load"),
            *("test_command.test_ctrl_c", "test_command.test_ends_at_once"),
        ],
        "SIGHUP": ["test_command.test_reload_refuses_nobody", "test_command.test_tls_and_new_certificate"],
        "SIGUSR1": ["test_command.test_rotated_logs"],
        "SIGUSR2": [
            *("test_upgrade.test_new_code_takes_over", "test_upgrade.test_old_code_goes_on"),
            *("test_upgrade.test_no_request_is_lost", "test_upgrade.test_needs_a_supervisor"),
        ],
        "SIGQUIT": ["test_command.test_ends_at_once"],
        "SIGTTIN, SIGTTOU": ["test_command.test_more_and_fewer_workers"],
    },
}
"""For each table, by the heading of its section, the tests of each row."""


def rows(section: str) -> list[list[str]]:
    """The cells of the first table in a section."""
    text = re.search(rf"^#+ {section}\n.*?(^\|.*?)\n\n", README, re.MULTILINE | re.DOTALL)
    assert text is not None, section
    lines = text[1].splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def names(section: str) -> list[str]:
    return [re.sub("[`\\[\\]]", "", row[0]) for row in rows(section)]


def is_there(test: str) -> bool:
    """Whether there is a test ``module.function``."""
    module, _, function = test.partition(".")
    tree = ast.parse((FOLDER / f"{module}.py").read_text())
    return function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("section", TESTS)
def test_rows_have_tests(section: str) -> None:
    """Each row of a table has tests, which are there; and no test is for a row that is not."""
    assert sorted(names(section)) == sorted(TESTS[section])
    for test in itertools.chain(*TESTS[section].values()):
        assert is_there(test), test


def test_close_codes_have_tests() -> None:
    """Each close code of the second table of WebSockets has tests, which are there."""
    text = README.partition("| code | when the server sends it |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| (\d+) \|", text, re.MULTILINE) == list(CODES)
    for test in itertools.chain(*CODES.values()):
        assert is_there(test), test


def test_limits_are_all() -> None:
    """The table has every limit, in the order of the class, with its default."""
    shown = {"none": None}
    fields = [(field.name, field.default) for field in dataclasses.fields(Limits)]
    table = [(row[0].strip("`"), shown.get(row[1], row[1])) for row in rows("Limits")]
    assert [(name, None if default is None else f"{default:g}") for name, default in fields] == [
        (name, None if default is None else f"{float(default):g}") for name, default in table
    ]


def read_all(environ: Any, start_response: Any) -> list[bytes]:
    environ["wsgi.input"].read()
    start_response("200 OK", [])
    return [b"ok"]


@pytest.mark.parametrize("name", SIZES)
def test_sizes(serve: Any, connect: Any, name: str) -> None:
    """A size that is just within the limit is served, one beyond it has its status, and the table says so."""
    limit, request, good, bad, status = SIZES[name]
    server = serve(read_all, limits=Limits(**{name: limit}))
    for given, wanted in ((good, 200), (bad, status)):
        client = connect(server)
        client.send(request % (b"x" * given if isinstance(given, int) else given))
        assert client.response("POST").status == wanted
    assert [row[2] for row in rows("Limits") if row[0] == f"`{name}`"] == [str(status)]


def test_discard_bytes(serve: Any, connect: Any) -> None:
    """A body that nobody has read keeps the connection if it is short enough, and ends it if it is longer."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"ok"]

    server = serve(application, limits=Limits(discard_bytes=10))
    for size, kept in ((10, True), (11, False)):
        client = connect(server)
        client.send(POST + b"Content-Length: %d\r\n\r\n" % size)
        assert ("connection" not in client.response("POST").headers) == kept


def test_linger_seconds(serve: Any, connect: Any) -> None:
    """What a refused client sends is read for no longer than that."""
    server = serve(limits=Limits(linger_seconds=0.1))
    client = connect(server)
    client.send(b"nonsense\r\n\r\n")
    assert client.rest().startswith(b"HTTP/1.1 400")  # its own end stays open
    with hubbub.Timeout(5):
        while server.connections:
            hubbub.sleep(0.01)


def test_requests_per_connection(serve: Any, connect: Any) -> None:
    """The last response that a connection may carry says so, and those before it do not."""
    client = connect(serve(limits=Limits(requests_per_connection=3)))
    for last in (False, False, True):
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (client.response().headers.get("connection") == "close") == last
    assert client.rest() == b""


def test_statuses_are_all() -> None:
    """The table of status codes has each that stands in the code of the server, and no other."""
    folder = Path(hubbub_server.__file__).parent
    sources = [*folder.glob("http/*.py"), *folder.glob("websocket/*.py"), folder / "wsgi.py"]
    there = {code for path in sources for code in re.findall(r'"([1-5][0-9]{2}) [A-Z]', path.read_text())}
    there -= {"200"}  # the application's, until it says another
    assert {code for row in names("Status codes") for code in row.split(", ") if code.isdecimal()} == there
