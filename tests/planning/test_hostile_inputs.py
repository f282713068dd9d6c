"""Mutated specs, compositions and data, 360 in all: whatever is wrong with them is one message, and leaves no file."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rayci.commands import cli
from tests.planning import hostile_inputs

SEEDS = range(60)
DATA_SPEC = "interventions: {{rmu: {{}}}}\ncriteria: [retain_recall]\ndata: {{{part}: {path}}}\n"
"""Needs more than the one part that it is given: refused, if not earlier, once that part was read."""

Call = Callable[[str], None]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """`rayci <verb> spec.yaml`, where it must end well, or in one message with exit code 2."""
    work = tmp_path / "work"
    work.mkdir()
    os.mkfifo(work / "fifo")
    (work / "loop").symlink_to("loop")
    monkeypatch.chdir(work)
    for name in ("TMPDIR", "TMP", "TEMP"):
        monkeypatch.setenv(name, str(work))

    def run(*arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", ["rayci", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
            raise SystemExit(0)
        said = capsys.readouterr()
        assert stop.value.code in (cli.OK, cli.WRONG_REQUEST), said.err
        if stop.value.code == cli.WRONG_REQUEST:
            assert said.out == ""
            assert said.err.startswith("error: ") and said.err.count("error: ") == 1
            assert len(said.err.splitlines()) <= 5 or "things are wrong" in said.err.splitlines()[0]
            assert said.err.replace("\n", "").isprintable()
        assert sorted(path.name for path in work.iterdir()) == ["fifo", "loop"]

    return run


@pytest.mark.parametrize("seed", SEEDS)
def test_spec(seed: int, call: Call, tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(hostile_inputs.spec(random.Random(seed)), encoding="utf-8")
    call("plan", str(spec), "--trials", "--format", "csv")


@pytest.mark.parametrize("seed", SEEDS)
def test_composition(seed: int, call: Call, tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(hostile_inputs.spec_of(hostile_inputs.composition(random.Random(seed))), encoding="utf-8")
    call("plan", str(spec), "--trials", "--format", "csv")


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("part", hostile_inputs.LINES)
def test_data_line(seed: int, part: str, call: Call, tmp_path: Path) -> None:
    data, spec = tmp_path / "data.jsonl", tmp_path / "spec.yaml"
    data.write_text(hostile_inputs.data_line(part, random.Random(seed)), encoding="utf-8", errors="surrogatepass")
    spec.write_text(DATA_SPEC.format(part=part, path=data))
    call("run", str(spec))


def test_what_is_mutated_is_good(call: Call, tmp_path: Path) -> None:
    from rayci import data
    from rayci.planning import spec

    path = tmp_path / "spec.yaml"
    path.write_text(hostile_inputs.spec_of(hostile_inputs.COMPOSITION))
    assert hostile_inputs.COMPOSITION in spec.load(path).compose.also
    for part, line in hostile_inputs.LINES.items():
        (tmp_path / f"{part}.jsonl").write_text(hostile_inputs.json.dumps(line))
    assert len(data.collect(str(tmp_path), "testbed").edits) == 1
