"""Files that are complete under their name, or not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayci.errors import StorageError
from rayci.storage.atomic import replacing


def test_a_folder_that_cannot_be_made_is_one_message() -> None:
    with (
        pytest.raises(StorageError, match=r"the folder /proc/nothing cannot be made"),
        replacing(Path("/proc/nothing/file")),
    ):
        pass
