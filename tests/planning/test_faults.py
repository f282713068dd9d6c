"""Everything that is wrong with a sweep, in one message, before weights are read and before Ray."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from rayci.commands import cli
from rayci.errors import DataError, Faults, RequestError, each
from rayci.planning import spec as specs
from rayci.planning import yaml_source
from rayci.planning.faults import Examination
from rayci.planning.spec import Spec
from rayci.planning.sweep import Sweep
from rayci.testbed import checkpoint

LINES: dict[str, tuple[Any, ...]] = {
    "edits": (
        {"subject": "Ada", "prompt": "Ada lives in", "target_new": "Rome", "ground_truth": "Oslo"},
        {"subject": "Bo", "prompt": "Bo lives in", "target_new": "Rome", "ground_truth": "Oslo"},
    ),
    "calibration": ({"text": "A short text."},),
    "evaluation": ({"text": "Another text."},),
    "forget": ({"text": "What must go."},),
}
WRONG = """\
model: {model}
data: {data}
edit_batch: 2
replicates: 2
preset: testbed
interventions:
  memit: {{layers: [0, 9]}}
  gptq: {{bits: {{sweep: [3, 4]}}, group_size: 50}}
  wanda: {{sparsity: "2:5", length: 300}}
  gd: {{samples: 7}}
  rmu: {{layer: 1, update: 3}}
  sure: {{settings: {{last_layers: 5}}}}
compose: {{pairs: none, also: ["ft{{layers=[7]}} > rtn@4{{group_size=10}}"]}}
criteria: [perplexity, utility]
"""
EXPECTED = (
    ("14: criteria.utility", "utility needs utility"),
    ("4: replicates", "2 edit batches of 2 need 4 edits, there are 2"),
    ("7: interventions.memit", "layer 9 does not exist"),
    ("8: interventions.gptq.group_size", "group_size 50 does not divide the 128 columns"),
    ("9: interventions.wanda.sparsity", "has 128 columns, which groups of 2:5 do not fill"),
    ("9: interventions.wanda", "calibration text holds 0 sequences of 300 tokens"),
    ("9: interventions.wanda.length", "sequences of 300 tokens do not fit"),
    ("10: interventions.gd", "gd needs retain"),
    ("10: interventions.gd", "7 items were asked for, there are 1"),
    ("11: interventions.rmu.update", "layer -1 does not exist"),
    ("12: interventions.sure", "layer -1 does not exist: last_layers = 5"),
    ("compose.also.0", "layer 7 does not exist"),
    ("compose.also.0", "group_size 10 does not divide"),
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Data and a spec, and a working folder in which nothing may be written."""
    data = tmp_path / "data"
    data.mkdir()
    for part, lines in LINES.items():
        (data / f"{part}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "wrong.yaml").write_text(WRONG.format(model=checkpoint(), data=data))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def test_every_fault_is_found_with_its_place(folder: Path) -> None:
    source = yaml_source.read(folder / "wrong.yaml")
    with pytest.raises(Faults) as error:
        Sweep.open(specs.from_source(source), source)
    found = [(str(fault.at), fault.problem) for fault in error.value.faults]
    for place, problem in EXPECTED:
        assert any(place in at and problem in text for at, text in found), (place, problem, found)
    assert len({str(fault) for fault in error.value.faults}) == len(found)


@pytest.mark.parametrize("verb", ["plan", "run"])
def test_one_message_before_anything_starts(
    verb: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["rayci", verb, str(folder / "wrong.yaml")])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    message = capsys.readouterr()
    assert stop.value.code == cli.WRONG_REQUEST
    assert message.out == ""
    assert "things are wrong" in message.err.splitlines()[0]
    assert all(problem in message.err for _, problem in EXPECTED)
    assert not list(Path.cwd().iterdir())


def test_nothing_is_downloaded_for_a_sweep_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*_: Any, **__: Any) -> str:
        raise AssertionError("a download began")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    values = {"name": "x", "model": "owner/name-8b", "data": "testbed", "edit_batch": 10**6}
    with pytest.raises(RequestError, match="1 edit batch of 1000000 need"):
        Sweep.open(Spec.model_validate({**values, "interventions": {"ft": {}}, "criteria": ["perplexity"]}))


def test_a_plan_says_what_it_could_not_check(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = WRONG.format(model="owner/name-8b", data=folder / "elsewhere")
    (folder / "wrong.yaml").write_text(text)
    monkeypatch.setattr(sys, "argv", ["rayci", "plan", str(folder / "wrong.yaml")])
    cli.app(prog_name="rayci", standalone_mode=False, args=["plan", str(folder / "wrong.yaml")])
    notes = capsys.readouterr().err
    assert "not checked against the data" in notes
    assert "not checked against the configuration of owner/name-8b" in notes


def test_the_layers_are_judged_without_the_data(folder: Path) -> None:
    values = {"name": "x", "data": str(folder / "elsewhere"), "interventions": {"ft": {"layers": [9]}}}
    spec = Spec.model_validate({**values, "criteria": ["perplexity"]})
    examined = Examination.of(spec, elsewhere=True)
    assert [fault.problem for fault in examined.faults()] == ["layer 9 does not exist"]
    with pytest.raises(Faults, match="no data folder"):
        Sweep.open(spec)


def test_a_text_that_suffices_is_no_fault() -> None:
    spec = Spec.model_validate({"name": "x", "interventions": {"wanda": {"sparsity": 0.5}}, "criteria": ["perplexity"]})
    assert not list(Examination.of(spec).faults())
    assert Sweep.open(spec).folder == checkpoint()


def test_what_no_composition_applies_is_not_judged_and_a_step_in_two_places_once() -> None:
    alone = {"pairs": "none", "singles": False, "also": ["rtn@4{group_size=32} > rtn@3"]}
    chosen = {"rtn": {"bits": {"sweep": [3, 4]}, "group_size": 48}, "gptq": {"bits": 4, "group_size": 48}}
    values = {"name": "t", "interventions": chosen, "criteria": ["sparsity"]}
    (fault,) = Examination.of(Spec.model_validate({**values, "compose": alone})).faults()
    assert fault.at == "compose.also.0.group_size" and "group_size 48" in fault.problem
    both = list(Examination.of(Spec.model_validate({**values, "compose": {**alone, "singles": True}})).faults())
    assert [fault.at for fault in both] == [f"interventions.{name}.group_size" for name in ("rtn", "rtn", "gptq")]


def test_a_chat_without_a_template_is_found_when_the_sweep_is_planned() -> None:
    spec = Spec.model_validate(
        {"name": "t", "interventions": {"rtn": {"bits": 4}}, "criteria": {"utility": {"chat": True}}}
    )
    with pytest.raises(RequestError, match="no chat template") as refused:
        Sweep.open(spec)
    assert refused.value.at == "criteria.utility.chat"


def test_each_of_several_faults_keeps_its_key_below_another() -> None:
    several = Faults([RequestError("no such part", key=("part",)), DataError("no such file", at="here")]).under("data")
    assert [(type(fault), fault.at, fault.key) for fault in each(several)] == [
        (RequestError, None, ("data", "part")),
        (DataError, "here", ("data",)),
    ]
