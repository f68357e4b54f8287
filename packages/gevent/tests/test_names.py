"""Names that programs take from gevent's modules and that do more than stand for something of hubbub's."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

Program = Callable[..., list[str]]


def test_submodules_of_the_bare_import(program: Program) -> None:
    """``import gevent`` brings the modules that programs use without importing them, and not gevent.monkey."""
    source = """
    import gevent, sys
    print(gevent.event.Event.__name__, gevent.exceptions.LoopExit.__name__, gevent.hub.Hub.__name__)
    print("gevent.monkey" in sys.modules)
    from gevent import *
    print("event" in globals())
    """
    assert program(source) == ["Event LoopExit Hub", "False", "False"]


def test_monkey_api(program: Program) -> None:
    """Plug-ins import ``gevent.monkey.api``; what it replaces is restored from what it saved."""
    source = """
    import time, types
    from gevent.monkey import api
    import gevent.monkey, hubbub_gevent.monkey.api as own
    print(api is own, api.patch_item is gevent.monkey.patch_item)
    sleep = time.sleep
    api.patch_item(time, "sleep", print)
    saved = gevent.monkey.saved["time"]["sleep"]
    print(time.sleep is print, api.get_original("time", "sleep") is sleep, saved is sleep)
    target, source = types.ModuleType("target"), types.ModuleType("source")
    target.a, target.b, source.a, source.__implements__ = 1, 2, 3, ["a"]
    print(api.patch_module(target, source), target.a, api.get_original("time", ["sleep", "time"])[0] is sleep)
    api.remove_item(target, "b")
    print(hasattr(target, "b"))
    """
    assert program(source) == ["True True", "True True True", "True 3 True", "False"]


def test_patching_says_nothing_of_itself(program: Program) -> None:
    """``gevent.monkey.patch_all()`` gives no warning about objects of the facade's own, imported before or not."""
    source = """
    import warnings
    warnings.simplefilter("error")
    import gevent, gevent.monkey, gevent.socket, gevent.ssl, gevent.pywsgi, gevent.resolver.thread, gevent.subprocess
    print(gevent.monkey.patch_all())
    """
    assert program(source) == ["True"]


def test_loop_modules(program: Program) -> None:
    """The modules of gevent's loops have the loop class and the functions beside it."""
    source = """
    from gevent.libev import corecext, corecffi
    from gevent.libuv import loop
    from gevent.libuv.loop import watcher, get_version
    for module in (corecext, corecffi, loop):
        print(module.loop.name, all(hasattr(module, name) for name in module.__all__), module.time() > 0)
    print(isinstance(corecext.loop(default=False).timer(1), watcher), get_version() == corecext.get_version())
    """
    assert program(source) == ["libev True True", "libev True True", "libuv True True", "True True"]


def test_arguments_of_watchers(on_loop: Program) -> None:
    """``watcher.args`` is a tuple while the watcher is started, and None before, after, and when None is assigned."""
    source = """
    import gevent
    called = []
    timer = gevent.get_hub().loop.timer(0.001)
    print(timer.args, timer.callback)
    timer.start(lambda *args: called.append(args))
    print(timer.args, timer.callback is not None)
    timer.args = 1, 2
    print(timer.args)
    timer.args = None
    print(timer.args, timer.active)
    gevent.sleep(0.01)
    print(called, timer.args)
    try: timer.args = [1]
    except TypeError: print("refused")
    """
    assert on_loop(source) == ["None None", "() True", "(1, 2)", "None True", "[()] None", "refused"]


def test_monitor_imported_after_patching(program: Program) -> None:
    """The monitoring thread is native and sleeps natively, whenever its module is imported."""
    source = """
    import gevent.monkey; gevent.monkey.patch_all()
    import gevent, threading
    from gevent import _monitor
    native = gevent.monkey.get_original("_thread", "get_ident")
    seen = []
    monitor = _monitor.PeriodicMonitoringThread(gevent.get_hub())
    monitor.add_monitoring_function(lambda hub: seen.append(native()), 0.01)
    with gevent.Timeout(20):
        while not seen:
            gevent.sleep(0.01)
    monitor.kill()
    print(native() in seen, _monitor._sleep is gevent.monkey.get_original("time", "sleep"))
    """
    assert program(source) == ["False True"]


