"""Edit batches one after the other: keys of the earlier ones are what the chain's receipts say, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from rayci.context import Context
from rayci.intervention import Applied, Intervention
from rayci.interventions.compression.magnitude import Magnitude
from rayci.interventions.editing import mass_editor
from rayci.interventions.editing.alphaedit import AlphaEdit
from rayci.interventions.editing.earlier_keys import earlier_keys
from rayci.interventions.editing.memit import Memit
from rayci.model import modules
from rayci.model.built_objects import Build, InMemory
from rayci.storage.stages import StageStore
from rayci.subject import Subject
from rayci.testbed import collection
from tests.models import differing, tiny, weights

CONTEXT = Context(collection(), batch_size=4)
QUICK: dict[str, Any] = {
    "layers": (0, 1),
    "documents": 20,
    "passes": 3,
    "storage": "float32",
    "contexts": ("{}", "It is known. {}"),
}


def memit(batch: int = 0, **settings: Any) -> Memit:
    return Memit.configure(settings={**QUICK, "covariance_weight": 10.0, "batch": batch, **settings})


def alphaedit(batch: int = 0, **settings: Any) -> AlphaEdit:
    return AlphaEdit.configure(settings={**QUICK, "null_threshold": 0.05, "ridge": 0.1, "batch": batch, **settings})


class Counted(InMemory):
    """Objects in memory, and how many were built."""

    made = 0

    def built(self, model: PreTrainedModel, what: Any, build: Build) -> Mapping[str, Tensor]:
        def counting() -> Mapping[str, Tensor]:
            self.made += 1
            return build()

        return super().built(model, what, counting)


def stored(subject: Subject, folder: Path) -> Subject:
    """A fresh subject at the stage of another one, by way of a store."""
    store = StageStore(folder)
    store.put_weights("ab" * 32, subject.matrices(subject.parameters_of(subject.changed())), subject.receipts)
    found = store.weights("ab" * 32)
    assert found is not None
    packed, receipts = found
    fresh = tiny()
    fresh.remember_base()
    steps = zip(subject.applied, receipts, strict=True)
    fresh.load(packed, [Applied(step.intervention, receipt, step.recompression) for step, receipt in steps])
    return fresh


def test_a_step_leaves_the_keys_that_its_layers_see_afterwards() -> None:
    subject = tiny()
    receipt = subject.apply(memit(), CONTEXT)
    seen: dict[int, Tensor] = {}
    for layer in (0, 1):
        projection = modules.dense(subject.block(layer), subject.paths.mlp_out)
        hook = projection.register_forward_pre_hook(lambda _, given, layer=layer: seen.update({layer: given[0]}))
        for place, edit in enumerate(CONTEXT.edits):
            keys = []
            for text in (edit.prompt, f"It is known. {edit.prompt}"):
                encoded = subject.tokenizer(text, return_offsets_mapping=True, return_tensors="pt")
                end = text.index(edit.subject) + len(edit.subject)
                (at,) = [i for i, (a, b) in enumerate(encoded.pop("offset_mapping")[0].tolist()) if a < end <= b]
                subject.model(**encoded)
                keys.append(seen[layer][0, at])
            kept = receipt.kept[f"keys.{layer}"][place]
            assert torch.allclose(kept, (keys[0] + keys[1]) / 2, atol=1e-5)
        hook.remove()


def test_sequential_memit_is_its_formula_with_the_keys_of_the_first_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every update of the second step once more, in float64 with an explicit inverse."""
    subject = tiny()
    first = subject.apply(memit(), CONTEXT)
    asked: list[tuple[Tensor, ...]] = []
    update = Memit.update

    def watched(self: Memit, statistic: Tensor, keys: Tensor, residual: Tensor, earlier: Tensor | None) -> Any:
        change, retries = update(self, statistic, keys, residual, earlier)
        asked.append((statistic, keys, residual, change))
        return change, retries

    monkeypatch.setattr(Memit, "update", watched)
    subject.apply(memit(1, sequential=True), CONTEXT)
    assert len(asked) == 2
    for layer, (statistic, keys, residual, change) in enumerate(asked):
        before, k = first.kept[f"keys.{layer}"].double().T, keys.double()
        assert before.shape == k.shape and not torch.allclose(before, k)
        system = 10.0 * statistic.double() + before @ before.T + k @ k.T
        expected = residual.double() @ k.T @ torch.linalg.inv(system)
        assert torch.allclose(change, expected, rtol=1e-8, atol=1e-12)


