"""Data of a sweep: the testbed's, or the user's own files, in the schema of `rayci.data.records`."""

from __future__ import annotations

from collections.abc import Mapping

from rayci.data import local
from rayci.data.records import Collection
from rayci.errors import DataError

TESTBED = "testbed"


def collect(data: str | Mapping[str, str] | None, model: str) -> Collection:
    """The collection a spec names: `testbed`, a folder, or part -> file.

    Without a `data:` key the testbed model reads the testbed's data. Raises DataError.
    """
    if data is None and model != TESTBED:
        raise DataError(
            f"model {model} needs data",
            at="data",
            allowed="a folder with edits.jsonl, forget.jsonl, …, a mapping part: file, or testbed",
            hint="add `data: <folder>`; rayci/data/local.py has the fields of its files",
        )
    if data is None or data == TESTBED:
        from rayci.testbed import collection

        return collection()
    return local.folder(data) if isinstance(data, str) else local.files(data)