def test_linkproxy(program: Program) -> None:
    """``hub.linkproxy`` calls its function with its own object."""
    source = """
    import gevent
    from gevent.hub import linkproxy
    seen = []
    proxy = linkproxy(seen.append, "mine")
    greenlet = gevent.spawn(int)
    greenlet.rawlink(proxy)
    greenlet.join(); gevent.sleep(0)
    print(seen, proxy.obj)
    """
    assert program(source) == ["['mine'] mine"]


def test_old_message(program: Program) -> None:
    """pywsgi's headers have the methods of Python 2's class too."""
    source = """
    import io
    from gevent.pywsgi import OldMessage, WSGIHandler, headers_factory
    found = headers_factory(io.BytesIO(b"Host: a\\r\\nX-B: 3\\r\\nX-B: 4\\r\\n\\r\\n"))
    print(isinstance(found, OldMessage), list(found.headers), found.typeheader, repr(found.status))
    print(found.getheader("x-b"), found.getheader("none"), found.getheader("none", 5), found.get_all("X-B"))
    print(type(WSGIHandler.MessageClass(io.BytesIO(b"Content-Type: text/x\\r\\n\\r\\n"))).__name__)
    """
    assert program(source) == [
        r"True ['Host: a\r\n', 'X-B: 3\r\n', 'X-B: 4\r\n'] None ''",
        "3 None 5 ['3', '4']",
        "OldMessage",
    ]


@pytest.mark.parametrize("resolver", ["thread", "blocking", "ares", "dnspython"])
def test_resolver_parameters(program: Program, resolver: str) -> None:
    """Resolvers take gevent's parameters: ``family`` for look-ups by name, and ``socktype``."""
    source = f"""
    from socket import AF_INET, AF_INET6, SOCK_STREAM, gaierror
    from gevent.resolver.{resolver} import Resolver
    resolver = Resolver()
    print(resolver.gethostbyname("127.0.0.1"), resolver.gethostbyname("127.0.0.1", family=AF_INET))
    print(resolver.gethostbyname("::1", family=AF_INET6), resolver.gethostbyname("127.0.0.1", 0))
    print(resolver.gethostbyname_ex("::1", family=AF_INET6)[1:], resolver.gethostbyname_ex("127.0.0.1")[1:])
    print(len(resolver.getaddrinfo("127.0.0.1", 80, socktype=SOCK_STREAM)))
    try: resolver.gethostbyname("127.0.0.1", family=AF_INET6)
    except gaierror: print("refused")
    resolver.close()
    """
    assert program(source) == [
        "127.0.0.1 127.0.0.1",
        "::1 127.0.0.1",
        "([], ['::1']) ([], ['127.0.0.1'])",
        "1",
        "refused",
    ]