def test_alphaedit_is_its_formula_with_the_keys_of_the_first_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arxiv 2410.02355, eq. 14, with P written out, in float64: ΔWᵀ = solve(P(KKᵀ + K_pK_pᵀ) + λI, P K Rᵀ)."""
    subject, asked = tiny(), list[tuple[Tensor, ...]]()
    first = subject.apply(alphaedit(), CONTEXT)
    update = AlphaEdit.update

    def watched(self: AlphaEdit, basis: Tensor, keys: Tensor, residual: Tensor, earlier: Tensor | None) -> Any:
        change, retries = update(self, basis, keys, residual, earlier)
        asked.append((basis.double(), keys.double(), residual.double(), change))
        return change, retries

    monkeypatch.setattr(AlphaEdit, "update", watched)
    subject.apply(alphaedit(1), CONTEXT)
    assert len(asked) == 2
    for layer, (basis, keys, residual, change) in enumerate(asked):
        before = first.kept[f"keys.{layer}"].double().T
        projector = torch.eye(len(basis), dtype=torch.float64) - basis @ basis.T
        system = projector @ (keys @ keys.T + before @ before.T) + 0.1 * torch.eye(len(basis))
        expected = torch.linalg.solve(system, projector @ keys @ residual.T).T
        assert (change - expected).norm() < 1e-6 * expected.norm()


def test_without_it_the_second_batch_is_that_of_a_model_without_a_past() -> None:
    subject, forgetful = tiny(), tiny()
    for each in (subject, forgetful):
        each.apply(memit(), CONTEXT)
    forgetful.applied.clear()
    for each in (subject, forgetful):
        each.apply(memit(1), CONTEXT)
    assert all(torch.equal(weights(subject)[name], value) for name, value in weights(forgetful).items())


@pytest.mark.parametrize("second", [memit, alphaedit])
def test_batches_in_turn_may_share_what_the_untouched_model_sees(second: Callable[..., Intervention]) -> None:
    """The object that the second batch reads is the first one's, and not that of the edited model."""
    subject, objects = tiny(), Counted()
    context = replace(CONTEXT, objects=objects)
    subject.remember_base()
    subject.apply(memit(), context)
    subject.apply(alphaedit(), context)  # of the model that memit wrote: C and U
    made = objects.made
    edited = weights(subject)
    subject.apply(second(1, statistics_of="untouched"), context)
    assert objects.made == made + (second is alphaedit)  # C is there; U was not made of it before
    assert differing(subject, edited) == set(subject.receipts[-1].changed)


def test_untouched_weights_that_were_not_kept_are_a_fault() -> None:
    subject = tiny()
    subject.apply(memit(), CONTEXT)
    (fault,) = subject.faults(memit(1, statistics_of="untouched"), CONTEXT)
    assert "not kept" in fault.problem


@pytest.mark.parametrize(
    ("second", "between"),
    [(memit(1, sequential=True), None), (alphaedit(1), None), (alphaedit(1), Magnitude(sparsity=0.3))],
    ids=["memit", "alphaedit", "alphaedit after pruning"],
)
def test_a_chain_goes_on_from_a_stored_stage_bit_for_bit(
    second: Intervention, between: Intervention | None, tmp_path: Path
) -> None:
    subject = tiny()
    subject.apply(memit(), CONTEXT)
    if between is not None:
        subject.apply(between, CONTEXT)
    resumed = stored(subject, tmp_path)
    for each in (subject, resumed):
        each.apply(second, CONTEXT)
    assert all(torch.equal(weights(subject)[name], value) for name, value in weights(resumed).items())
    keys = earlier_keys(subject, (0, 1, 2))
    assert {layer: own.shape[1] for layer, own in keys.items()} == {0: 8, 1: 8}
    assert torch.equal(keys[0][:, :4].T, subject.receipts[0].kept["keys.0"])


def test_keys_are_of_the_layers_that_were_written(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = tiny()
    subject.apply(memit(layers=(1,)), CONTEXT)
    given: list[tuple[int, ...]] = []

    def watched(subject: Subject, layers: tuple[int, ...]) -> dict[int, Tensor]:
        found = earlier_keys(subject, layers)
        given.append(tuple(found))
        return found

    monkeypatch.setattr(mass_editor, "earlier_keys", watched)
    subject.apply(memit(1, sequential=True), CONTEXT)
    assert given == [(1,)]
