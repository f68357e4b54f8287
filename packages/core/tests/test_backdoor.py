"""hubbub.backdoor: a Python prompt for those who may have it."""

import os
import socket
import stat
import sys

import hubbub
import pytest
from hubbub import backdoor
from hubbub.backdoor import BackdoorServer
from hubbub.io import Socket


class Client:
    """Talks to a prompt."""

    def __init__(self, address):
        unix = isinstance(address, (str, bytes))
        family = socket.AF_UNIX if unix else socket.AF_INET6 if len(address) == 4 else socket.AF_INET
        self.socket = Socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(10)
        self.socket.connect(address)
        self.banner = self.until_prompt()

    def until_prompt(self, prompts=(b">>> ", b"... ")):
        data = b""
        while not data.endswith(prompts):
            piece = self.socket.recv(4096)
            if not piece:
                break
            data += piece
        return data.decode()

    def enter(self, line):
        self.socket.sendall(line.encode() + b"\n")
        return self.until_prompt().removesuffix(">>> ").removesuffix("... ")

    def ended(self):
        return self.socket.recv(100) == b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


@pytest.fixture
def server(hub):
    with BackdoorServer(("127.0.0.1", 0), {"given": 5}, "welcome") as made:
        yield made


def test_prompt(server):
    """A session evaluates and executes what it is sent, and shows values, prints and tracebacks."""
    with Client(server.address) as client:
        assert client.banner == "welcome\n>>> "
        assert client.enter("1 + 1") == "2\n"
        assert client.enter("_") == "2\n"
        assert client.enter("None") == ""
        assert client.enter("print('höhe', given)") == "höhe 5\n"
        assert client.enter("import sys; sys.stderr.write('x\\n') and None") == "x\n"
        assert client.enter("def double(x):") == ""
        assert client.enter("    return 2 * x") == ""
        assert client.enter("") == ""
        assert client.enter("double(21)\r") == "42\n"
        assert "ZeroDivisionError" in client.enter("1 / 0")
        assert "SyntaxError" in client.enter("1 +* 2")
        assert "KeyboardInterrupt" in client.enter("raise KeyboardInterrupt")


def test_input(server):
    """input() asks the session."""
    with Client(server.address) as client:
        client.socket.sendall(b"'<' + input('name? ') + '>'\n")
        assert client.until_prompt((b"? ",)) == "name? "
        assert client.enter("x") == "'<x>'\n"


@pytest.mark.parametrize("end", ["exit()", "quit()", "raise SystemExit", "\x04"])
def test_end_of_a_session(server, end):
    """exit, quit, SystemExit and Ctrl-D end the session, not the process."""
    with Client(server.address) as client:
        client.enter(end)
        assert client.ended()
    with Client(server.address) as client:
        assert client.enter("3") == "3\n"


def test_sessions_are_apart(server, capsys):
    """Names, output and ``_`` of a session are its own; other greenlets print where they did before."""
    output = sys.stdout
    with Client(server.address) as one, Client(server.address) as other:
        assert one.enter("mine = 1; 'one'") == "'one'\n"
        assert "NameError" in other.enter("mine")
        assert other.enter("'other'") == "'other'\n"
        assert one.enter("_") == "'one'\n"
        sys.stdout.write("mine\n")
        hubbub.spawn(sys.stdout.write, "greenlet's\n").join()
    assert capsys.readouterr().out == "mine\ngreenlet's\n"
    hubbub.sleep(0.01)
    assert sys.stdout is output


def test_output_of_spawned_greenlets(server):
    """What a greenlet prints that a session has spawned goes to that session."""
    with Client(server.address) as client:
        client.enter("import hubbub")
        client.socket.sendall(b"hubbub.spawn(print, 'spawned').join()\n")
        assert client.until_prompt() == "spawned\n>>> "


def test_waiting_in_a_session(server):
    """Other greenlets run while a session waits."""
    with Client(server.address) as client:
        client.enter("import hubbub")
        client.socket.sendall(b"hubbub.sleep(0.01)\n")
        with Client(server.address) as other:
            assert other.enter("4") == "4\n"
        assert client.until_prompt() == ">>> "


def test_client_that_goes_away(server, hub):
    """A client that disappears in the middle leaves no session, and no report."""
    told = []
    hub.handle_error = lambda *args: told.append(args)
    client = Client(server.address)
    client.socket.sendall(b"print('x' * 10)\n")
    client.socket.close()
    hubbub.sleep(0.01)
    assert told == []
    assert server._sessions == set()


def test_stop(server):
    """stop ends sessions and frees the address; nobody can connect any more."""
    address = server.address
    with Client(address) as client:
        server.stop()
        server.stop()
        assert client.ended()
    with pytest.raises(ConnectionRefusedError), Socket(socket.AF_INET, socket.SOCK_STREAM) as client:
        client.connect(address)


def test_unix_socket(hub, tmp_path):
    """A UNIX socket can be opened by its owner alone, and is removed by stop."""
    path = os.fspath(tmp_path / "socket")
    with BackdoorServer(path) as server:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        assert server.address == path
        with Client(path) as client:
            assert client.banner.startswith("Python ")
            assert client.enter("6") == "6\n"
        with pytest.raises(OSError, match="in use"):
            BackdoorServer(path)
    assert not os.path.exists(path)


@pytest.mark.parametrize("address", [("0.0.0.0", 0), ("::", 0), ("", 0), ("192.0.2.1", 0)])
def test_addresses_of_others(hub, address):
    """An address that other machines can reach is refused, unless told otherwise."""
    with pytest.raises(ValueError):
        BackdoorServer(address)


def test_remote_when_told(hub):
    """With allow_remote any address will do."""
    with (
        BackdoorServer(("0.0.0.0", 0), allow_remote=True) as server,
        Client(("127.0.0.1", server.address[1])) as client,
    ):
        assert client.enter("7") == "7\n"


def test_listening_socket(hub):
    """A listening socket may be given; it stays the caller's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with BackdoorServer(listener) as server, Client(server.address) as client:
            assert client.enter("8") == "8\n"
        assert listener.fileno() >= 0
    with socket.create_server(("0.0.0.0", 0)) as listener, pytest.raises(ValueError, match="other machines"):
        BackdoorServer(listener)


def test_command_line(hub, tmp_path, capsys):
    """python -m hubbub.backdoor serves a path; without an argument it tells how to use it."""
    with pytest.raises(SystemExit, match="usage"):
        backdoor.main([])
    path = os.fspath(tmp_path / "socket")
    serving = hubbub.spawn(backdoor.main, [path])
    hubbub.sleep(0.001)
    with Client(path) as client:
        assert client.enter("hub is not None") == "True\n"
    serving.kill(KeyboardInterrupt)
    assert not os.path.exists(path)
    assert path in capsys.readouterr().err