def test_cooperative_dns(on_loop: Program) -> None:
    """``gevent.resolver.dnspython.dns`` is a dnspython whose queries cooperate, apart from the public one."""
    source = """
    import dns.message, dns.rdata, socket as plain
    import gevent
    from gevent import socket
    from gevent.resolver.dnspython import dns as mine
    import dns.query
    print(mine is dns, mine.query.socket is socket, dns.query.socket is plain, plain.socket is socket.socket)
    def serve(server):
        data, address = server.recvfrom(512)
        asleep.wait()
        query = dns.message.from_wire(data)
        reply = dns.message.make_response(query)
        reply.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "MX", "10 mail.example."))
        server.sendto(reply.to_wire(), address)
    server = socket.socket(type=socket.SOCK_DGRAM); server.bind(("127.0.0.1", 0))
    asleep = gevent.event.Event()
    gevent.spawn(serve, server)
    gevent.spawn_later(0.01, asleep.set)
    resolver = mine.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = ["127.0.0.1"], server.getsockname()[1]
    print([record.to_text() for record in resolver.resolve("x.example", "MX")])
    print(isinstance(mine.rdata.from_text("IN", "SVCB", "1 . alpn=h2"), mine.rdata.Rdata))
    print(isinstance(dns.rdata.from_text("IN", "SVCB", "1 . alpn=h2"), dns.rdata.Rdata))
    try: from gevent.resolver.dnspython import nothing
    except ImportError as error: print("nothing" in str(error))
    """
    assert on_loop(source) == ["False True True False", "['10 mail.example.']", "True", "True", "True"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate and its key, in one file."""
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(path)
    return path


def test_wrap_socket_and_handle(on_loop: Program, certificate: Path) -> None:
    """A server's ``wrap_socket_and_handle`` sees failed handshakes too; the socket is closed after it."""
    source = f"""
    import gevent, io
    from gevent import socket, ssl
    from gevent.server import StreamServer
    seen, sockets = [], []
    class Server(StreamServer):
        def wrap_socket_and_handle(self, client_socket, address):
            try:
                seen.append(super().wrap_socket_and_handle(client_socket, address))
            except ssl.SSLError as error:
                seen.append("failed")
                raise
        def handshake_failed(self, error, address):
            seen.append("told")
    def handle(sock, address):
        sockets.append(sock)
        sock.sendall(b"hi")
        return "handled"
    server = Server(("127.0.0.1", 0), handle, certfile={str(certificate)!r}); server.start()
    stream = gevent.get_hub().exception_stream = io.StringIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(socket.create_connection(server.address)) as client:
        print(client.recv(10), client.recv(10))
    with socket.create_connection(server.address) as client:
        client.sendall(b"no TLS at all\\r\\n" * 10)
        try:
            while client.recv(100): pass
        except ConnectionResetError: pass
    with gevent.Timeout(20):
        while len(seen) < 3: gevent.sleep(0.001)
    print(seen, sockets[0].fileno(), repr(stream.getvalue()))
    server.stop()
    """
    assert on_loop(source) == ["b'hi' b''", "['handled', 'failed', 'told'] -1 ''"]


def test_error_of_a_tls_handler(on_loop: Program, certificate: Path) -> None:
    """An OSError of a handler behind TLS is reported; it is no failed handshake."""
    source = f"""
    import gevent, io
    from gevent import socket, ssl
    from gevent.server import StreamServer
    def handle(sock, address):
        raise OSError("of the handler")
    server = StreamServer(("127.0.0.1", 0), handle, certfile={str(certificate)!r}); server.start()
    server.handshake_failed = print
    stream = gevent.get_hub().exception_stream = io.StringIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(socket.create_connection(server.address)) as client:
        print(client.recv(10), "of the handler" in stream.getvalue())
    server.stop()
    """
    assert on_loop(source) == ["b'' True"]


def test_waits_of_multiprocessing(on_loop: Program) -> None:
    """After patching, a thread that waits for an event, a lock or a pipe of multiprocessing lets others run."""
    source = """
    import gevent.monkey; gevent.monkey.patch_all()
    import multiprocessing, threading
    context = multiprocessing.get_context("fork")
    event, lock, (mine, theirs) = context.Event(), context.Lock(), context.Pipe()
    lock.acquire()
    steps = []
    waits = [lambda: event.wait(20), lock.acquire, mine.recv]
    for wait, then in zip(waits, [event.set, lock.release, lambda: theirs.send("sent")]):
        thread = threading.Thread(target=lambda: steps.append(wait())); thread.start()
        gevent.sleep(0); print(steps); then(); thread.join(20)
    print(steps)
    """
    assert on_loop(source) == ["[]", "[True]", "[True, True]", "[True, True, 'sent']"]


def test_pools_of_processes(on_loop: Program) -> None:
    """After patching, executors and queues whose helper threads stay native work from the main greenlet."""
    source = """
    import gevent.monkey; gevent.monkey.patch_all()
    import asyncio, concurrent.futures, multiprocessing
    context = multiprocessing.get_context("fork")
    for _ in range(3):
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
            print(sum(executor.map(abs, range(-4, 0))))
    channel = context.Queue()
    child = context.Process(target=channel.put, args=(3,))
    child.start(); print(channel.get(timeout=20)); child.join()
    print(asyncio.run(asyncio.to_thread(abs, -5)))
    """
    assert on_loop(source) == ["10", "10", "10", "3", "5"]


@pytest.mark.parametrize(
    "name",
    ["os", "select", "selectors", "signal", "socket", "ssl", "subprocess", "thread", "threading", "time"],
)
def test_dir_has_what_a_module_gives(name: str) -> None:
    """dir() of a module has all that may be imported from it, for prompts and for who looks through modules."""
    module = importlib.import_module(f"hubbub_gevent.{name}")
    listed = dir(module)
    assert listed == sorted(set(listed))
    assert not set(module.__all__) - set(listed)
    for found in listed:
        getattr(module, found)
