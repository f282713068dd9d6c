"""The folder of a saved subject: whole or not there, with a card that says how it came to be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

import rayci
from rayci import export
from rayci.errors import RequestError, StorageError
from tests import models
from tests.models import random_model, tiny, weights


def test_a_saved_subject_loads_with_its_tokenizer(tmp_path: Path) -> None:
    subject = rayci.apply("testbed", "magnitude@0.5")
    rayci.save(subject, tmp_path / "out")
    (new := tmp_path / "new").touch()
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    ids = tokenizer("The capital of", return_tensors="pt")
    assert ids["input_ids"].equal(subject.tokenizer("The capital of", return_tensors="pt")["input_ids"])
    with torch.no_grad():
        assert model(**ids).logits.equal(subject.model(**ids).logits)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "README.md", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
        "tokenizer_config.json",
    }  # fmt: skip
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "out").iterdir()} == {new.stat().st_mode & 0o777}


def test_the_card_says_what_was_done(tmp_path: Path) -> None:
    export.save(rayci.apply("testbed", "magnitude@0.25 > gptq@4{group_size=32,sequences=8}"), tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text()
    facts = yaml.safe_load(text.split("---")[1])
    assert facts == {
        "library_name": "transformers", "pipeline_tag": "text-generation", "tags": ["rayci", "compressed-tensors"]
    }  # fmt: skip
    assert "# testbed: `magnitude@0.25 > gptq@4`" in text
    (row,) = [line for line in text.splitlines() if line.startswith("| `gptq@4` | compress |")]
    assert '"bits": 4' in row and '"group_size": 32' in row
    assert "28 weights of the decoder blocks are packed as compressed-tensors, 4 bits, groups of 32 columns" in text
    assert str(Path.home()) not in text and str(Path.cwd()) not in text


def test_the_card_names_the_blocks_that_zeros_stand_for(tmp_path: Path) -> None:
    subject = rayci.apply(random_model("llama"), "layerdrop@1", calibration=torch.arange(24).view(2, 12))
    export.save(subject, tmp_path / "out")
    (block,) = subject.receipts[0].kept
    text = (tmp_path / "out" / "README.md").read_text()
    assert f"Zeros stand for the blocks that layerdrop took out, `{block}`:" in text


def test_the_card_says_who_reads_fp8(tmp_path: Path) -> None:
    for chain, said in (
        ("rtn@fp8", "vLLM runs them packed."),
        ("rtn@fp8{group_size=16}", "with one scale a row alone"),
    ):
        export.save(rayci.apply(random_model("llama"), chain), tmp_path / chain)
        text = (tmp_path / chain / "README.md").read_text()
        assert said in text and "fp8, " in text and "`float-quantized`" in text


def test_what_a_method_did_otherwise_than_asked_is_in_the_card(tmp_path: Path) -> None:
    subject = rayci.apply(random_model("llama"), "rtn@4{group_size=16}")
    step = subject.applied[0]
    told = replace(step.receipt, retries=("damping 0.1",), notes=("calibration text stands in",))
    subject.applied[0] = replace(step, receipt=told)
    export.save(subject, tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text()
    assert "- damping 0.1\n- calibration text stands in\n" in text


def test_an_occupied_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(RequestError, match="is not empty"):
        export.save(tiny(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(RequestError, match="is a file"):
        export.save(tiny(), tmp_path / "mine.txt")


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    export.save(tiny(), tmp_path / "out")
    assert (tmp_path / "out" / "config.json").is_file()


def test_what_fails_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = tiny()
    before = weights(subject)

    def broken(folder: Path) -> None:
        (folder / "tokenizer.json").write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(models.tokenizer(), "save_pretrained", broken)
    with pytest.raises(KeyboardInterrupt):
        export.save(subject, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    assert not models.differing(subject, before)


def test_a_full_disk_leaves_nothing(tiny_disk: Path) -> None:
    with pytest.raises(StorageError, match="no space left"):
        export.save(tiny(), tiny_disk / "out")
    assert list(tiny_disk.iterdir()) == []
