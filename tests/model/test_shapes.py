"""Models without weights: the shapes are the model's own, or said to be a guess; nothing is downloaded."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import NoReturn

import pytest
import torch

from rayci.errors import RequestError
from rayci.model.shapes import sketch
from rayci.model.sizes import Sizes
from tests.models import ARCHITECTURES, testbed, tiny


def test_the_testbeds_shapes() -> None:
    drawn = sketch("testbed", dtype="bfloat16")
    real = {name: value.shape for name, value in testbed().model.named_parameters()}
    assert {name: value.shape for name, value in drawn.subject.model.named_parameters()} == real
    assert drawn.guessed is None
    sizes = Sizes(drawn.subject)
    assert sizes.weight_bytes == 2 * sizes.parameters == 2 * 689280
    assert all(value.is_meta for value in drawn.subject.model.parameters())


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_a_folder_of_any_architecture(kind: str, tmp_path: Path) -> None:
    subject = tiny(kind)
    subject.model.config.save_pretrained(tmp_path)  # a configuration is enough
    drawn = sketch(str(tmp_path))
    assert [name for name, _ in drawn.subject.linears()] == [name for name, _ in subject.linears()]
    assert Sizes(drawn.subject).parameters == sum(value.numel() for value in subject.model.parameters())


def test_a_hub_model_that_is_not_here_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> NoReturn:
        raise AssertionError("a plan must not use the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    drawn = sketch("meta-llama/Meta-Llama-3-8B", dtype="bfloat16")
    assert Sizes(drawn.subject).parameters == 8_030_261_248  # Llama 3's proportions are the formula's
    assert len(drawn.subject.blocks) == 32 and next(drawn.subject.model.parameters()).dtype == torch.bfloat16
    assert drawn.guessed is not None and "name" in drawn.guessed
    assert Sizes(sketch("someone/model-410m").subject).parameters == pytest.approx(410e6, rel=0.5)


@pytest.mark.parametrize("name", ["owner/model", "owner/mix-8x7B", "owner/v2.5b2"])
def test_a_name_without_a_size(name: str) -> None:
    with pytest.raises(RequestError, match="size"):
        sketch(name)


def test_a_configuration_that_does_not_load(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(RequestError, match="does not load"):
        sketch(str(tmp_path))
