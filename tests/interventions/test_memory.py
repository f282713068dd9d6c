"""Peak memory, counted: what a method holds beside the model, in bytes of live tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch

from rayci import registry
from rayci.context import Context
from rayci.intervention import Receipt
from rayci.interventions.trainer import Trainer
from rayci.model.encoding import encode_targets
from rayci.subject import Subject
from rayci.testbed import collection
from tests.interventions.losses import batch_loss
from tests.memory_meter import MemoryMeter, peak_of
from tests.models import tiny

CONTEXT = Context(collection(), batch_size=8)
HIDDEN, INNER, LENGTH, BATCH, FLOAT = 256, 512, 64, 4, 4
HESSIANS = (3 * HIDDEN**2 + INNER**2) * FLOAT
"""Of q/k/v, o, gate/up and down."""
LINEAR = HIDDEN * INNER * FLOAT
"""The largest linear; gate and up are one group of two."""
STRENGTHS = {"wanda": 0.5, "sparsegpt": 0.5, "gptq": 4, "awq": 4}


def llama(blocks: int) -> Subject:
    sizes: dict[str, Any] = {"hidden_size": HIDDEN, "intermediate_size": INNER, "num_key_value_heads": 4}
    return tiny(**sizes, num_hidden_layers=blocks)


def states(sequences: int) -> int:
    """Bytes of the hidden states of all calibration text between two blocks."""
    return sequences * LENGTH * HIDDEN * FLOAT


@cache
def compress(method: str, blocks: int, sequences: int) -> int:
    """Peak beyond the model without what the receipt keeps of earlier blocks."""
    subject = llama(blocks)
    tokens = CONTEXT.calibration(subject.tokenizer, sequences, LENGTH)
    settings = {"sequences": sequences, "length": LENGTH, "forward_batch": BATCH}
    made = registry.intervention(method).configure("published", STRENGTHS[method], settings)
    done: list[Receipt] = []
    given = replace(CONTEXT, tokens=tokens)
    peak = peak_of(subject.model, lambda: done.append(subject.apply(made, given)))
    kept = sum(value.untyped_storage().nbytes() for value in done[0].kept.values())
    return peak - kept * (blocks - 1) // blocks


def allowed(method: str, sequences: int) -> int:
    """One block's activations, its Hessians where the method has some, and the working set of one group."""
    one, tokens = states(sequences), sequences * LENGTH
    forward = BATCH * LENGTH * (8 * HIDDEN + 4 * INNER) * FLOAT
    if method == "wanda":  # scores, their order and its indices
        return one + max(forward, 6 * LINEAR)
    if method == "awq":
        # in and out of attention and MLP; inputs of o and down, the latter once more while |x| is summed
        parts = 4 * one + tokens * (HIDDEN + 2 * INNER) * FLOAT
        return one + parts + max(forward, 6 * LINEAR)
    return one + HESSIANS + max(forward, 7 * 2 * LINEAR)  # copies of gate and up: dense, swept, moved, scored


@pytest.mark.parametrize(("method", "sequences"), [("wanda", 64), ("sparsegpt", 64), ("gptq", 64), ("awq", 16)])
def test_compressors_hold_one_blocks_activations_and_hessians(method: str, sequences: int) -> None:
    peak, limit = compress(method, 2, sequences), allowed(method, sequences)
    assert 0.6 * limit <= peak <= limit, f"{peak / 1e6:.1f} of {limit / 1e6:.1f} MB"


@pytest.mark.parametrize("method", ["wanda", "sparsegpt", "gptq", "awq"])
def test_further_blocks_take_no_further_memory(method: str) -> None:
    few, many = (compress(method, blocks, 16) for blocks in (1, 2))
    assert many <= few * 1.01, f"{few / 1e6:.2f} MB for one block, {many / 1e6:.2f} MB for two"


@pytest.mark.parametrize("method", ["wanda", "sparsegpt", "gptq"])
def test_further_calibration_text_costs_one_set_of_states(method: str) -> None:
    few, many = (compress(method, 2, sequences) for sequences in (16, 64))
    assert many - few == pytest.approx(states(48), rel=0.02)


def spied(monkeypatch: pytest.MonkeyPatch, subject: Subject) -> list[tuple[set[str], int, int]]:
    """(names with a gradient, bytes of own masters, bytes of optimiser state) of every step from now on."""
    found: list[tuple[set[str], int, int]] = []
    known = {value.data_ptr() for value in subject.model.parameters()}
    step = Trainer.step

    def watched(self: Trainer, after: Callable[..., None] | None = None) -> None:
        graded = {name for name, value in subject.model.named_parameters() if value.grad is not None}
        step(self, after)
        state = sum(value.nbytes for stepped in self.stepped.values() for value in stepped.state.values())
        masters = [stepped._master for stepped in self.stepped.values()]
        found.append((graded, sum(m.nbytes for m in masters if m.data_ptr() not in known), state))

    monkeypatch.setattr(Trainer, "step", watched)
    return found


_LAST: dict[str, Any] = {"last_layers": 1, "samples": 4, "batch": 2, "epochs": 1, "max_tokens": 16}


@pytest.mark.parametrize(
    ("method", "settings", "copies"),
    [
        ("ft", {"layers": (1,), "steps": 2}, 0),
        ("ga", _LAST, 0),
        ("rmu", {"layer": 1, "update": 1, "batch": 2, "max_batches": 2, "max_tokens": 16, "retain_tokens": 16}, 1),
        ("sure", {"method": "ga", "percentile": 60, "settings": {**_LAST, "clip_norm": None}}, 2),
    ],
)
def test_optimiser_state_exists_for_trained_parameters_alone(
    method: str, settings: dict[str, Any], copies: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = llama(4)
    steps = spied(monkeypatch, subject)
    done: list[Receipt] = []
    made = registry.intervention(method).configure("published", None, settings)
    peak = peak_of(subject.model, lambda: done.append(subject.apply(made, CONTEXT)))
    trained = subject.parameters_of(done[0].changed)
    size = sum(value.nbytes for value in trained.values())
    assert len(steps) >= 1
    for graded, masters, state in steps:
        assert graded == trained.keys()
        assert masters == 0  # the parameters hold all that is stored of them
        assert state == 2 * size  # Adam's two moments
    # gradients, two moments, and while a step runs two temporaries; RMU also the frozen
    # weights, SURE the gradients of what it does not choose
    assert peak <= (5 + copies) * size + activations(subject)


def activations(subject: Subject) -> int:
    """What one training step on a batch of the largest size here takes without masters and state."""
    batch = encode_targets(subject.tokenizer, [(edit.prompt, edit.target_new) for edit in CONTEXT.edits])
    for parameter in subject.model.parameters():
        parameter.requires_grad_(True)
    with MemoryMeter(subject.model.parameters()) as meter:
        loss = batch_loss(subject, batch)
    del loss
    return int(meter.peak)


def test_the_meter_counts_storages_while_they_live() -> None:
    known = torch.zeros(10)
    with MemoryMeter([known]) as meter:
        known.view(2, 5).add_(1)
        assert meter.live == 0
        made = torch.zeros(1000)
        rows = made.view(10, 100)
        del made
        assert meter.live == 4000
        del rows
        assert meter.live == 0
        weight = torch.ones(100, requires_grad=True)
        squared = weight * 2
        total = (squared * squared).sum()
        del squared  # the graph holds it
        assert meter.live == 2 * 400 + 4
        del total
        assert meter.live == 400
    assert meter.peak == 4000
