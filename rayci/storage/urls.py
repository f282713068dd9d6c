"""Files at URLs that fsspec reads, with errors that name the URL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rayci.errors import CorruptionError, RayciError, RequestError, StorageError

EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
"""URL scheme -> the extra of this package that installs what reads it."""


@dataclass(frozen=True)
class UrlFile:
    """A file at a URL, as far as it can stand for a Path that is read."""

    url: str
    system: Any
    """What fsspec reads it with."""
    place: str
    """Its name there."""

    @property
    def name(self) -> str:
        """The name without folders."""
        return self.place.rsplit("/", 1)[-1]

    @property
    def stem(self) -> str:
        """The name without folders and ending."""
        return self.name.rsplit(".", 1)[0]

    def exists(self) -> bool:
        with answering(self.url):
            return bool(self.system.exists(self.place))

    def read_bytes(self) -> bytes:
        """The file's bytes; CorruptionError where it is gone, StorageError where the URL does not answer."""
        with answering(self.url):
            try:
                data: bytes = self.system.cat_file(self.place)
            except FileNotFoundError:
                raise CorruptionError(f"{self.url}: not a file") from None
        return data

    def __str__(self) -> str:
        return self.url


def scheme(url: str) -> str:
    """What stands before `://`."""
    return url.split("://")[0]


def connect(url: str) -> tuple[Any, str]:
    """The file system of a URL and the place in it; RequestError for a URL that cannot be read here."""
    import fsspec

    kind = scheme(url)
    try:
        # Other workers write too: neither listings nor connections of an earlier environment are reused.
        system, root = fsspec.core.url_to_fs(url, use_listings_cache=False, skip_instance_cache=True)
    except ImportError as error:
        extra = EXTRAS.get(kind)
        raise RequestError(
            f"{url}: what reads {kind}:// is not installed",
            hint=f"pip install 'rayci[{extra}]'" if extra else str(error),
        ) from None
    except Exception:  # packages that read URLs know no common base
        system, root = None, ""
    if system is None or "file" in system.protocol:  # what fsspec does not know, it takes for a file's name
        raise RequestError(f"{url}: unknown kind of URL", allowed="a folder, s3://…, gs://…, or what fsspec reads")
    return system, str(root)


@contextmanager
def answering(url: str) -> Iterator[None]:
    """Whatever a URL's package raises is one StorageError; its packages know no common base."""
    try:
        yield
    except RayciError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())
        raise StorageError(f"{url} does not answer ({type(error).__name__}: {text})") from error
