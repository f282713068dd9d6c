"""The conformance suite on a group of harness tasks."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from rayci import registry
from rayci.conformance import CriterionConformance
from rayci.criterion import Criterion
from tests.criteria.harness.local_tasks import write


class TestGroup(CriterionConformance):
    """A group of two multiple-choice tasks of a local folder."""

    folder: ClassVar[Path]
    other_values: ClassVar[Mapping[str, Any]]
    unread: ClassVar[Mapping[str, str]] = {"chat": "the testbed's tokenizer has no template; see test_numbers.py"}

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def tasks(cls, tmp_path_factory: pytest.TempPathFactory) -> None:
        """The folder, and a copy of it elsewhere."""
        cls.folder = write(tmp_path_factory.mktemp("tasks"))
        elsewhere = shutil.copytree(cls.folder, tmp_path_factory.mktemp("copies") / "tasks")
        others = {"metric": "acc_norm", "shots": 2, "limit": 5, "batch_size": 1, "forward_tokens": 1}
        cls.other_values = {**others, "include_path": str(elsewhere)}

    def make(self) -> Criterion:
        return registry.criterion("lm_eval:by_size").model_validate({"include_path": str(self.folder)})
