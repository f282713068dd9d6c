"""The executed example in docs/: the page shows the cells as they are, and what they call is there."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

import rayci
from rayci.trials.asked_spec import read_spec

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(DOCS))
    import run_example

    yield run_example
    sys.modules.pop("run_example", None)


def test_the_page_shows_the_cells(runner: Any) -> None:
    shown = (DOCS / "example.md").read_text()
    without_outputs = re.sub(r"```text\n.*?\n```\n\n?", "", shown, flags=re.DOTALL)
    assert without_outputs.strip() == runner.page(outputs=False).strip(), "run docs/run_example.py"


def test_what_the_cells_call_is_there_and_takes_these_arguments(runner: Any) -> None:
    code = "\n".join(cell.source for cell in runner.cells() if not cell.is_text)
    tree = ast.parse(code)
    names = {
        "rayci": rayci,
        "analysis": rayci.analysis,
        "trials": rayci.trials,
        "apply": rayci.apply,
        "save": rayci.save,
    }
    called = 0
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        room, *path = ast.unparse(call.func).split(".")
        if room in names:
            function = reduce(getattr, path, names[room])
            inspect.signature(function).bind(*call.args, **{str(word.arg): word.value for word in call.keywords})
            called += 1
    assert called >= 6
    (spec,) = (
        node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "spec"
    )
    assert read_spec(ast.literal_eval(spec))[0].name == "example"


@pytest.mark.slow
def test_the_example_runs(runner: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = runner.page()
    assert "Run(example: complete" in page and "model.safetensors" in page
