"""The wheel: nothing but `rayci` in it, and it works from there, without the source tree."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

TEMPLATES = ROOT / "analysis" / "page" / "templates"
SPEC = """\
model: testbed
interventions: {rtn: {bits: 4}, wanda: {sparsity: 0.5}}
compose: {singles: false, pairs: within_kinds}
criteria: [hazard]
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    tracked = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    source = folder / "source"
    for name in tracked.stdout.splitlines():
        place = source / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_symlink():
            place.symlink_to((ROOT / name).readlink())
        elif (ROOT / name).is_file():
            place.write_bytes((ROOT / name).read_bytes())
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-build-isolation",
        "--no-deps",
        "-q",
        "-w",
        str(folder),
        str(source),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second environment: the wheel, and the libraries of this one without the editable install."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    subprocess.run(
        [python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", str(wheel)], check=True, capture_output=True
    )
    site = next((folder / "lib").glob("python*/site-packages"))
    # A path file adds a folder but does not read the path files in it, so ours stays out.
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    return python


def test_nothing_but_rayci(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {
        "rayci",
        next(n for n in names if ".dist-info/" in n).split("/")[0],
    }
    for needed in (
        "rayci/trials/driver.py",
        "rayci/trials/specs/quickstart.yaml",
        "rayci/analysis/composing/metric_table.py",
        "rayci/analysis/scan/published_tables/llama3_8b.csv",
        "rayci/testbed/checkpoint/model.safetensors",
        "rayci/py.typed",
    ):
        assert needed in names
    templates = {f"rayci/analysis/page/templates/{path.name}" for path in TEMPLATES.iterdir()}
    assert len(templates) > 10 and templates <= set(names)


def test_a_sweep_from_the_wheel(environment: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(SPEC)
    where = subprocess.run(
        [environment, "-c", "import rayci, rayci.trials; print(rayci.trials.__file__)"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(environment.parents[1]) in where.stdout
    rayci = environment.parent / "rayci"
    done = subprocess.run([rayci, "run", "tiny.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "runs" / "tiny" / "report.html").is_file()
