"""The walk over blocks against a naive one: whole forward passes, hooks on every linear."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rayci.context import Context
from rayci.errors import DataError
from rayci.interventions.compression.walk import walk
from rayci.interventions.compression.wanda import Wanda
from rayci.model import modules
from rayci.subject import Subject
from rayci.testbed import collection
from tests.models import ARCHITECTURES, LAYERS, testbed, tiny, weights

SEQUENCES, LENGTH, SPARSITY = 6, 32, 0.5


def wanda(batch: int) -> Wanda:
    return Wanda(sparsity=SPARSITY, sequences=SEQUENCES, length=LENGTH, forward_batch=batch)


@torch.no_grad()
def square_sums(subject: Subject, tokens: Tensor, linears: dict[str, nn.Module]) -> dict[str, Tensor]:
    """Σ x² of each linear's own input, from a forward pass of the whole model."""
    found: dict[str, Tensor] = {}

    def gather(name: str) -> Any:
        def hook(_: nn.Module, args: tuple[Tensor, ...]) -> None:
            found[name] = args[0].flatten(0, -2).square().sum(0)

        return hook

    hooks = [module.register_forward_pre_hook(gather(name)) for name, module in linears.items()]
    subject.model(input_ids=tokens)
    for hook in hooks:
        hook.remove()
    return found


@torch.no_grad()
def naive(subject: Subject, tokens: Tensor, *, sequential: bool = True) -> None:
    """Prune block after block; with `sequential` off all statistics are those of the dense model."""
    everything = dict(subject.linears())
    dense = square_sums(subject, tokens, dict(everything))
    for index in range(len(subject.blocks)):
        prefix = f"{subject.paths.blocks}.{index}."
        block = {name: module for name, module in everything.items() if name.startswith(prefix)}
        sums = square_sums(subject, tokens, dict(block)) if sequential else dense
        for name, module in block.items():
            weight = modules.weight(module)
            score = weight.abs() * sums[name].sqrt()
            gone = score.argsort(dim=1, stable=True)[:, : int(weight.shape[1] * SPARSITY)]
            for row, pruned in enumerate(gone):
                weight[row, pruned] = 0


def pruned_share_in_common(left: Subject, right: Subject) -> float:
    """Share of the linears' weights that both have pruned, or both not."""
    pairs = zip(left.linears(), right.linears(), strict=True)
    same = [(modules.weight(a) == 0) == (modules.weight(b) == 0) for (_, a), (_, b) in pairs]
    return float(torch.cat([part.flatten() for part in same]).double().mean())


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_each_block_sees_the_outputs_of_the_pruned_ones(kind: str) -> None:
    walked, expected = tiny(kind), tiny(kind)
    context = Context(collection())
    naive(expected, context.calibration(expected.tokenizer, SEQUENCES, LENGTH))
    walked.apply(wanda(SEQUENCES), context)
    now, then = weights(walked), weights(expected)
    assert all(now[name].equal(then[name]) for name in then)


def test_on_the_testbed_too_and_dense_statistics_would_give_another_mask() -> None:
    walked, expected, dense = testbed(), testbed(), testbed()
    context = Context(collection())
    tokens = context.calibration(expected.tokenizer, SEQUENCES, LENGTH)
    naive(expected, tokens)
    naive(dense, tokens, sequential=False)
    walked.apply(wanda(SEQUENCES), context)
    assert pruned_share_in_common(walked, expected) == 1
    assert pruned_share_in_common(walked, dense) < 0.999


def test_layers_of_different_attention_are_walked_as_the_model_runs_them() -> None:
    mixed: dict[str, Any] = {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}
    walked, expected = tiny("qwen2", **mixed), tiny("qwen2", **mixed)
    assert set(walked.model.config.layer_types) == {"full_attention", "sliding_attention"}
    context = Context(collection())
    naive(expected, context.calibration(expected.tokenizer, SEQUENCES, LENGTH))
    walked.apply(wanda(SEQUENCES), context)
    assert pruned_share_in_common(walked, expected) == 1


def test_the_batch_of_forward_work_does_not_matter() -> None:
    one, all_at_once = testbed(), testbed()
    one.apply(wanda(1), Context(collection()))
    all_at_once.apply(wanda(SEQUENCES), Context(collection()))
    assert pruned_share_in_common(one, all_at_once) > 0.9999


def test_linears_with_one_input_are_observed_once_a_batch() -> None:
    subject, seen = tiny(), Counter[str]()
    tokens = Context(collection()).calibration(subject.tokenizer, 5, LENGTH)
    shapes = set()
    for inputs in walk(subject, tokens, 2):

        def observe(path: str, x: Tensor, index: int = inputs.index) -> None:
            seen[f"{index}.{path}"] += 1
            shapes.add((path, x.shape[1]))

        inputs.observe(observe)
    firsts = ("self_attn.q_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.down_proj")
    # five sequences in batches of two are three batches
    assert seen == {f"{index}.{path}": 3 for index in range(LAYERS) for path in firsts}
    assert shapes == {(path, 64 if path == "mlp.down_proj" else 32) for path in firsts}


def test_no_hook_is_left_even_after_an_error() -> None:
    subject = tiny()
    tokens = Context(collection()).calibration(subject.tokenizer, 2, LENGTH)

    def refuse(path: str, x: Tensor) -> None:
        raise ValueError(path)

    with pytest.raises(ValueError, match="q_proj"):
        next(walk(subject, tokens, 2)).observe(refuse)
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in subject.model.modules())


def test_calibration_text_that_is_too_short_is_refused_before_any_weight_changes() -> None:
    subject = tiny()
    before = weights(subject)
    with pytest.raises(DataError, match="calibration text holds"):
        subject.apply(Wanda(sparsity=0.5, sequences=10**6, length=LENGTH), Context(collection()))
    assert all(value.equal(before[name]) for name, value in weights(subject).items())
