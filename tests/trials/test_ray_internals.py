"""What Ray calls private stays in one file, is in the installed version, and has a fallback."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from rayci.commands import doctor
from rayci.trials import ray_internals
from rayci.trials.ray_internals import INTERNALS, Internal

ROOT = Path(__file__).parents[2]
PRIVATE = re.compile(r"\bray(\.\w+)*\._\w+|from ray(\.\w+)* import _\w+|internal_head")
GONE = Internal("ray._private.nowhere", "nothing", "the sky is grey")


@pytest.mark.parametrize("folder", ["trials", "rayci"])
def test_no_other_file_names_a_private_part_of_ray(folder: str) -> None:
    files = [path for path in (ROOT / folder).rglob("*.py") if path.name != "ray_internals.py"]
    assert len(files) > 10
    assert [path.name for path in files if PRIVATE.search(path.read_text())] == []
    assert PRIVATE.search((ROOT / "trials" / "ray_internals.py").read_text())


def test_the_installed_ray_has_them_all() -> None:
    assert ray_internals.missing() == []
    requirements = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert "ray[tune]>=2.60,<2.61" in requirements
    assert {internal.seen.rpartition(".")[0] for internal in INTERNALS} == {"2.60"}


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Ray in which everything private has another name."""
    for name, value in vars(ray_internals).copy().items():
        if isinstance(value, Internal):
            monkeypatch.setattr(ray_internals, name, replace(value, name="gone"))
    monkeypatch.setattr(ray_internals, "INTERNALS", (GONE,))


def test_fallbacks(without: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "1")
    assert ray_internals.bootstrap("auto") == "auto"
    assert ray_internals.knows_us("10.0.0.1:1") and ray_internals.has_token()
    assert not ray_internals.send_token()
    assert ray_internals.reported_node_types() == {}
    ray_internals.reread_authentication()
    with ray_internals.clusters(joined=False):
        assert os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
    demands = [{"CPU": 1.0}, {"CPU": 1.0, "GPU": 1.0}]
    scores = [ray_internals.default_score(node, demands, "t") for node in ({"CPU": 2.0}, {"CPU": 2.0, "GPU": 1.0}, {})]
    assert scores == [(1,), (2,), None]


def test_the_doctor_says_what_is_lost(without: None) -> None:
    (finding,) = [finding for finding in doctor.examine() if finding.subject == "Ray"]
    assert finding.state == "note" and "the sky is grey" in finding.found and str(GONE) in finding.found
    assert "<2.61" in finding.advice


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="reads /proc")
def test_node_types_of_the_heads_autoscaler(tmp_path: Path) -> None:
    types = {
        "head": {"resources": {"CPU": 0}, "max_workers": 0},
        "spot": {"resources": {"CPU": 96, "GPU": 8}, "max_workers": 3},
        "plain": {},
    }
    (tmp_path / "autoscaler.yaml").write_text(json.dumps({"available_node_types": types}))
    monitor = [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)", "ray/monitor.py"]
    known = [*monitor, "--gcs-address=h:1", f"--autoscaling-config={tmp_path / 'autoscaler.yaml'}"]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE) for command in (known, [*monitor, "--gcs-address=h:2"])
    ]
    try:
        for process in running:
            assert process.stdout is not None and process.stdout.readline()
        assert ray_internals.configured_node_types("h:1") == {"spot": {"CPU": 96, "GPU": 8}, "plain": {}}
        assert ray_internals.configured_node_types("h:2") == {}, "a head that adds no nodes"
        assert ray_internals.configured_node_types("h:3") is None, "nobody here knows"
    finally:
        for process in running:
            process.kill()
            process.communicate()
