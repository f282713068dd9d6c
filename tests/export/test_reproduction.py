"""`reproduce.yaml`: a spec that names one stage, with the fingerprint that it has in its sweep."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from rayci.errors import DataError
from rayci.export.building import draws
from rayci.export.reproduction import reproduce
from rayci.export.wanted import Wanted, of_model, of_spec
from rayci.planning.spec import Spec
from rayci.planning.sweep import Sweep
from rayci.testbed import checkpoint, collection

METHODS: dict[str, Any] = {
    "ft": {},
    "memit": {"clamp": 3, "layers": {"sweep": [[1], [1, 2]]}},
    "wanda": {"sequences": 8, "sparsity": {"sweep": ["2:4", 0.5]}},
    "rtn": {"bits": {"sweep": [3, 4]}, "group_size": 32},
    "gd": {"lr": 2e-5},
    "npo": {"parametrisation": {"sweep": ["full", "lora"]}, "lora_rank": 4},
}


def opened(**keys: Any) -> Sweep:
    return Sweep.open(Spec.model_validate({"name": "s", "interventions": METHODS, "criteria": ["sparsity"], **keys}))


@pytest.mark.parametrize(
    ("keys", "chain", "replicate", "seed", "depth"),
    [
        ({}, "wanda@2:4", 0, 0, 1),
        ({"replicates": 3, "edit_batch": 5}, "memit{layers=[1, 2]} > rtn@4", 2, 0, 2),
        ({"seeds": 2, "seed": 7, "dtype": "bfloat16"}, "gd > wanda@0.5", 0, 1, 2),
        ({"recompress": "reproject"}, "rtn@3 > gd > rtn@4", 0, 0, 3),
        ({"recompress": "refit"}, "rtn@3 > gd", 0, 0, 2),  # before it is re-compressed
        ({"preset": "testbed", "attention": "eager", "resources": {"threads": 2}}, "rtn@4{keep_zeros=true}", 0, 0, 1),
        ({"replicates": 3, "edit_batch": 5}, "ft > ft{batch=1} > rtn@4", 1, 0, 3),
        ({}, "npo{parametrisation=lora} > npo{parametrisation=full}", 0, 0, 2),
        ({}, "rtn@4", 0, 0, 0),
    ],
)
def test_the_stage_has_its_fingerprint_again(
    keys: dict[str, Any], chain: str, replicate: int, seed: int, depth: int, tmp_path: Path
) -> None:
    sweep = opened(**keys)
    wanted = Wanted(sweep, sweep.planner.trial(chain, replicate, seed), depth)
    (tmp_path / "reproduce.yaml").write_text(reproduce(wanted))
    again = of_spec(tmp_path / "reproduce.yaml", stage=wanted.stage.fingerprint[:16])
    assert again.stage.fingerprint == wanted.stage.fingerprint
    assert again.stage.chain == wanted.stage.chain
    assert again.sweep.spec.resources.threads == sweep.spec.resources.threads
    batched = "batch=" in chain  # then the number of replicates decides which edits these are
    assert len(again.sweep.planner.plan().trials) <= (3 if batched else replicate + 1) * (seed + 1)


def test_a_card_names_every_edit_batch() -> None:
    sweep = opened(replicates=3, edit_batch=5)
    trial = sweep.planner.trial("ft > rtn@4 > ft{batch=2}", 1, 0)
    said = [draws(Wanted(sweep, trial, depth)) for depth in (0, 1, 3)]
    assert said == ["seed 0", "edit batch 1 of 5 edits, seed 0", "edit batches 1, 7 of 5 edits, seed 0"]


def test_a_composition_on_a_model_is_such_a_spec_too(tmp_path: Path) -> None:
    wanted = of_model("testbed", "ft > gptq@3", settings={"gptq": {"group_size": 16}}, seed=5)
    (tmp_path / "reproduce.yaml").write_text(reproduce(wanted))
    again = of_spec(tmp_path / "reproduce.yaml")
    assert again.stage == wanted.stage
    assert again.sweep.spec == wanted.sweep.spec


def test_edit_batches_on_a_model_are_as_large_as_is_said(tmp_path: Path) -> None:
    (tmp_path / "edits.jsonl").write_text("".join(json.dumps(asdict(edit)) + "\n" for edit in collection().edits[:6]))
    asked = {"composition": "ft{batch=0..1}", "data": str(tmp_path)}
    assert draws(of_model("testbed", **asked, edit_batch=3)) == "edit batches 0, 1 of 3 edits, seed 0"
    with pytest.raises(DataError, match="2 edit batches of 6 need 12 edits, there are 6"):
        of_model("testbed", **asked)  # all of a folder's edits are one batch


def test_folders_below_home_do_not_say_whose_home_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copytree(checkpoint(), tmp_path / "model")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "calibration.jsonl").write_text('{"text": "Some text."}\n')
    wanted = of_model(str(tmp_path / "model"), "rtn@4", data=str(tmp_path / "data"))
    text = reproduce(wanted)
    assert "model: ~/model\n" in text and "data: ~/data\n" in text and str(tmp_path) not in text
    (tmp_path / "reproduce.yaml").write_text(text)
    assert of_spec(tmp_path / "reproduce.yaml").stage == wanted.stage
