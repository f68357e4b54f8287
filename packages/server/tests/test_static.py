"""Files below a folder."""

from __future__ import annotations

import contextlib
import errno
import gzip
import os
import ssl
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hubbub_server.static import SUFFIXES, StaticFiles
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="openat(2)")

OLD = 1_700_000_000
BIG = os.urandom(300_000)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with files, links that lead out of it, and a secret beside it."""
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "root-but-not").mkdir()
    (tmp_path / "root-but-not" / "x").write_text("secret")
    root = tmp_path / "root"
    (root / "folder" / "deep").mkdir(parents=True)
    (root / ".well-known").mkdir()
    for name, data in {
        "page.html": b"<p>page",
        "big.bin": BIG,
        "empty.css": b"",
        "folder/a b\xc3\xa9%.txt": b"odd",
        "folder/deep/x": b"deep",
        "folder/index.html": b"index",
        ".env": b"secret",
        ".well-known/x": b"known",
    }.items():
        path = os.path.join(os.fsencode(root), name if isinstance(name, bytes) else name.encode("latin-1"))
        Path(os.fsdecode(path)).write_bytes(data)
        os.utime(path, (OLD, OLD))
    (root / "out").symlink_to("../secret.txt")
    (root / "up").symlink_to("..")
    (root / "inside").symlink_to("page.html")
    (root / "etc").symlink_to("/etc")
    os.mkfifo(root / "fifo")
    return root


class Answer:
    """What an application said to a request."""

    def __init__(self, application: Any, path: str, method: str = "GET", **fields: str) -> None:
        environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "SCRIPT_NAME": ""}
        environ.update({f"HTTP_{name.upper()}": value for name, value in fields.items()})
        said: list[Any] = []
        result = application(environ, lambda status, headers: said.append((status, headers)))
        self.body = b"".join(result)
        with contextlib.suppress(AttributeError):
            result.close()
        ((status, headers),) = said
        self.status = int(status[:3])
        self.headers = dict(headers)
        assert len(self.headers) == len(headers)


def test_whole_file(root: Path) -> None:
    """A file comes with its type, length, date and tag; HEAD says the same of it and sends nothing."""
    files = StaticFiles(root)
    found = Answer(files, "/page.html")
    assert (found.status, found.body) == (200, b"<p>page")
    assert found.headers["Content-Type"] == "text/html; charset=utf-8"
    assert found.headers["Content-Length"] == "7"
    assert found.headers["Last-Modified"] == "Tue, 14 Nov 2023 22:13:20 GMT"
    assert found.headers["X-Content-Type-Options"] == "nosniff"
    head = Answer(files, "/page.html", "HEAD")
    assert (head.status, head.headers, head.body) == (200, found.headers, b"")
    assert Answer(files, "/empty.css").body == b""
    assert Answer(files, "/folder/a b\xc3\xa9%.txt").body == b"odd"
    assert Answer(files, "/.well-known/x").body == b"known"


OUTSIDE = [
    *("/../secret.txt", "/folder/../../secret.txt", "/./../secret.txt", "//../secret.txt", "/../root-but-not/x"),
    *("/out", "/up/secret.txt", "/up/root/page.html", "/etc/passwd", "/inside", "//etc/passwd", "/..", "/."),
    *("/..%2fsecret.txt", "/%2e%2e/secret.txt", "/..\\secret.txt", "/page.html\0.txt", "/\0", "/page.html/"),
    *("/fifo", "/folder", "/folder/", "/", "/.env", "/page.html/x", "/none", "/" + "x" * 5000, "/folder/./deep/x"),
    *("/folder//deep/x", "/\xff\xfe", "/" + "x/" * 5000),
]


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda path: repr(path[:30]))
def test_no_way_out(root: Path, path: str) -> None:
    """What is not a plain file below the root, by its plain name, is 404."""
    found = Answer(StaticFiles(root), path)
    assert (found.status, found.body) == (404, b"Not Found\n")


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from(["..", ".", "", "folder", "up", "out", "etc", "secret.txt", "root", "\0", "page.html"]))
)
def test_any_path(tmp_path_factory: pytest.TempPathFactory, parts: list[str]) -> None:
    """However a path is put together, the secret is not reached."""
    base = tmp_path_factory.mktemp("any") if not hasattr(test_any_path, "root") else None
    if base is not None:
        (base / "secret.txt").write_text("secret")
        (base / "root" / "folder").mkdir(parents=True)
        (base / "root" / "page.html").write_text("page")
        (base / "root" / "up").symlink_to("..")
        (base / "root" / "out").symlink_to("../secret.txt")
        test_any_path.root = base / "root"  # type: ignore[attr-defined]  # made once for all examples
    found = Answer(StaticFiles(test_any_path.root), "/" + "/".join(parts))  # type: ignore[attr-defined]  # as above
    assert found.body != b"secret"
    assert (found.status == 200) == (parts == ["page.html"])


def test_links_in_the_root(root: Path, tmp_path: Path) -> None:
    """The root itself may be reached by a link, which may be turned meanwhile to another release."""
    current = tmp_path / "current"
    current.symlink_to("root")
    files = StaticFiles(current)
    assert Answer(files, "/page.html").status == 200
    (tmp_path / "next").symlink_to("root-but-not")
    (tmp_path / "next").replace(current)
    assert Answer(files, "/page.html").status == 404
    assert Answer(files, "/x").status == 200


def test_conditional(root: Path) -> None:
    """Who has the file already is told so; a change makes another tag, and a file that is fresh has a weak one."""
    files = StaticFiles(root, max_age=60)
    tag = Answer(files, "/page.html").headers["ETag"]
    assert tag.startswith('"')
    found = Answer(files, "/page.html", if_none_match=tag)
    assert (found.status, found.body) == (304, b"")
    assert set(found.headers) == {"ETag", "Last-Modified", "Vary", "Cache-Control"}
    assert found.headers["Cache-Control"] == "max-age=60"
    assert Answer(files, "/page.html", if_match='"x"').status == 412
    (root / "page.html").write_text("<p>PAGE")
    assert Answer(files, "/page.html", if_none_match=tag).status == 200
    assert Answer(files, "/page.html").headers["ETag"].startswith("W/")
    os.utime(root / "page.html", (time.time() + 99, time.time() + 99))
    assert not Answer(files, "/page.html").headers["ETag"].startswith("W/")


def test_ranges(root: Path) -> None:
    """A part is sent as asked for; one behind the end is 416, and HEAD knows no parts."""
    files = StaticFiles(root)
    found = Answer(files, "/big.bin", range="bytes=100000-199999")
    assert (found.status, found.body) == (206, BIG[100000:200000])
    assert found.headers["Content-Range"] == "bytes 100000-199999/300000"
    assert Answer(files, "/big.bin", range="bytes=-7").body == BIG[-7:]
    behind = Answer(files, "/big.bin", range="bytes=300000-")
    assert (behind.status, behind.headers["Content-Range"]) == (416, "bytes */300000")
    assert Answer(files, "/big.bin", "HEAD", range="bytes=0-1").status == 200
    assert Answer(files, "/big.bin", range="bytes=0-1", if_range='"x"').body == BIG


def test_variants(root: Path) -> None:
    """A variant that the client accepts is sent, with its own tag; one that is stale or a link is not."""
    files = StaticFiles(root)
    plain = Answer(files, "/page.html", accept_encoding="gzip, br, zstd")
    assert "Content-Encoding" not in plain.headers
    assert plain.headers["Vary"] == "Accept-Encoding"
    packed = root / "page.html.gz"
    packed.write_bytes(gzip.compress(b"<p>page"))
    os.utime(packed, (OLD, OLD))
    found = Answer(files, "/page.html", accept_encoding="gzip, br")
    assert found.headers["Content-Encoding"] == "gzip"
    assert found.headers["Content-Type"] == "text/html; charset=utf-8"
    assert gzip.decompress(found.body) == b"<p>page"
    assert found.headers["ETag"] != plain.headers["ETag"]
    assert Answer(files, "/page.html", accept_encoding="gzip", if_none_match=found.headers["ETag"]).status == 304
    assert Answer(files, "/page.html", accept_encoding="gzip;q=0").body == b"<p>page"
    (root / "page.html.br").symlink_to("../secret.txt")
    assert Answer(files, "/page.html", accept_encoding="gzip, br").headers["Content-Encoding"] == "gzip"
    os.utime(packed, (OLD - 1, OLD - 1))
    assert Answer(files, "/page.html", accept_encoding="gzip").body == b"<p>page"
    (root / "page.html.zst").write_bytes(b"zstd")
    packed.touch()
    assert Answer(files, "/page.html", accept_encoding="*").headers["Content-Encoding"] == "zstd"
    assert Answer(StaticFiles(root, codings=()), "/page.html", accept_encoding="*").body == b"<p>page"
    assert list(SUFFIXES) == ["zstd", "br", "gzip"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(("a.html", "text/html; charset=utf-8"), ("a.css", "text/css; charset=utf-8"), ("a.png", "image/png")),
        *(("a.tar.gz", "application/gzip"), ("a", "application/octet-stream"), ("a.xyzzy", "application/octet-stream")),
        *(("data:x,y", "application/octet-stream"), ("a.json", "application/json; charset=utf-8")),
    ],
)
def test_types(root: Path, name: str, kind: str) -> None:
    """The type comes from the name's end; what is compressed by itself is not said to be coded."""
    (root / name).write_bytes(b"x")
    found = Answer(StaticFiles(root), f"/{name}")
    assert found.headers["Content-Type"] == kind
    assert "Content-Encoding" not in found.headers


