"""MEMIT as a whole: what changes, by how much, what is refused before anything changes."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch

from rayci.context import Context
from rayci.criteria.choices import Utility
from rayci.criteria.editing import EditGeneralization, EditLocality, EditSuccess
from rayci.criteria.perplexity import Perplexity
from rayci.data.records import EditRecord
from rayci.errors import DataError, InterventionError, RequestError
from rayci.interventions.editing.edit_contexts import encode_edits
from rayci.interventions.editing.edit_keys import keys_and_outputs
from rayci.interventions.editing.key_covariances import CovarianceText, covariances
from rayci.interventions.editing.memit import Memit
from rayci.interventions.editing.value_search import find_targets
from rayci.model import modules
from rayci.testbed import collection
from tests.models import ARCHITECTURES, differing, testbed, tiny, weights

CONTEXT = Context(collection(), batch_size=6)
TEMPLATES = ("{}", "The end. {}", "You said that it is so. {}")
QUICK: dict[str, Any] = {
    "layers": (0, 1),
    "documents": 40,
    "passes": 5,
    "covariance_weight": 10.0,
    "storage": "float32",
}


def memit(**settings: Any) -> Memit:
    return Memit.configure(settings={**QUICK, **settings})


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_only_the_projections_of_its_layers_change_on_every_architecture(kind: str, tied: bool) -> None:
    subject = tiny(kind, tied=tied)
    before = weights(subject)
    receipt = subject.apply(memit(), CONTEXT)
    expected = {f"{subject.paths.blocks}.{i}.{subject.paths.mlp_out}.weight" for i in (0, 1)}
    assert set(receipt.changed) == differing(subject, before) == expected
    assert receipt.counts["edits"] == 6
    assert receipt.counts["documents"] == 40
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in subject.model.modules())


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_layers_are_solved_in_order_with_the_earlier_ones_written(kind: str) -> None:
    """The whole of step 5 once more, in float64 with an explicit inverse, layer after layer."""
    subject, settings = tiny(kind), memit(contexts=TEMPLATES)
    twin = copy.deepcopy(subject)
    text = CovarianceText(twin, CONTEXT, settings.documents, settings.max_tokens)
    statistics = covariances(twin, (0, 1), text.rows(), 16)
    examples = encode_edits(twin.tokenizer, CONTEXT.edits, TEMPLATES)
    z = find_targets(twin, 1, examples, settings.search, 6).z.double()
    for layer, left in ((0, 2), (1, 1)):
        keys, current = keys_and_outputs(twin, layer, 1, examples, 6)
        k, residual = keys.double(), (z.T - current.double()) / left
        change = residual @ k.T @ torch.linalg.inv(10.0 * statistics[layer].double() + k @ k.T)
        with torch.no_grad():
            modules.weight(modules.linear(twin.block(layer), twin.paths.mlp_out)).add_(change.float())
    before = weights(subject)
    receipt = subject.apply(settings, CONTEXT)
    for name in receipt.changed:
        moved = weights(twin)[name] - before[name]
        assert (weights(subject)[name] - weights(twin)[name]).norm() < 1e-4 * moved.norm()


def test_a_light_covariance_brings_the_residual_to_nothing() -> None:
    """With λ → 0 the keys, fewer than inputs, are met exactly: block L then says z."""
    subject = tiny()
    light = memit(layers=(1,), contexts=("{}",), covariance_weight=1e-6)
    examples = encode_edits(subject.tokenizer, CONTEXT.edits, ("{}",))
    z = find_targets(subject, 1, examples, light.search, 6).z
    subject.apply(light, CONTEXT)
    _, outputs = keys_and_outputs(subject, 1, 1, examples, 6)
    torch.testing.assert_close(outputs.T, z, rtol=1e-2, atol=1e-2)


def test_a_heavy_covariance_leaves_the_weights_almost_alone() -> None:
    light, heavy, start = tiny(), tiny(), weights(tiny())
    receipt = light.apply(memit(), CONTEXT)
    heavy.apply(memit(covariance_weight=1e7), CONTEXT)
    for name in receipt.changed:
        moved = (weights(light)[name] - start[name]).norm()
        assert (weights(heavy)[name] - start[name]).norm() < 1e-3 * moved


@pytest.mark.parametrize(
    ("edits", "batches", "least"),
    [(20, 1, (0.85, 0.8, 0.5, 0.9)), pytest.param(50, 3, (0.73, 0.65, 0.55, 0.82), marks=pytest.mark.slow)],
)
def test_edits_succeed_on_the_testbed(edits: int, batches: int, least: tuple[float, ...]) -> None:
    """Mean over the batches; 0 before, and chance is .25 for utility."""
    bounds = dict(zip((EditSuccess, EditGeneralization, EditLocality, Utility), least, strict=True))
    measured: dict[Any, list[float]] = {criterion: [] for criterion in (*bounds, Perplexity)}
    for replicate in range(batches):
        subject, context = testbed(), Context(collection(), replicate=replicate, batch_size=edits)
        subject.apply(Memit.configure("testbed"), context)
        for criterion, values in measured.items():
            values.append(criterion().measure(subject, context).value)
    means = {criterion: sum(values) / len(values) for criterion, values in measured.items()}
    assert all(means[criterion] >= bound for criterion, bound in bounds.items()), means
    assert means[Perplexity] < 5


def test_the_same_stage_is_the_same_bit_for_bit() -> None:
    first, second = testbed(), testbed()
    receipts = [subject.apply(memit(layers=(0,)), CONTEXT) for subject in (first, second)]
    assert differing(first, weights(second)) == set()
    texts = [bytes(receipt.kept["contexts"].tolist()).decode().split("\n") for receipt in receipts]
    assert texts[0] == texts[1]
    assert len(texts[0]) == 6
    other = testbed()
    other.apply(memit(layers=(0,)), replace(CONTEXT, seed=1))
    assert differing(first, weights(other))


def test_half_precision_models_keep_their_dtype() -> None:
    subject = tiny()
    subject.model.bfloat16()
    before = {name: value.clone() for name, value in subject.model.named_parameters()}
    receipt = subject.apply(memit(), CONTEXT)
    assert {value.dtype for value in subject.model.parameters()} == {torch.bfloat16}
    now = dict(subject.model.named_parameters())
    assert {name for name in now if not now[name].equal(before[name])} == set(receipt.changed)


def test_the_published_preset_stores_bfloat16() -> None:
    assert Memit.configure("published").storage == "bfloat16"
    assert Memit.configure("testbed").storage == "float32"


@pytest.mark.parametrize("own", [True, False], ids=["of its own", "calibration"])
def test_the_receipt_notes_text_that_stands_in_and_fewer_documents(own: bool) -> None:
    text = CONTEXT.data.calibration[:30]
    parts: dict[str, Any] = {"covariance_text": text, "calibration": ()} if own else {"calibration": text}
    context, subject = replace(CONTEXT, data=replace(CONTEXT.data, **parts)), tiny()
    receipt = subject.apply(memit(contexts=("{}",)), context)
    assert any("30 documents, 40 were asked for" in note for note in receipt.notes)
    assert any("calibration text stood in" in note for note in receipt.notes) != own
    assert receipt.counts["documents"] == 30
    whole = replace(CONTEXT, data=replace(CONTEXT.data, covariance_text=CONTEXT.data.calibration))
    assert tiny().apply(memit(contexts=("{}",)), whole).notes == ()


def test_covariance_text_alone_decides_where_it_is_supplied() -> None:
    own, other = CONTEXT.data.calibration[:40], CONTEXT.data.calibration[40:80]
    subjects = [tiny(), tiny()]
    for subject, calibration in zip(subjects, (own, other), strict=True):
        data = replace(CONTEXT.data, covariance_text=own, calibration=calibration)
        subject.apply(memit(contexts=("{}",)), replace(CONTEXT, data=data))
    assert differing(subjects[0], weights(subjects[1])) == set()


def test_fewer_tokens_than_channels_are_refused() -> None:
    subject = tiny()
    before = weights(subject)
    with pytest.raises(DataError, match=r"holds 60 tokens, fewer than the 64 inputs of mlp.down_proj"):
        subject.apply(memit(documents=12, max_tokens=5), CONTEXT)
    assert differing(subject, before) == set()


def test_bfloat16_storage_leaves_weights_that_bfloat16_holds() -> None:
    subject = tiny()
    for name in subject.apply(memit(storage="bfloat16"), CONTEXT).changed:
        assert weights(subject)[name].equal(weights(subject)[name].bfloat16().float())


@pytest.mark.parametrize(
    ("settings", "text", "allowed"),
    [
        ({"layers": (0, 99)}, "layer 99 does not exist", "0 to 2"),
        ({"layers": (1, 2)}, "layer 2 is the model's last block: later tokens", "layers 0 to 1"),
    ],
)
def test_layers_that_cannot_be_edited_are_refused(settings: dict[str, Any], text: str, allowed: str) -> None:
    subject = tiny()
    before = weights(subject)
    with pytest.raises(RequestError, match=text) as error:
        subject.apply(memit(**settings), CONTEXT)
    assert error.value.allowed == allowed
    assert differing(subject, before) == set()


@pytest.mark.parametrize("prompt", ["Where is he?", "Ada and Ada is"])
def test_a_record_without_its_subject_is_refused(prompt: str) -> None:
    subject, bad = tiny(), EditRecord("Ada", prompt, "a", "b")
    before = weights(subject)
    context = Context(replace(collection(), edits=(*collection().edits[:3], bad)), batch_size=4)
    with pytest.raises(DataError, match=r"subject 'Ada' occurs \d times"):
        subject.apply(memit(), context)
    assert differing(subject, before) == set()


def test_a_collapsed_model_is_a_failed_stage() -> None:
    subject = tiny()
    with torch.no_grad():
        subject.model.get_parameter("model.layers.2.mlp.down_proj.weight").fill_(torch.nan)
    before = weights(subject)
    with pytest.raises(InterventionError, match="finite"):
        subject.apply(memit(contexts=TEMPLATES), CONTEXT)
    assert differing(subject, before) == set()


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"layers": ()}, "layers"),
        ({"layers": (2, 1)}, "ascending"),
        ({"layers": (1, 1)}, "ascending"),
        ({"passes": 1}, "passes"),
        ({"contexts": ("The {}",)}, "first context"),
        ({"contexts": ("{}", "no place")}, "hold {} once"),
        ({"covariance_weight": 0}, "covariance_weight"),
        ({"kl_weight": 1}, "kl_factor"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(RequestError, match=text):
        memit(**settings)
