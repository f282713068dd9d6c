"""Options that cannot be right: one message, exit code 2, and nothing is written."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from rayci.commands import cli

SPEC = "interventions: {ft: {}, rtn: {bits: 4}}\ncriteria: [edit_success]\n"
CASES = {
    "plan /dev/zero": "a pipe or a device",
    "plan {fifo}": "a pipe or a device",
    "plan {folder}": "it is a folder",
    "plan {loop}": "no usable path",
    "plan ~nouser/x": "no usable path",
    "plan {huge}": "larger than 1 MiB",
    "run --out {file}": "is a file",
    "run --out {file}/x": "is a file",
    "run --out {file}/x/y": "is a file",
    "run --out ~nouser/x": "no usable path",
    "run --out {loop}": "no usable path",
    "run --out {long}": "File name too long",
    "run --store {file}": "the stage store cannot be written",
    "run --store zip://": "names no folder",
    "run --store s3://": "names no folder",
    "run --store ://x": "names no folder",
    "run --store zip://x": "unknown kind of URL",
    "run --store foo://x": "unknown kind of URL",
    "run --storage zip://": "names no folder",
    "run --storage dir://x": "unknown kind of URL",
    "run --store-limit inf": "a finite number",
    "run --address a..b:1": "no Ray cluster at a..b:1",
    "run --address [:1": "no Ray cluster at [:1",
    "run --workers 0": "1 or more",
    "run --seed 99999999999999999999": "0 to 0",
    "run --only ft{{": "cannot read step",
    "plan --price inf": "a finite number",
    "plan --times {file}/x": "no result table",
    "metrics {long}": "File name too long",
    "status {loop}": "no usable path",
    "report published:llama3_8b --out {file}": "is a file",
    "metrics published:llama3_8b --at nan": "is not a point",
}


@pytest.mark.parametrize("line", CASES)
def test_refused(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "fifo")
    with (tmp_path / "huge").open("wb") as stream:
        stream.truncate(2**40)
    (tmp_path / "spec.yaml").write_text(SPEC)
    places = {name: tmp_path / name for name in ("file", "loop", "fifo", "huge")} | {"folder": work, "long": "x" * 5000}
    verb, *options = line.format(**places).split()
    spec = [str(tmp_path / "spec.yaml")] if verb in ("run", "plan") and options[0].startswith("--") else []
    monkeypatch.setattr(sys, "argv", ["rayci", verb, *spec, *options])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    said = capsys.readouterr()
    assert (stop.value.code, said.out) == (cli.WRONG_REQUEST, ""), said.err
    assert said.err.startswith("error: ") and CASES[line] in said.err
    assert len(said.err.splitlines()) <= 4
    assert list(work.iterdir()) == [] and (tmp_path / "file").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"work", "file", "loop", "fifo", "huge", "spec.yaml"}