def test_index(root: Path) -> None:
    """With an index a folder is that file, and without its slash a redirect that can lead nowhere else."""
    files = StaticFiles(root, index="index.html", prefix="/static")
    assert Answer(files, "/static/folder/").body == b"index"
    assert Answer(files, "/static/folder/").headers["Content-Type"] == "text/html; charset=utf-8"
    found = Answer(files, "/static/folder")
    assert (found.status, found.headers["Location"]) == (301, "./folder/")
    assert Answer(files, "/static/").status == 404
    (root / "evil.example:x").mkdir()
    assert Answer(files, "/static/evil.example:x").headers["Location"] == "./evil.example%3Ax/"
    for path in ("/static//evil.example", "/static/../folder", "/static/\\evil"):
        assert Answer(files, path).status == 404


def test_others(root: Path) -> None:
    """Other paths are another application's; and with fall_through those that are not there, and other methods."""

    def other(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"other"]

    files = StaticFiles(root, other, prefix="/static")
    for path in ("/", "/static", "/staticpage.html", "/page.html"):
        assert Answer(files, path).body == b"other"
    assert Answer(files, "/static/page.html").body == b"<p>page"
    assert Answer(files, "/static/none").status == 404
    found = Answer(files, "/static/page.html", "POST")
    assert (found.status, found.headers["Allow"]) == (405, "GET, HEAD")
    falling = StaticFiles(root, other, fall_through=True)
    assert Answer(falling, "/none").body == Answer(falling, "/page.html", "POST").body == b"other"
    assert Answer(StaticFiles(root, prefix="/static"), "/").status == 404
    assert Answer(StaticFiles(root, hidden=True), "/.env").status == 200


