"""What a verb does not import: what it loads for nothing is seconds before the first line, whatever the machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rayci.registry import CRITERIA

WITHOUT_MODELS = ("torch", "transformers", "peft", "ray", "scipy.stats", "matplotlib")
# Methods and criteria define their mathematics in torch beside their settings, so listing them loads torch.
WITHOUT_TRANSFORMERS = ("transformers", "peft", "ray", "pandas", "scipy", "matplotlib")
MEASURING = (*WITHOUT_TRANSFORMERS, "sklearn", "lm_eval", "datasets", "rouge_score", "nltk")
EVERY_CRITERION = """
model: owner/not-here
interventions: {{wanda: {{sparsity: 0.5}}, rtn: {{bits: 4}}, memit: {{}}, ft: {{}}, rmu: {{}}}}
criteria: {criteria}
data: published
"""
RUN = """
import sys
from rayci.commands.cli import main
try:
    main()
except SystemExit:
    pass
print(*(name for name in {heavy!r} if name in sys.modules), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["status", "."], WITHOUT_MODELS),
        (["metrics", "published:llama3_8b"], WITHOUT_MODELS),
        (["report", "published:llama3_8b", "--out", "."], WITHOUT_MODELS),
        (["methods"], WITHOUT_TRANSFORMERS),
    ],
    ids=lambda value: value[0],
)
def test_heavy_packages_stay_unloaded(arguments: list[str], heavy: tuple[str, ...], tmp_path: Path) -> None:
    command = [sys.executable, "-c", RUN.format(heavy=heavy), *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == ""


def test_a_sweep_is_refused_without_loading_what_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    (tmp_path / "spec.yaml").write_text(EVERY_CRITERION.format(criteria=list(CRITERIA)))
    command = [sys.executable, "-c", RUN.format(heavy=MEASURING), "run", "spec.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "owner/not-here is not in the hub's cache" in done.stderr and done.stderr.splitlines()[-1] == ""
