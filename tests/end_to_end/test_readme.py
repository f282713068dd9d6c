"""What the README shows works as printed: the spec and the Python example."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

from rayci.planning import plan, spec, yaml_source

ROOT = Path(__file__).parents[2]


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / name).read_text(), re.DOTALL)


def test_the_spec_of_the_readme_is_the_quickstart() -> None:
    (text,) = blocks("README.md", "yaml")
    shown = plan.make(spec.from_source(yaml_source.parse(text, "README.yaml")))
    shipped = plan.make(spec.load(ROOT / "trials" / "specs" / "quickstart.yaml"))
    assert [trial.composition for trial in shown.trials] == [trial.composition for trial in shipped.trials]


def test_the_table_of_methods_is_what_they_say_of_themselves() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "make_methods.py"))
    text = (ROOT / "README.md").read_text()
    assert made["with_table"](text) == text, "run docs/make_methods.py"


def test_the_python_example_runs(tmp_path: Path) -> None:
    (text,) = blocks("README.md", "python")
    tiny = (
        "model: testbed\ninterventions: {ft: {}, rtn: {bits: 4}}\ncompose: {singles: false}\n"
        "criteria: [edit_success, avg_bits]\n"
    )
    (tmp_path / "quickstart").write_text(tiny)  # a file comes before the shipped spec, which takes minutes
    done = subprocess.run([sys.executable, "-c", text], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "gap_low" in done.stdout
    assert "rtn@4" in done.stdout.splitlines()[-1]
    assert (tmp_path / "edited-and-pruned" / "model.safetensors").is_file()
