"""Models that are ill: a finite result or a stage that fails with a reason, for every method."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rayci import registry
from rayci.context import Context
from rayci.errors import InterventionError
from rayci.interventions.compression import hessian
from rayci.interventions.compression.walk import BlockInputs
from rayci.kinds import Status
from rayci.model import loading, modules
from rayci.planning.spec import Spec
from rayci.planning.sweep import Sweep
from rayci.running.runner import Runner
from rayci.storage.stages import StageStore
from rayci.subject import Subject
from rayci.table import read
from rayci.testbed import checkpoint, collection
from tests.interventions.small import COMPRESSORS, METHODS, configured
from tests.models import tiny, weights

CONTEXT = Context(collection(), batch_size=4)
DEAD = [3, 5]


@torch.no_grad()
def infinite_norm(subject: Subject) -> None:
    subject.blocks[1].input_layernorm.weight.fill_(float("inf"))


@torch.no_grad()
def not_a_number(subject: Subject) -> None:
    subject.blocks[1].mlp.down_proj.weight[0, 0] = float("nan")


@torch.no_grad()
def unknown_embeddings(subject: Subject) -> None:
    subject.model.get_input_embeddings().weight.fill_(float("nan"))  # type: ignore[operator]


@torch.no_grad()
def overflowing(subject: Subject) -> None:
    for _, module in subject.linears():
        module.weight.mul_(1e20)


@torch.no_grad()
def exploded(subject: Subject) -> None:
    """Finite logits so large that the perplexity is not."""
    subject.model.get_output_embeddings().weight.mul_(1e6)  # type: ignore[operator]
    for _, module in subject.linears():
        module.weight.mul_(50)


@torch.no_grad()
def vanished(subject: Subject) -> None:
    for _, module in subject.linears():
        module.weight.zero_()


ILLNESSES: tuple[Callable[[Subject], None], ...] = (
    infinite_norm,
    not_a_number,
    unknown_embeddings,
    overflowing,
    exploded,
    vanished,
)


def test_every_method_is_here() -> None:
    assert set(METHODS) == set(registry.INTERVENTIONS)


def finite(subject: Subject, names: tuple[str, ...]) -> bool:
    return all(bool(torch.isfinite(value).all()) for value in subject.parameters_of(names).values())


@pytest.mark.parametrize("illness", ILLNESSES, ids=lambda illness: illness.__name__)
@pytest.mark.parametrize("method", METHODS)
def test_a_finite_result_or_a_reason(method: str, illness: Callable[[Subject], None]) -> None:
    subject = tiny()
    illness(subject)
    try:
        receipt = subject.apply(configured(method), CONTEXT)
    except InterventionError as error:
        assert len(str(error).splitlines()) == 1
        assert not subject.applied
        assert illness is not vanished or method not in COMPRESSORS
    else:
        assert finite(subject, receipt.changed)


@pytest.mark.parametrize("method", METHODS)
def test_dead_channels(method: str) -> None:
    """Channels that no token reaches: attention's and the MLP's inputs, and one of the MLP itself."""
    subject = tiny()
    with torch.no_grad():
        for block in subject.blocks:
            block.input_layernorm.weight[DEAD] = 0
            block.post_attention_layernorm.weight[DEAD] = 0
            block.mlp.up_proj.weight[DEAD] = 0
    receipt = subject.apply(configured(method), CONTEXT)
    assert all(bool(torch.isfinite(value).all()) for value in weights(subject).values())
    # Keys have dead channels then, and their covariance is singular, which only AlphaEdit's formula does not mind.
    assert all("singular, solved with damping" in retry for retry in receipt.retries)
    assert bool(receipt.retries) == (method in ("memit", "emmet", "rome"))
    if method in ("wanda", "sparsegpt"):
        query = modules.weight(next(subject.linears())[1])
        assert not query[:, DEAD].any()


def spoiled(much: float) -> Callable[[BlockInputs], dict[str, Tensor]]:
    """Hessians whose first two channels share `much` more than they have: not positive definite."""
    real = hessian.hessians

    def found(inputs: BlockInputs) -> dict[str, Tensor]:
        given = real(inputs)
        for matrix in given.values():
            mean = float(matrix.diagonal().mean())
            matrix[:2, :2] = mean * torch.tensor([[1.0, much], [much, 1.0]])
            matrix[:2, 2:], matrix[2:, :2] = 0, 0
        return given

    return found


@pytest.mark.parametrize("method", ["sparsegpt", "gptq"])
def test_ten_times_the_damping_is_tried_and_recorded(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hessian, "hessians", spoiled(1.5))  # smallest eigenvalue −.5: .01 and .1 do not do, 1 does
    subject = tiny()
    receipt = subject.apply(configured(method), CONTEXT)
    assert len(receipt.retries) == 2 * 4 * len(subject.blocks)
    assert receipt.retries[0].endswith("damping 0.01 gave no finite factor, 0.1 was tried")
    assert receipt.retries[1].endswith("damping 0.1 gave no finite factor, 1 was tried")
    assert "model.layers.0.self_attn.q_proj" in receipt.retries[0]
    assert finite(subject, receipt.changed)


@pytest.mark.parametrize("method", ["sparsegpt", "gptq"])
def test_a_hessian_that_three_retries_do_not_mend_fails_the_stage(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hessian, "hessians", spoiled(13.0))
    subject = tiny()
    with pytest.raises(InterventionError, match=r"q_proj .* not positive definite, tried with damping 0\.01 to 10"):
        subject.apply(configured(method), CONTEXT)
    assert not subject.applied


SPEC = Spec.model_validate(
    {
        "name": "t",
        "interventions": {"wanda": {"sparsity": 0.5}, "gptq": {"bits": 4}, "rtn": {"bits": 4}, "memit": {}, "ga": {}},
        "compose": {"pairs": "none", "also": ["wanda@0.5 > ga", "ga > wanda@0.5"]},
        "criteria": ["perplexity", "edit_success", "sparsity"],
        "edit_batch": 4,
    }
)


@pytest.mark.parametrize("illness", [overflowing, unknown_embeddings], ids=lambda illness: illness.__name__)
def test_a_sweep_goes_on_with_a_collapsed_model(illness: Callable[[Subject], None], tmp_path: Path) -> None:
    torch.set_num_threads(1)
    sweep = Sweep.open(SPEC)
    subject = loading.load(checkpoint())
    illness(subject)
    active = Runner(sweep, subject, StageStore(tmp_path / "store"), tmp_path)
    plan = sweep.planner.plan()
    for trial in plan.trials:
        owners = [plan.owners[stage.fingerprint] for stage in trial.stages]
        list(active.run(trial, owners, [stage.fingerprint in plan.shared for stage in trial.stages]))
    rows = read(tmp_path / "table").arrow.to_pylist()
    assert {row["stage_fingerprint"] for row in rows} == set(plan.stages)
    without = [row for row in rows if row["status"] != Status.OK]
    assert {row["status"] for row in without} == {Status.FAILED, Status.SKIPPED}
    assert all(row["value"] is None and row["reason"] and "Error:" not in row["reason"] for row in without)
    assert not any(math.isnan(row["value"]) for row in rows if row["status"] == Status.OK)
