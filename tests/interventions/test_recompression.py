"""Re-compression after an edit or unlearning: visible stages, what they measure, and grids that last."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from rayci import registry
from rayci.context import Context
from rayci.intervention import Compressor, Intervention
from rayci.interventions.compression.grid import Even
from rayci.interventions.compression.quantiser import Quantiser
from rayci.kinds import Recompress
from rayci.model import loading, modules
from rayci.planning import plan
from rayci.planning.chain import chain_of
from rayci.planning.composition import Step, parse
from rayci.planning.spec import Spec
from rayci.subject import Subject
from rayci.testbed import collection
from tests.interventions.small import COMPRESSORS, configured
from tests.models import LAYERS, differing, tiny, weights

CONTEXT = Context(collection(), batch_size=4)
POLICIES = tuple(Recompress)
DENSE = 16.0
CLAIMED: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys(("wanda", "sparsegpt", "magnitude"), (0.5, 8.5)),
    **dict.fromkeys(("gptq", "awq", "rtn", "hqq"), (0.0, 4 + 32 / 16)),
    "layerdrop": (1 / LAYERS, (1 - 1 / LAYERS) * DENSE),
}
"""Sparsity and average bits of the small settings; zeros of a quantiser are not counted here."""
LASTING = ("layerdrop",)
"""What training does not undo: no gradient reaches a weight of a dropped block."""
PUBLISHED = ("wanda", "sparsegpt", "gptq")
"""What the code of arXiv 2407.06483 fitted again."""


def again(method: str, policy: Recompress) -> str | None:
    """How a policy compresses again after an edit, if it does."""
    if policy is Recompress.PUBLISHED:
        return "refit" if method in PUBLISHED else None
    return {Recompress.REFIT: "refit", Recompress.REPROJECT: "reproject"}.get(policy)


def configure(step: Step) -> Intervention:
    """A step as the tests apply it: unlearning that reaches every weight of every block."""
    return configured(step.method, **({"last_layers": LAYERS} if step.method == "ga" else {}))


def measured(subject: Subject) -> tuple[float, float]:
    """Sparsity and average bits, by the criteria."""
    sparsity, bits = (registry.criterion(name)().measure(subject, CONTEXT) for name in ("sparsity", "avg_bits"))
    return sparsity.value, bits.value


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.value)
@pytest.mark.parametrize("method", COMPRESSORS)
def test_recompression_is_a_stage_of_its_own(method: str, policy: Recompress) -> None:
    step, strength = f"{method}@{COMPRESSORS[method][0]:g}", registry.intervention(method).strength
    assert strength is not None
    spec = {
        "name": "t",
        "interventions": {method: {strength.name: COMPRESSORS[method][0]}, "ga": {}},
        "compose": {"singles": False, "pairs": "across_kinds"},
        "criteria": ["sparsity"],
        "recompress": policy.value,
    }
    made = plan.make(Spec.model_validate(spec))
    chains = {trial.composition: [(stage.chain, stage.final) for stage in trial.stages[1:]] for trial in made.trials}
    how = again(method, policy)
    after = [(f"{step} > ga > {how}({step})", True)] if how else []
    assert chains[f"{step} > ga"] == [(step, True), (f"{step} > ga", not how), *after]
    assert chains[f"ga > {step}"] == [("ga", True), (f"ga > {step}", True)]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.value)
@pytest.mark.parametrize("method", COMPRESSORS)
def test_what_is_measured_before_and_after(method: str, policy: Recompress) -> None:
    subject = tiny()
    links = chain_of(parse(f"{method}@{COMPRESSORS[method][0]:g} > ga"), configure, policy)
    readings = []
    for link in links:
        subject.apply(link.intervention, CONTEXT, link.recompression)
        readings.append(measured(subject))
    sparsity, bits = CLAIMED[method]
    (first_sparsity, first_bits), (dense_sparsity, dense_bits), *after = readings
    assert first_bits == pytest.approx(bits)
    undone = (first_sparsity, first_bits) if method in LASTING else (0, DENSE)
    assert (dense_sparsity, dense_bits) == (pytest.approx(undone[0], abs=1e-3), pytest.approx(undone[1], abs=0.01))
    compressor = links[0].intervention
    assert isinstance(compressor, Compressor)
    left = 1 - compressor.dropped_share(subject, subject.receipts[0])
    assert left * compressor.nominal_bits() == pytest.approx(bits)
    if compressor.prunes:
        assert first_sparsity == pytest.approx(sparsity)
    assert len(after) == (again(method, policy) is not None)
    for last_sparsity, last_bits in after:
        assert last_bits == pytest.approx(bits)
        assert last_sparsity == (pytest.approx(first_sparsity, abs=0 if compressor.prunes else 0.05))


@pytest.mark.parametrize("method", COMPRESSORS)
def test_reprojection_keeps_mask_and_grid(method: str) -> None:
    subject = tiny()
    receipt = subject.apply(configured(method), CONTEXT)
    subject.apply(configured("ga", last_layers=LAYERS), CONTEXT)
    once = subject.apply(subject.applied[0].intervention, CONTEXT, "reproject")
    assert once.kept.keys() == receipt.kept.keys()
    assert all(once.kept[name].equal(value) for name, value in receipt.kept.items())
    before = weights(subject)
    subject.apply(subject.applied[0].intervention, CONTEXT, "reproject")
    assert differing(subject, before) == set()


QUANTISERS = [
    ("gptq", {}),
    ("gptq", {"act_order": True}),
    ("gptq", {"symmetric": False, "group_size": -1}),
    ("awq", {}),
    ("rtn", {}),
    ("rtn", {"range": "absmax"}),
    ("hqq", {}),
]


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize(("method", "settings"), QUANTISERS)
def test_a_quantised_model_is_one_of_plain_linears(
    method: str, settings: dict[str, Any], bits: int, tmp_path: Path
) -> None:
    subject = tiny()
    names = list(subject.model.state_dict())
    quantiser = configured(method, bits, **settings)
    assert isinstance(quantiser, Quantiser)
    receipt = subject.apply(quantiser, CONTEXT)
    assert list(subject.model.state_dict()) == names
    for name, module in subject.linears():
        assert type(module) is nn.Linear
        grid = quantiser.grid_in(receipt.kept, name, module.weight.device)
        codes = grid.codes(modules.weight(module))
        assert codes.equal(codes.round())
        assert isinstance(grid.levels, Even)
        assert grid.levels.low <= codes.min()
        assert codes.max() <= grid.levels.high == grid.levels.low + 2**bits - 1
        assert grid.values(codes).equal(modules.weight(module)), name

    subject.model.save_pretrained(tmp_path)
    subject.tokenizer.save_pretrained(tmp_path)
    loaded = loading.load(tmp_path)
    assert differing(loaded, weights(subject)) == set()
    ids = CONTEXT.calibration(subject.tokenizer, 2, 24)
    with torch.no_grad():
        assert loaded.model(ids).logits.equal(subject.model(ids).logits)
