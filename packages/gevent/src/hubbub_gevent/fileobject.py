"""gevent.fileobject on hubbub."""

from __future__ import annotations

from typing import Any

from hubbub.fileobject import FileObject as _FileObject

__all__ = ["FileObject", "FileObjectBlock", "FileObjectPosix", "FileObjectThread"]


class FileObjectBase(_FileObject):
    """What gevent's file objects share."""

    default_bufsize = -1


class FileObjectPosix(FileObjectBase):
    """A file over a descriptor that can be polled, or a thread where it cannot."""


class FileObjectThread(FileObjectBase):
    """A file whose calls run in a thread."""

    def __init__(self, *args: Any, lock: Any = True, threadpool: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)


class FileObjectBlock(FileObjectBase):
    """A file that blocks."""


FileObject = FileObjectPosix
