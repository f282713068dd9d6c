"""The example package in tests/plugin: installed by pip, it runs in a sweep and passes the conformance suite."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rayci import registry, table
from rayci.forecast.probe import SHIPPED
from rayci.forecast.rates import saved
from tests.command_line import rayci

PLUGIN = Path(__file__).parents[1] / "plugin"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pip has installed the package."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(PLUGIN, folder / "source")  # pip builds inside the source folder
    offline = ["--no-deps", "--no-build-isolation", "--no-index"]
    install = [sys.executable, "-m", "pip", "install", "-q", *offline, "--target", folder / "site", folder / "source"]
    subprocess.run(install, check=True, capture_output=True)
    return folder / "site"


@pytest.fixture
def installed(site: Path) -> dict[str, str]:
    """The environment of a user who has installed it."""
    return {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}


@pytest.fixture
def known_here(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Installed for this process."""
    monkeypatch.syspath_prepend(str(site))
    registry._plugins.cache_clear()
    yield
    monkeypatch.undo()
    registry._plugins.cache_clear()


@pytest.mark.usefixtures("known_here")
def test_it_is_listed() -> None:
    row = next(row for row in json.loads(rayci("methods", "--format", "json").stdout) if row["name"] == "sign_flip")
    assert (row["kind"], row["strength"]) == ("unlearn", "share")


@pytest.mark.usefixtures("known_here")
def test_it_is_forecast_with_what_it_says(tmp_path: Path) -> None:
    """3 operations for each of 128·128 weights, on a core of the machine whose times ship."""
    spec = tmp_path / "flip.yaml"
    spec.write_text("interventions: {sign_flip: {share: 0.2}}\ncriteria: [avg_bits_nominal]\n")
    plan = json.loads(rayci("plan", str(spec), "--format", "json").stdout)
    core = saved(SHIPPED)[0]
    assert plan["cpu_hours_by_kind"]["sign_flip"] == pytest.approx(3 * 128 * 128 / core.fp32 / 3600)
    assert (
        f"times of sign_flip: estimated from operations on {core.device}, not measured: --probe does" in plan["notes"]
    )
    assert not any("assumed" in note for note in plan["notes"])


def test_it_runs_in_a_sweep(installed: dict[str, str], tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", (PLUGIN / "README.md").read_text(), re.DOTALL)
    (tmp_path / "flip.yaml").write_text(f"model: testbed\ncriteria: [perplexity]\n{text}")
    command = [sys.executable, "-m", "rayci", "run", "flip.yaml"]
    done = subprocess.run(command, cwd=tmp_path, env=installed, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    frame = table.read(tmp_path / "runs" / "flip").frame
    assert set(frame["status"]) == {"ok"}
    values = frame[frame["final"]].set_index("composition")["value"]
    assert len({values[text] for text in ("", "sign_flip@0.05", "sign_flip@0.2")}) == 3


def test_it_passes_conformance(installed: dict[str, str], tmp_path: Path) -> None:
    (text,) = re.findall(r"```python\n(.*?)```", (PLUGIN / "README.md").read_text(), re.DOTALL)
    (tmp_path / "test_sign_flip.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_sign_flip.py"]
    done = subprocess.run(command, cwd=tmp_path, env=installed, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
