"""Files below a folder, served by a WSGI application: ranges, preconditions, precompressed variants, sendfile(2)."""

from __future__ import annotations

import errno
import io
import mimetypes
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from email.utils import formatdate
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from hubbub_server.http.conditional import UNSATISFIABLE, Validators, accepted_codings, precondition, wanted_range
from hubbub_server.http.filewrapper import FileWrapper
from hubbub_server.http.wsgi import Application

__all__ = ["SUFFIXES", "StaticFiles"]

SUFFIXES: Final = {"zstd": ".zst", "br": ".br", "gzip": ".gz"}
"""The codings of which variants may lie beside a file, and what is added to its name then. The first is preferred."""

_FOLDER = getattr(os, "O_PATH", 0) | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_FILE = os.O_RDONLY | _NOFOLLOW | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_NOT_THERE = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EACCES, errno.EPERM, errno.ENXIO, errno.EINVAL}
)
"""Errors that a client sees as 404. Others are ours."""
_FRESH = 2.0
"""Seconds in which a file may change again and still have the same time and size: its tag is weak so long."""
_WELL_KNOWN = b".well-known"  # RFC 8615
_types = mimetypes.MimeTypes()
_COMPRESSED = {
    "gzip": "application/gzip",
    "bzip2": "application/x-bzip2",
    "xz": "application/x-xz",
    "br": "application/x-brotli",
    "compress": "application/x-compress",
}
_TEXTS = frozenset({"application/javascript", "application/json", "application/xml", "image/svg+xml"})

_Headers = list[tuple[str, str]]
_Start = Callable[..., Any]


class _Found(NamedTuple):
    """An open file."""

    descriptor: int
    status: os.stat_result
    coding: str | None
    """That of the variant, if it is one."""


class _FolderError(Exception):
    """The name is a folder's."""


