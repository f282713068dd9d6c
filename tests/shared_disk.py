"""`disk://` URLs: a folder read through fsspec, as a bucket is, for tests without a server."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from rayci.storage.atomic import replacing


class SharedDisk(LocalFileSystem):  # type: ignore[misc]
    """fsspec's own local file system under another name, so that it is taken for a remote one.

    A file appears when it is complete, as an object in a bucket does.
    """

    protocol = ("disk",)

    @classmethod
    def _strip_protocol(cls, path: Any) -> str:
        return str(super()._strip_protocol(str(path).removeprefix("disk://")))

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        if mode == "create":
            with Path(path).open("xb") as stream:
                stream.write(value)
            return
        with replacing(Path(path)) as temporary:
            temporary.write_bytes(value)

    def put_file(self, path1: str, path2: str, **_: Any) -> None:
        with replacing(Path(path2)) as temporary:
            shutil.copyfile(path1, temporary)


fsspec.register_implementation("disk", SharedDisk, clobber=True)
