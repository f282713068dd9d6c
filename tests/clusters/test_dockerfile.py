"""trials/Dockerfile copies what is there, installs the lock, and runs as nobody; it was built nowhere here."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
LINES = re.sub(r"\\\n", "", re.sub(r"^#.*\n", "", (ROOT / "trials" / "Dockerfile").read_text(), flags=re.MULTILINE))
STEPS = [(step, rest) for step, _, rest in (line.partition(" ") for line in LINES.splitlines() if line)]


def of(step: str) -> list[str]:
    return [rest for each, rest in STEPS if each == step]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A folder with all that is copied, where the image has it."""
    for *sources, target in map(str.split, of("COPY")):
        place = tmp_path / target.lstrip("/")
        for source in sources:
            found = ROOT / source
            if found.is_dir():
                shutil.copytree(found, place, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(found, place)
    return tmp_path / "opt" / "rayci"


def test_all_that_a_wheel_is_made_of_is_copied(image: Path) -> None:
    project = tomllib.loads((image / "pyproject.toml").read_text())
    assert (image / project["project"]["readme"]).is_file()
    assert all((image / name).is_file() for name in project["project"]["license-files"])
    for package, patterns in project["tool"]["setuptools"]["package-data"].items():
        folder = image / package.replace(".", "/")
        assert all(any(folder.glob(pattern)) for pattern in patterns), package


def test_the_lock_is_what_is_installed(image: Path) -> None:
    commands = " ".join(of("RUN"))
    assert (
        f"pip install --no-cache-dir --requirement /{image.relative_to(image.parents[1])}/requirements.lock" in commands
    )
    assert "index" not in commands and "/whl/" not in commands, "torch as its own registry has it: with CUDA"
    lock = (image / "requirements.lock").read_text()
    assert re.search(r"^torch==[\d.]+$", lock, re.MULTILINE), "no +cpu"
    assert of("FROM")[0].startswith("nvidia/cuda:")
    assert "ray[default]" in commands and re.search(r"^ray==", lock, re.MULTILINE), "of the same version"


def test_nobody_is_root() -> None:
    user, group = of("USER")[-1].split(":")
    assert STEPS.index(("USER", f"{user}:{group}")) > max(i for i, (step, _) in enumerate(STEPS) if step == "RUN")
    assert f"useradd --create-home --uid {user} rayci" in of("RUN")
    manifest = yaml.safe_load((ROOT / "trials" / "rayjob.yaml").read_text())
    pod = manifest["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    assert pod["securityContext"]["runAsUser"] == int(user) and pod["securityContext"]["runAsGroup"] == int(group)


@pytest.mark.parametrize("command", of("RUN"))
def test_commands(command: str) -> None:
    subprocess.run(["sh", "-n"], input=command, text=True, check=True)