def test_bad_arguments(root: Path) -> None:
    """What makes no sense is refused with what would make sense."""
    for prefix in ("static", "/static/", "/"):
        with pytest.raises(ValueError, match="begins with a slash and does not end with one"):
            StaticFiles(root, prefix=prefix)
    with pytest.raises(ValueError, match="variants may be of zstd, br, gzip, not of 'deflate'"):
        StaticFiles(root, codings=["deflate"])
    with pytest.raises(ValueError, match="needs an application"):
        StaticFiles(root, fall_through=True)


def test_no_descriptors_left(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lack of descriptors is no 404, which caches would keep; and no request leaves one open."""
    files = StaticFiles(root)
    before = len(os.listdir("/dev/fd"))
    for path in ("/page.html", "/none", "/folder/deep/x", "/page.html/x", *OUTSIDE):
        for fields in ({}, {"range": "bytes=9999999-"}, {"if_none_match": "*"}, {"if_match": '"x"'}):
            Answer(files, path, **fields)
    assert len(os.listdir("/dev/fd")) == before
    real = os.open

    def scarce(path: Any, *args: Any, **options: Any) -> int:
        if path == b"page.html":
            raise OSError(errno.EMFILE, "too many")
        return real(path, *args, **options)

    monkeypatch.setattr(os, "open", scarce)
    monkeypatch.setattr(os, "supports_dir_fd", {scarce})
    with pytest.raises(OSError):
        Answer(StaticFiles(root), "/page.html")
    monkeypatch.undo()
    assert len(os.listdir("/dev/fd")) == before


# Over a server -------------------------------------------------------------------------------------------------------


def test_sendfile(serve: Any, connect: Any, root: Path, errors: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole files and parts leave by sendfile(2), on one connection, without a word in the error log."""
    sent: list[int] = []
    real = os.sendfile

    def noting(*args: Any) -> int:
        count = real(*args)
        sent.append(count)
        return count

    monkeypatch.setattr(os, "sendfile", noting)
    client = connect(serve(StaticFiles(root)))
    for fields, body in ((b"", BIG), (b"Range: bytes=5-200004\r\n", BIG[5:200005]), (b"Range: bytes=-1\r\n", BIG[-1:])):
        sent.clear()
        client.send(b"GET /big.bin HTTP/1.1\r\nHost: x\r\n%b\r\n" % fields)
        assert client.response().body == body
        assert sum(sent) == len(body)
    assert errors.getvalue() == ""


def test_encoded_paths(serve: Any, connect: Any, root: Path) -> None:
    """What a client encodes is decoded once, and leads nowhere else for it."""
    client = connect(serve(StaticFiles(root)))
    for path, status in (
        (b"/folder/a%20b%C3%A9%25.txt", 200),
        (b"/%2e%2e/secret.txt", 404),
        (b"/..%2fsecret.txt", 404),
        (b"/%252e%252e/secret.txt", 404),
        (b"/page.html%00.txt", 404),
        (b"/folder%2findex.html", 200),
    ):
        client.send(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path)
        assert client.response().status == status, path


def test_tls(serve: Any, root: Path, certificate: Any, errors: Any) -> None:
    """Over TLS, where files are read, whole files and parts are the same, and nothing is in the error log."""
    net = pytest.importorskip("hubbub_net.ssl")
    from hubbub_net import socket as net_socket

    authority, leaf = certificate
    context = net.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    server = serve(StaticFiles(root), ssl_context=context)
    trusting = net.create_default_context()
    authority.configure_trust(trusting)
    for fields, body in ((b"", BIG), (b"Range: bytes=5-200004\r\n", BIG[5:200005])):
        with trusting.wrap_socket(net_socket.create_connection(server.address), server_hostname="localhost") as client:
            client.settimeout(10)
            client.sendall(b"GET /big.bin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%b\r\n" % fields)
            data = b""
            while piece := client.recv(65536):
                data += piece
        assert data.partition(b"\r\n\r\n")[2] == body
    assert errors.getvalue() == ""
