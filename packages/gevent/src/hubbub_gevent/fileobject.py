"""gevent.fileobject on hubbub."""

from __future__ import annotations

from typing import Any

from hubbub.fileobject import FileObject as _FileObject

from hubbub_gevent._config import config

__all__ = [
    "FileObject",
    "FileObjectBlock",
    "FileObjectPosix",
    "FileObjectThread",
]


class FileObjectBase(_FileObject):
    """What gevent's file objects have in common: older names of parameters, and no name after closing."""

    default_bufsize = -1
    io: Any = None

    def __init__(self, fobj: Any, mode: Any = "r", buffering: Any = None, *args: Any, **kwargs: Any) -> None:
        if "bufsize" in kwargs:
            buffering = kwargs.pop("bufsize")
        if "close" in kwargs:
            kwargs["closefd"] = kwargs.pop("close")
        self._opened = fobj
        super().__init__(fobj, mode, self.default_bufsize if buffering is None else buffering, *args, **kwargs)

    _fileio: Any = None

    @property
    def fileio(self) -> Any:
        """The file under the buffers, unless another was assigned."""
        file = self._fileio or self.io
        for layer in ("buffer", "raw"):
            file = getattr(file, layer, file)
        return file

    @fileio.setter
    def fileio(self, file: Any) -> None:
        self._fileio = file

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return bool(self.io.closed)

    def next(self) -> Any:
        """The next line."""
        return next(self)

    def __getattr__(self, name: str) -> Any:
        if name == "name" and hasattr(self._opened, "fileno"):
            return self._opened.name
        return super().__getattr__(name)


class FileObjectPosix(FileObjectBase):
    """A file over a descriptor; if that cannot be polled, its calls run in a thread."""


class FileObjectThread(FileObjectBase):
    """A file whose calls run in a thread."""

    def __init__(self, *args: Any, lock: Any = True, threadpool: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)


class FileObjectBlock(FileObjectBase):
    """A file that blocks."""


FileObject = config.fileobject
