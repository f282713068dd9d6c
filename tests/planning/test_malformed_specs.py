"""Malformed specs: one message of at most five lines that names file, line and key; nothing is started or written."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from rayci.commands import cli

GOOD = """\
model: testbed
replicates: 2
interventions:
  ft: {}
  wanda: {sparsity: {sweep: [0.25, 0.5]}}
criteria: [edit_success, mmlu]
"""


POINTS = f"{{sweep: {[round(0.0001 * point, 4) for point in range(1, 3201)]}}}"
MAP = "{blocks: a, attention_in: [a], attention_out: a, mlp_in: [a], mlp_out: b}"


def edit(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


CASES: dict[str, tuple[str, int | None, str]] = {
    # name: (YAML, line that the message must name, words that it must hold)
    "unknown top key": (GOOD + "intervetions: {}\n", 7, "try: interventions"),
    "unknown compose key": (GOOD + "compose: {pair: all}\n", 7, "try: pairs"),
    "nothing to compose": (GOOD + "compose: {pairs: [[ft], [ft]], singles: false}\n", 7, "compose asks for nothing"),
    "unknown resource": (GOOD + "resources: {gpu: 1}\n", 7, "try: gpus"),
    "unknown setting of a criterion": (edit("mmlu]", "{mmlu: {shot: 5}}]"), 6, "try: shots"),
    "unknown method": (edit("wanda:", "wnada:"), 5, "try: wanda"),
    "unknown method, nothing near": (edit("wanda:", "zzzzzzzz:"), 5, "undial, wanda"),
    "unknown setting": (edit("ft: {}", "ft: {step: 3}"), 4, "try: steps"),
    "unknown criterion": (edit("mmlu", "mmmlu"), 6, "try: mmlu"),
    "unknown criterion setting": (edit("[edit_success, mmlu]", "{mmlu: {scorin: text}}"), 6, "scorin"),
    "bad criterion setting": (edit("[edit_success, mmlu]", "{mmlu: {scoring: digits}}"), 6, "scoring"),
    "replicates is a word": (edit("replicates: 2", "replicates: two"), 2, "replicates"),
    "replicates is zero": (edit("replicates: 2", "replicates: 0"), 2, "replicates"),
    "replicates is negative": (edit("replicates: 2", "replicates: -3"), 2, "replicates"),
    "more replicates than edits": (edit("replicates: 2", "replicates: 900"), 2, "900 edit batches"),
    "seed is a list": (GOOD + "seed: [1]\n", 7, "seed"),
    "strength out of range": (edit("0.5]", "1.5]"), 5, "1.5"),
    "negative strength": (edit("0.5]", "-0.5]"), 5, "-0.5"),
    "bits 1": (edit("wanda: {sparsity: {sweep: [0.25, 0.5]}}", "rtn: {bits: 1}"), 5, "bits"),
    "bits 17": (edit("wanda: {sparsity: {sweep: [0.25, 0.5]}}", "rtn: {bits: {sweep: [4, 17]}}"), 5, "17"),
    "bits is a fraction": (edit("wanda: {sparsity: {sweep: [0.25, 0.5]}}", "rtn: {bits: 3.5}"), 5, "3.5"),
    "strength missing": (edit("{sparsity: {sweep: [0.25, 0.5]}}", "{}"), 5, "sparsity"),
    "strength is a word": (edit("0.5]", "half]"), 5, "half"),
    "pattern prunes everything": (edit("0.5]", "4:4]"), 5, "4:4"),
    "empty sweep": (edit("[0.25, 0.5]", "[]"), 5, "sweep"),
    "sweep is a number": (edit("[0.25, 0.5]", "0.25"), 5, "sweep"),
    "sweep holds a value twice": (edit("[0.25, 0.5]", "[0.25, 0.25]"), 5, "twice"),
    "sweep has a sibling": (edit("{sweep: [0.25, 0.5]}", "{sweep: [0.25], scale: log}"), 5, "scale"),
    "negative learning rate": (edit("ft: {}", "ft: {lr: -1}"), 4, "lr"),
    "settings are a list": (edit("ft: {}", "ft: [1, 2]"), 4, "ft"),
    "interventions missing": ("model: testbed\ncriteria: [mmlu]\n", None, "interventions is missing"),
    "interventions empty": ("interventions: {}\ncriteria: [mmlu]\n", None, "interventions is empty"),
    "criteria missing": (GOOD.replace("criteria: [edit_success, mmlu]\n", ""), None, "criteria is missing"),
    "criteria empty": (edit("[edit_success, mmlu]", "[]"), None, "criteria is empty"),
    "criterion listed twice": (edit("[edit_success, mmlu]", "[mmlu, mmlu]"), 6, "twice"),
    "method given twice": (edit("  ft: {}", "  ft: {}\n  ft: {}"), 5, "twice"),
    "top key given twice": (GOOD + "model: testbed\n", 7, "twice"),
    "bad pairing": (GOOD + "compose: {pairs: everything}\n", 7, "pairs"),
    "groups of another number": (GOOD + "compose: {pairs: [[ft], [wanda], [ft]]}\n", 7, "2 lists of methods"),
    "group with a stranger": (GOOD + "compose: {pairs: [[ft], [wnada]]}\n", 7, "try: wanda"),
    "group that is a name": (GOOD + "compose: {triples: [ft, wanda, ft]}\n", 7, "3 lists of methods"),
    "bad order": (GOOD + "compose: {orders: random}\n", 7, "orders"),
    "composition unreadable": (GOOD + "compose: {also: ['ft >> wanda@0.5']}\n", 7, "cannot read step"),
    "composition with unknown method": (GOOD + "compose: {also: ['ft > rnt@4']}\n", 7, "try: rtn"),
    "composition with needless strength": (GOOD + "compose: {also: ['ft@3']}\n", 7, "no strength"),
    "bad policy": (GOOD + "recompress: always\n", 7, "recompress"),
    "bad dtype": (GOOD + "dtype: float8\n", 7, "dtype"),
    "no such model folder": (edit("model: testbed", "model: ./nowhere"), 1, "no model folder"),
    "model folder without weights": (edit("model: testbed", "model: {empty}"), 1, "config.json"),
    "foreign model without data": (edit("model: testbed", "model: {checkpoint}"), None, "needs data"),
    "no such data folder": (GOOD + "data: ./nowhere\n", 7, "no data folder"),
    "data folder without files": (GOOD + "data: {empty}\n", 7, "edits.jsonl"),
    "unknown data part": (GOOD + "data: {edit: x.jsonl}\n", 7, "try: edits"),
    "data file missing": (GOOD + "data: {edits: x.jsonl}\n", 7, "x.jsonl"),
    "data record malformed": (GOOD + "data: {edits: {broken}}\n", 7, "broken.jsonl:2"),
    "data lacks a part": (GOOD + "data: {forget: {texts}}\n", 4, "ft needs edits"),
    "name leads out of the run folder": (GOOD + "name: ../../elsewhere\n", 7, "name"),
    "no such key as out": (GOOD + "out: /tmp/elsewhere\n", 7, "unknown key 'out'"),
    "more CPUs than none": (GOOD + "resources: {cpus: 0}\n", 7, "cpus"),
    "module map with a number": (GOOD + f"modules: {MAP.replace('[a]', '5')}\n", 7, "is 5"),
    "text for a list of paths": (GOOD + f"modules: {MAP.replace('[a]', 'abc')}\n", 7, "is 'abc'"),
    "list for one path": (GOOD + f"modules: {MAP.replace('b}', '[b]}')}\n", 7, "is ['b']"),
    "module map without blocks": (GOOD + "modules: 3\n", 7, "modules"),
    "spec is a list": ("- model: testbed\n", None, "a list"),
    "spec is empty": ("", None, "empty"),
    "spec is not YAML": ("model: [testbed\n", 2, "not valid YAML"),
    "python tag": (edit("model: testbed", "model: !!python/object/apply:os.getcwd []"), 1, "not valid YAML"),
    "alias": (edit("ft: {}", "ft: &a {}\n  gd: *a"), None, "aliases"),
    "bool tag": (GOOD + "trust_remote_code: !!bool maybe\n", 7, "tags are not allowed"),
    "int tag": (edit("replicates: 2", "replicates: !!int ''"), 2, "tags are not allowed"),
    "timestamp tag": (edit("ft: {}", "ft: {lr: !!timestamp junk}"), 4, "tags are not allowed"),
    "list for sweep": (edit("{sweep: [0.25, 0.5]}", "[0.25, 0.5]"), 5, "try: sparsity: {sweep: [0.25, 0.5]}"),
    "strength at an open end": (edit("ft: {}", "relearn: {epochs: 0}"), 4, "allowed: above 0 to 100 passes"),
    "list that is too long": (edit("ft: {}", "rome: {layers: [0, 1]}"), 4, "try: rayci methods rome"),
    "list for number": (edit("ft: {}", "ft: {lr: [1.0e-3, 2.0e-3]}"), 4, "try: lr: {sweep: [0.001, 0.002]}"),
    "mapping for number": (edit("{sweep: [0.25, 0.5]}", "{swep: [0.25, 0.5]}"), 5, "try: sparsity: {sweep: […]}"),
    "true for number": (edit("replicates: 2", "replicates: true"), 2, "true or false does not belong here"),
    "true among layers": (edit("ft: {}", "ft: {layers: [1, true]}"), 4, "true or false does not belong here"),
    "all memory there is": (GOOD + "resources: {memory: most}\n", 7, "a number from 0, or auto"),
    "infinitely many CPUs": (GOOD + "resources: {cpus: .inf}\n", 7, "resources.cpus"),
    "octal": (edit("replicates: 2", "replicates: 010"), 2, "leading zero"),
    "text for a list": (GOOD + "compose: {first: ft}\n", 7, "'ft': not a list; one of a single value is [ft]"),
    "octal in a composition": (GOOD + "compose: {also: ['rtn@010']}\n", 7, "cannot read strength '010'"),
    "400 digits": (GOOD + f"seed: {'9' * 400}\n", 7, "400 digits"),
    "unknown preset": (GOOD + "preset: testbd\n", 7, "try: testbed"),
    "γ given twice": (GOOD + "compose: {also: ['wanda@0.5{sparsity=0.7}']}\n", 7, "sparsity is given twice"),
    "bracket in a composition": (GOOD + "compose: {also: ['wanda@0.5{a=[}']}\n", 7, "cannot read setting 'a=['"),
    "settings of a criterion are a number": (edit("[edit_success, mmlu]", "{mmlu: 0}"), 6, "mmlu"),
    "criterion is a list": (edit("[edit_success, mmlu]", "[[mmlu]]"), 6, "is not the name of a criterion"),
    "key is a number": (edit("replicates: 2", "2: replicates"), 2, "not text"),
    "half a character": (edit("model: testbed", 'model: "\\ud800"'), 1, "half of a character"),
    "NUL": (edit("model: testbed", 'model: "a\\0b"'), 1, "control character"),
    "nobody's home": (GOOD + "data: ~nouser/x\n", 7, "no usable path"),
    "circle of links": (GOOD + "data: {edits: {loop}}\n", 7, "no usable path"),
    "data is a pipe": (GOOD + "data: {edits: {fifo}}\n", 7, "a pipe or a device"),
    "data is endless": (GOOD + "data: {edits: /dev/zero}\n", 7, "a pipe or a device"),
    "data is nested without end": (GOOD + "data: {edits: {nested}}\n", 7, "nested.jsonl:1"),
    "ten million points": (edit("ft: {}", f"ft: {{lr: {POINTS}, max_change: {POINTS}}}"), 3, "up to 102,"),
    "tabs": ("model: testbed\n\tseed: 1\n", 2, "not valid YAML"),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    inputs = tmp_path / "inputs"
    (inputs / "empty").mkdir(parents=True)
    good = '{"subject": "Ann", "prompt": "Ann is", "target_new": "b", "ground_truth": "c"}'
    (inputs / "broken.jsonl").write_text(good + "\n" + '{"subject": "Bob"}\n')
    (inputs / "nested.jsonl").write_text("[" * 100_000)
    os.mkfifo(inputs / "fifo")
    (inputs / "loop").symlink_to("loop")
    (inputs / "texts.jsonl").write_text('{"text": "a text"}\n')
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return inputs


def fill(text: str, inputs: Path) -> str:
    from rayci.testbed import checkpoint

    places = {name: inputs / name for name in ("empty", "fifo", "loop")}
    places |= {name: inputs / f"{name}.jsonl" for name in ("broken", "nested", "texts")}
    for name, path in (places | {"checkpoint": checkpoint()}).items():
        text = text.replace("{" + name + "}", str(path))
    return text


@pytest.mark.parametrize("name", CASES)
def test_malformed_spec(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text, line, words = CASES[name]
    spec = folder / "spec.yaml"
    spec.write_text(fill(text, folder))
    monkeypatch.setattr(sys, "argv", ["rayci", "run", str(spec)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    captured = capsys.readouterr()
    assert stop.value.code == cli.WRONG_REQUEST, captured.err
    message = captured.err.strip().splitlines()
    faults = [line for line in message if re.match(r"\d+\. ", line)]
    assert 1 <= len(message) <= 1 + 4 * max(1, len(faults)), captured.err
    assert words in captured.err
    assert f"{spec}:{line}" in captured.err if line else str(spec) in captured.err
    assert captured.out == ""
    assert list(Path.cwd().iterdir()) == []


def test_the_good_spec_is_good(folder: Path) -> None:
    from rayci.planning import spec

    path = folder / "spec.yaml"
    path.write_text(GOOD)
    assert spec.load(path).replicates == 2


def test_missing_spec_file(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["rayci", "run", "no-such-spec.yaml"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == cli.WRONG_REQUEST
    assert "no-such-spec.yaml" in capsys.readouterr().err


def test_out_folder_of_someone_else(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = folder / "spec.yaml"
    spec.write_text(GOOD)
    (folder / "empty" / "thesis.tex").write_text("mine")
    monkeypatch.setattr(sys, "argv", ["rayci", "run", str(spec), "--out", str(folder / "empty")])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == cli.WRONG_REQUEST
    assert "not a run folder" in capsys.readouterr().err
    assert [path.name for path in (folder / "empty").iterdir()] == ["thesis.tex"]
