"""`rayci apply` and `rayci inspect`: what they write and show, and what they refuse in one message."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from transformers import AutoModelForCausalLM

from rayci.commands.model_requests import settings
from rayci.errors import RequestError
from rayci.model import loading
from rayci.testbed import checkpoint
from tests.commands.test_cli import call
from tests.export import runs
from tests.export.own_hub import own_hub
from tests.models import random_model, tokenizer

SPEC = """
name: small
interventions: {magnitude: {sparsity: 0.5}, rtn: {bits: {sweep: [3, 4]}}, ft: {}}
criteria: [sparsity]
"""
Verb = Callable[..., tuple[int, str, str]]


@pytest.fixture
def rayci(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Verb:
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: call(capsys, monkeypatch, *arguments)


def test_a_checkpoint_and_the_same_one_from_its_reproduce_yaml(rayci: Verb) -> None:
    chain = "ft > gptq@3"
    chosen = ("gptq.group_size=32", "gptq.sequences=8", "ft.steps=2")
    options = (*(word for text in chosen for word in ("--set", text)), "--seed", "3", "--measure", "sparsity,avg_bits")
    code, out, err = rayci("apply", "testbed", chain, "--out", "one", *options)
    assert (code, out.strip()) == (0, str(Path("one").resolve()))
    assert "28 weights packed in 3 bits, 0 dense" in err
    card = Path("one/README.md").read_text()
    assert '"group_size": 32' in card and "| avg_bits | 16 | 4 | " in card
    (again,) = [line for line in card.splitlines() if line.startswith("rayci apply")]
    verb, spec, *rest = again.removeprefix("rayci ").removesuffix("--out FOLDER").split()
    assert rayci(verb, f"one/{spec}", *rest, "--out", "two")[0] == 0
    assert Path("one/model.safetensors").read_bytes() == Path("two/model.safetensors").read_bytes()
    AutoModelForCausalLM.from_pretrained("two")


def test_a_stage_of_a_run_with_its_readings(rayci: Verb) -> None:
    runs.make(Path("small"))
    chosen = ("--only", runs.CHAIN, "--replicate", "1")
    code, _, err = rayci("apply", "--run", "small", *chosen, "--out", "one")
    assert code == 0
    assert err.splitlines()[:2] == ["step 2 of 2: ft > rtn@4", "1 of 2 steps came from the run's store"]
    digest = runs.trial(runs.sweep()).stages[2].fingerprint
    card = Path("one/README.md").read_text()
    assert "in float32; edit batch 1 of 4 edits, seed 0." in card
    assert digest in card and "| sparsity | 0 | " in card
    assert rayci("apply", "--run", "small", "--stage", digest[:9], "--out", "two")[0] == 0
    assert Path("one/model.safetensors").read_bytes() == Path("two/model.safetensors").read_bytes()


def test_a_checkpoint_goes_to_the_hub(rayci: Verb, monkeypatch: pytest.MonkeyPatch) -> None:
    with own_hub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", hub.token)
        code, out, _ = rayci("apply", "testbed", "rtn@4", "--out", "out", "--push-to-hub", "me/it", "--private")
        assert (code, out.split()) == (0, [str(Path("out").resolve()), f"{hub.url}/me/it"])
        assert hub.private == {"me/it": True}
        assert set(hub.files["me/it"]) == {path.name for path in Path("out").iterdir()}


def test_settings_of_a_file_and_of_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("awq: {group_size: 32, symmetric: true}\nmemit: {layers: [4, 5]}\n")
    given = settings(tmp_path / "own.yaml", ["awq.group_size=64", "ft.lr=1e-5"])
    assert given == {
        "awq": {"group_size": 64, "symmetric": True}, "memit": {"layers": [4, 5]}, "ft": {"lr": 1e-5}
    }  # fmt: skip
    with pytest.raises(RequestError, match="cannot read"):
        settings(None, ["awq=4"])


@pytest.fixture
def bare(tmp_path: Path) -> str:
    """A model without data."""
    random_model("llama").save_pretrained(tmp_path / "bare")
    tokenizer().save_pretrained(tmp_path / "bare")
    return str(tmp_path / "bare")


def test_a_model_without_data_is_enough_for_methods_that_read_none(bare: str, rayci: Verb) -> None:
    assert rayci("apply", bare, "rtn@4", "--set", "rtn.group_size=16", "--out", "out")[0] == 0


def test_data_that_a_method_needs(bare: str, rayci: Verb) -> None:
    code, out, err = rayci("apply", bare, "memit > rtn@4{group_size=16}", "--set", "memit.layers=[0]", "--out", "out")
    assert (code, out, Path("out").exists()) == (2, "", False)
    message = " ".join(err.split())
    assert "memit needs edits, which the data does not have" in message
    assert "try: --data FOLDER: add edits to the data (edits.jsonl in its folder), or leave memit out" in message
    assert "group_size" not in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("testbed", "ft > "), "cannot read step ''"),
        (("testbed", "fft > rtn@4"), "no intervention 'fft'"),
        (("testbed", "rtn@4", "--set", "rtn.groups=4"), "rtn has no setting 'groups'"),
        (("testbed", "rtn@4", "--set", "gptq.bits=4"), "settings of gptq, which is not applied"),
        (("testbed", "rtn@4", "--set", "rtn.bits=4"), "bits is given twice"),
        (("testbed", "rtn"), "bits is missing"),
        (("testbed",), "there is nothing to apply to testbed"),
        ((), "there is no model"),
        (("testbed", "rtn@4", "--stage", "abc"), "--stage beside MODEL CHAIN"),
        (("--run", "small", "--data", "here"), "--data beside --run"),
        (("--run", "small", "--stage", "a", "--only", "b"), "--only beside --stage"),
        (("--run", "small", "--stage", "a", "--replicate", "1"), "--replicate beside --stage"),
        (("testbed", "rtn@4", "--private"), "--private without --push-to-hub"),
        (("--run", "small"), "is not a run folder"),
        (("testbed", "rtn@4", "--measure", "mlu"), "no criterion 'mlu'"),
        (("testbed", "rtn@4", "--push-to-hub", "me"), "'me' is no name of a repository"),
        (("no/such/model", "rtn@4"), "no model folder no/such/model"),
        (("testbed", "rtn@4", "--data", "nowhere"), "no data folder nowhere"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(
    arguments: tuple[str, ...], message: str, rayci: Verb
) -> None:
    code, out, err = rayci("apply", *arguments, "--out", "out")
    assert (code, out, Path("out").exists()) == (2, "", False)
    assert message in " ".join(err.split())


def test_the_folder_must_be_named_and_free(rayci: Verb) -> None:
    assert "there is no folder" in rayci("apply", "testbed", "rtn@4")[2]
    Path("full").mkdir()
    Path("full/mine").write_text("mine")
    code, _, err = rayci("apply", "testbed", "rtn@4", "--out", "full")
    assert code == 2 and "is not empty" in err
    assert [path.name for path in Path("full").iterdir()] == ["mine"]


def test_next_tokens_after_every_stage(rayci: Verb) -> None:
    Path("small.yaml").write_text(SPEC)
    asked = ("inspect", "small.yaml", "--only", "magnitude@0.5 > rtn@3", "--top", "3")
    prompts = ("--prompt", "The capital of", "--prompt", "It is")
    code, out, err = rayci(*asked, *prompts, "--format", "json")
    assert (code, err) == (0, "")
    rows = json.loads(out)
    assert [(row["stage"], row["prompt"], row["rank"]) for row in rows] == [
        (stage, prompt, rank) for stage in range(3) for prompt in ("The capital of", "It is") for rank in (1, 2, 3)
    ]
    assert [row["chain"] for row in rows[::6]] == ["", "magnitude@0.5", "magnitude@0.5 > rtn@3"]
    subject = loading.load(checkpoint())
    with torch.no_grad():
        logits = subject.model(**subject.tokenizer("The capital of", return_tensors="pt")).logits[0, -1]
    best = torch.softmax(logits, -1).topk(3)
    assert [row["token"] for row in rows[:3]] == [subject.tokenizer.decode([token]) for token in best.indices]
    assert [row["probability"] for row in rows[:3]] == pytest.approx(best.values.tolist())
    assert rows[0]["probability"] != rows[6]["probability"] != rows[12]["probability"]
    assert len(list(csv.DictReader(io.StringIO(rayci(*asked, *prompts, "--format", "csv")[1])))) == 18
    table = rayci(*asked, *prompts)[1]
    assert table.count("untouched") == 2 and repr(rows[0]["token"]) in table


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--only", "awq@", "--prompt", "x"), "cannot read step"),
        (("--only", "ft", "--prompt", "x", "--replicate", "1"), "replicate = 1"),
    ],
)
def test_what_cannot_be_inspected(arguments: tuple[str, ...], message: str, rayci: Verb) -> None:
    Path("small.yaml").write_text(SPEC)
    code, out, err = rayci("inspect", "small.yaml", *arguments)
    assert (code, out) == (2, "")
    assert message in " ".join(err.split())


def test_a_spec_that_ships_with_rayci_is_known_by_its_name(rayci: Verb) -> None:
    code, out, _ = rayci("inspect", "quickstart", "--only", "rtn@2", "--prompt", "It is", "--top", "1")
    assert code == 0 and "rtn@2" in out


def test_stages_of_a_run_are_not_computed_again(rayci: Verb, monkeypatch: pytest.MonkeyPatch) -> None:
    runs.make(Path("runs/small"))
    Path("small.yaml").write_text(json.dumps(runs.SPEC))
    monkeypatch.setattr("rayci.interventions.editing.finetuning.FineTuning.apply", lambda *_: 1 / 0)
    chosen = ("--only", runs.CHAIN, "--replicate", "1", "--prompt", "The capital of", "--format", "json")
    code, out, _ = rayci("inspect", "small.yaml", *chosen)
    assert code == 0 and len({row["stage"] for row in json.loads(out)}) == 3