class StaticFiles:
    """Serves the files below ``root`` by GET and HEAD, and has another application answer the rest.

    Nothing outside of ``root`` is served: a path with ``..``, ``.``, an empty part or a NUL is not looked up, and each
    part is opened by itself, without following symbolic links; links in ``root`` itself are followed, at each request
    anew. Names that begin with a dot are not served, nor are folders, devices and FIFOs. All of that is 404.

    Files are opened and read in the calling thread, which waits for the disk.

    :param root: the folder.
    :param application: answers requests for other paths; by default they are 404.
    :param prefix: the paths that are served begin with it, such as ``"/static"``; empty for all.
    :param index: what is served for a folder, such as ``"index.html"``; None: nothing.
    :param codings: the variants to look for beside a file, of :data:`SUFFIXES`, the preferred first. One that is older
        than its file is left alone.
    :param max_age: seconds for which a response may be used without asking again (``Cache-Control``); None says nothing
        of it, so that caches guess.
    :param hidden: serve names that begin with a dot, too; ``.well-known`` always is.
    :param fall_through: ask the application for what is not there, also below ``prefix``.
    :raises ValueError: ``prefix`` does not begin with a slash or ends with one, a coding is not known, or there is no
        application to fall through to.
    :raises NotImplementedError: the system cannot open files relative to a folder without following links (Windows).
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        application: Application | None = None,
        *,
        prefix: str = "",
        index: str | None = None,
        codings: Sequence[str] = tuple(SUFFIXES),
        max_age: int | None = None,
        hidden: bool = False,
        fall_through: bool = False,
    ) -> None:
        if os.open not in os.supports_dir_fd or not _NOFOLLOW:
            raise NotImplementedError("static files need openat(2) and O_NOFOLLOW, which this system has not")
        if prefix and (not prefix.startswith("/") or prefix.endswith("/")):
            raise ValueError(
                f"the prefix begins with a slash and does not end with one, as in '/static', not {prefix!r}"
            )
        unknown = [coding for coding in codings if coding not in SUFFIXES]
        if unknown:
            raise ValueError(f"variants may be of {', '.join(SUFFIXES)}, not of {unknown[0]!r}")
        if fall_through and application is None:
            raise ValueError("fall_through needs an application that answers then")
        self.root: str = os.fspath(root)
        self.application: Application | None = application
        self._prefix = prefix.encode()
        self._index = None if index is None else os.fsencode(index)
        self._codings = tuple(codings)
        self._max_age = max_age
        self._hidden = hidden
        self._fall_through = fall_through

    def __call__(self, environ: dict[str, Any], start_response: _Start) -> Iterable[bytes]:
        """Answer a request."""
        path = environ.get("PATH_INFO", "").encode("latin-1")
        below = path[len(self._prefix) :]
        if not path.startswith(self._prefix) or not below.startswith(b"/"):
            return self._ask(environ, start_response)
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            if self._fall_through:
                return self._ask(environ, start_response)
            return _plain(start_response, "405 Method Not Allowed", [("Allow", "GET, HEAD")])
        try:
            found = self._find(below, environ)
        except _FolderError:
            # Relative, so that nothing of what the client has sent can name another host.
            name = quote(below.rpartition(b"/")[2])
            return _plain(start_response, "301 Moved Permanently", [("Location", f"./{name}/")])
        if found is None:
            return self._ask(environ, start_response) if self._fall_through else _plain(start_response, _NONE)
        file = io.FileIO(found.descriptor)
        try:
            return self._answer(environ, start_response, found, file, self._name(below))
        except BaseException:
            file.close()
            raise

    def _ask(self, environ: dict[str, Any], start_response: _Start) -> Iterable[bytes]:
        if self.application is None:
            return _plain(start_response, _NONE)
        return self.application(environ, start_response)

    def _name(self, below: bytes) -> bytes:
        """The last part of the path of the file that was found."""
        return below.rpartition(b"/")[2] or self._index or b""

    # Finding --------------------------------------------------------------------------------------------------------

    def _find(self, below: bytes, environ: dict[str, Any]) -> _Found | None:
        """The file of a path, or a variant of it that the client accepts; open.

        :raises _FolderError: it is a folder with an index, and the path does not end with a slash.
        :raises OSError: descriptors or memory have run out, or the disk is broken.
        """
        *folders, name = below.split(b"/")[1:]
        if not name and self._index is not None:
            name = self._index
        if not all(self._is_served(part) for part in (*folders, name)):
            return None
        try:
            with _opened(self.root, folders) as folder:
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode) and self._index is not None:
                    raise _FolderError
                if not stat.S_ISREG(status.st_mode):
                    return None
                return self._variant(folder, name, status, environ) or _regular(folder, name, None)
        except OSError as error:
            if error.errno in _NOT_THERE:
                return None
            raise

    def _is_served(self, part: bytes) -> bool:
        if part in (b"", b".", b"..") or b"\0" in part:
            return False
        return self._hidden or not part.startswith(b".") or part == _WELL_KNOWN

    def _variant(self, folder: int, name: bytes, status: os.stat_result, environ: dict[str, Any]) -> _Found | None:
        """The best variant of a file."""
        field = environ.get("HTTP_ACCEPT_ENCODING")
        for coding in accepted_codings(field, self._codings) if field else ():
            try:
                found = _regular(folder, name + SUFFIXES[coding].encode(), coding)
            except OSError as error:
                if error.errno in _NOT_THERE:
                    continue
                raise
            if found is not None:
                if found.status.st_mtime_ns >= status.st_mtime_ns:
                    return found
                os.close(found.descriptor)
        return None

    # Answering ------------------------------------------------------------------------------------------------------

    def _answer(
        self, environ: dict[str, Any], start_response: _Start, found: _Found, file: io.FileIO, name: bytes
    ) -> Iterable[bytes]:
        size = found.status.st_size
        validators = _validators(found)
        headers = self._headers(validators)
        status = precondition(environ, validators)
        if status != 200:
            file.close()
            if status == 412:
                return _plain(start_response, "412 Precondition Failed")
            start_response("304 Not Modified", headers)
            return []
        headers += [("Content-Type", _type(name)), ("Accept-Ranges", "bytes"), ("X-Content-Type-Options", "nosniff")]
        if found.coding is not None:
            headers.append(("Content-Encoding", found.coding))
        is_get = environ["REQUEST_METHOD"] == "GET"
        part = wanted_range(environ, size, validators) if is_get else None
        if part is UNSATISFIABLE:
            file.close()
            return _plain(start_response, "416 Range Not Satisfiable", [("Content-Range", f"bytes */{size}")])
        begin, length = part or (0, size)
        headers.append(("Content-Length", str(length)))
        if part is None:
            start_response("200 OK", headers)
        else:
            headers.append(("Content-Range", f"bytes {begin}-{begin + length - 1}/{size}"))
            start_response("206 Partial Content", headers)
        if not is_get or not length:
            file.close()
            return []
        file.seek(begin)
        return FileWrapper(file, length=length)

    def _headers(self, validators: Validators) -> _Headers:
        """What 200, 206 and 304 have in common (RFC 9110, 15.4.5)."""
        headers = [("ETag", validators.tag), ("Last-Modified", formatdate(validators.modified, usegmt=True))]
        if self._codings:
            headers.append(("Vary", "Accept-Encoding"))
        if self._max_age is not None:
            headers.append(("Cache-Control", f"max-age={self._max_age}"))
        return headers


_NONE = "404 Not Found"


def _plain(start_response: _Start, status: str, headers: Sequence[tuple[str, str]] = ()) -> list[bytes]:
    body = f"{status[4:]}\n".encode()
    start_response(status, [*headers, ("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


@contextmanager
def _opened(root: str, folders: Iterable[bytes]) -> Iterator[int]:
    """The folder at the end of a way down from ``root`` on which there are no symbolic links."""
    descriptor = os.open(root, _FOLDER)
    try:
        for name in folders:
            deeper = os.open(name, _FOLDER | _NOFOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = deeper
        yield descriptor
    finally:
        os.close(descriptor)


def _regular(folder: int, name: bytes, coding: str | None) -> _Found | None:
    """A regular file, open; None if it is something else. Nothing else is opened: a device might do something then."""
    if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        return None
    descriptor = os.open(name, _FILE, dir_fd=folder)
    try:
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode):
            return _Found(descriptor, status, coding)
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _validators(found: _Found) -> Validators:
    status = found.status
    weak = "W/" if abs(time.time() - status.st_mtime) < _FRESH else ""
    suffix = "" if found.coding is None else f"-{found.coding}"
    return Validators(f'{weak}"{status.st_mtime_ns:x}-{status.st_size:x}{suffix}"', int(status.st_mtime))


def _type(name: bytes) -> str:
    """The media type of a file's name."""
    text = name.decode("latin-1")
    kind, coding = _types.guess_type(f"file{text[text.find('.') :]}" if "." in text else "file")
    if coding is not None:
        return _COMPRESSED.get(coding, "application/octet-stream")
    if kind is None:
        return "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") or kind in _TEXTS else kind
