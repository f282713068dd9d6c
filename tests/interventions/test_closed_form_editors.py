"""AlphaEdit, EMMET and ROME as a whole: what they promise of a model; each layer or edit sees the one before."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rayci import registry
from rayci.context import Context
from rayci.criteria.choices import Utility
from rayci.criteria.editing import EditGeneralization, EditLocality, EditSuccess
from rayci.data.records import EditRecord
from rayci.errors import InterventionError, RequestError
from rayci.intervention import Intervention
from rayci.interventions.editing import alphaedit_update, key_covariances
from rayci.interventions.editing.closed_form import ClosedForm
from rayci.interventions.editing.edit_contexts import encode_edits
from rayci.interventions.editing.edit_keys import keys_and_outputs
from rayci.interventions.editing.value_search import find_targets
from rayci.model import modules
from rayci.model.built_objects import InMemory
from rayci.subject import Subject
from rayci.testbed import collection
from tests.interventions.value_loop import one_z
from tests.models import ARCHITECTURES, differing, testbed, tiny, weights

CONTEXT = Context(collection(), batch_size=4)
TEMPLATES = ("{}", "The end. {}", "You said that it is so. {}")
QUICK: dict[str, Any] = {"documents": 40, "passes": 4, "lr": 0.1, "storage": "float32"}
OWN: dict[str, dict[str, Any]] = {
    "alphaedit": {"layers": (0, 1), "null_threshold": 0.05, "ridge": 0.1},
    "emmet": {"layers": (0, 1), "damping": 0.0},
    "rome": {"layers": (1,)},
}


def make(method: str, **settings: Any) -> ClosedForm:
    given = {**QUICK, **OWN[method], **settings}
    if not given.get("covariance", True):
        del given["documents"]
    made: Intervention = registry.intervention(method).configure(settings=given)
    assert isinstance(made, ClosedForm)
    return made


def statistics(subject: Subject, made: ClosedForm) -> dict[int, np.ndarray[Any, Any]]:
    """C of its layers, float64."""
    text = key_covariances.CovarianceText(subject, CONTEXT, made.documents, made.max_tokens)
    return {layer: found.double().numpy() for layer, found in text.covariances(made.layers, 16).by_layer.items()}


def projection(subject: Subject, layer: int) -> Tensor:
    return modules.weight(modules.linear(subject.block(layer), subject.paths.mlp_out))


def off(found: Tensor, wanted: Tensor) -> float:
    """‖found − wanted‖ / ‖wanted‖."""
    return float((found - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("kind", ARCHITECTURES)
@pytest.mark.parametrize("method", OWN)
def test_only_the_projections_of_its_layers_change_on_every_architecture(method: str, kind: str) -> None:
    subject, made = tiny(kind), make(method, context_tokens=4)
    before = weights(subject)
    receipt = subject.apply(made, CONTEXT)
    expected = {f"{subject.paths.blocks}.{layer}.{subject.paths.mlp_out}.weight" for layer in made.layers}
    assert set(receipt.changed) == differing(subject, before) == expected
    assert receipt.counts["edits"] == 4 and receipt.counts["documents"] == 40 and not receipt.retries
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in subject.model.modules())


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_alphaedit_solves_layers_in_order_in_the_papers_form(kind: str) -> None:
    """Step 5 once more in numpy, with the projector and the system as wide as the inputs."""
    subject, made = tiny(kind), make("alphaedit", contexts=TEMPLATES)
    twin, before = copy.deepcopy(subject), weights(subject)
    c, examples = statistics(twin, made), encode_edits(twin.tokenizer, CONTEXT.edits, TEMPLATES)
    z = find_targets(twin, 1, examples, made.search, 4).z
    for layer, left in ((0, 2), (1, 1)):
        keys, current = keys_and_outputs(twin, layer, 1, examples, 4)
        k, residual = keys.double().numpy(), ((z.T - current) / left).double().numpy()
        values, vectors = np.linalg.eigh(c[layer])
        projector = vectors[:, values < 0.05] @ vectors[:, values < 0.05].T
        assert 0 < np.trace(projector) < len(values) - 1
        change = np.linalg.solve(projector @ k @ k.T + 0.1 * np.eye(len(k)), projector @ k @ residual.T).T
        projection(twin, layer).add_(torch.tensor(change).float())
    for name in subject.apply(made, CONTEXT).changed:
        moved = weights(twin)[name] - before[name]
        assert (weights(subject)[name] - weights(twin)[name]).norm() < 1e-4 * moved.norm()


def test_alphaedit_weighs_the_keys_that_steps_before_it_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    subject, given = tiny(), list[Any]()
    real = alphaedit_update.update

    def watched(basis: Tensor, keys: Tensor, residual: Tensor, ridge: float, earlier: Tensor | None) -> Tensor:
        given.append(earlier)
        return real(basis, keys, residual, ridge, earlier)

    monkeypatch.setattr(alphaedit_update, "update", watched)
    receipts = [subject.apply(make(method), CONTEXT) for method in ("alphaedit", "rome")]
    subject.apply(make("alphaedit", batch=1), CONTEXT)
    assert given[:2] == [None, None]  # of a first batch
    first, second = (receipt.kept["keys.1"] for receipt in receipts)
    assert given[2].equal(receipts[0].kept["keys.0"].T) and given[3].equal(torch.cat([first, second]).T)


def test_alphaedit_leaves_what_the_model_says_of_the_texts_keys() -> None:
    subject, made = tiny(), make("alphaedit", null_threshold=0.03)
    before, c = projection(subject, 0).double().clone(), statistics(subject, made)[0]
    subject.apply(made, CONTEXT)
    values, vectors = np.linalg.eigh(c)
    kept, free = (torch.tensor(vectors[:, chosen]) for chosen in (values >= 0.03, values < 0.03))
    after = projection(subject, 0).double()
    assert off(after @ kept, before @ kept) < 1e-4 < 1e-2 < off(after @ free, before @ free)


def test_a_null_space_of_nothing_is_an_error_and_one_of_everything_is_noted() -> None:
    subject = tiny()
    before = weights(subject)
    with pytest.raises(InterventionError, match=r"alphaedit: layer 0: no eigenvalue .* the smallest is"):
        subject.apply(make("alphaedit", null_threshold=1e-9), CONTEXT)
    assert not differing(subject, before)
    notes = subject.apply(make("alphaedit", null_threshold=1e6), CONTEXT).notes
    assert [note for note in notes if "so nothing is protected" in note and note.startswith("layer 1")]


def test_null_spaces_are_built_once_and_from_the_covariances_of_every_editor(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[str] = []

    def counted(place: Any, name: str) -> None:
        real = getattr(place, name)

        def call(*args: Any) -> Any:
            found.append(name)
            return real(*args)

        monkeypatch.setattr(place, name, call)

    counted(key_covariances, "covariances")
    counted(alphaedit_update, "protected")
    context = replace(CONTEXT, objects=InMemory())
    receipts = [tiny().apply(make("alphaedit"), context) for _ in range(2)]
    assert found == ["covariances", "protected", "protected"]
    tiny().apply(make("emmet"), context)
    tiny().apply(make("alphaedit", null_threshold=0.04), context)
    assert found == ["covariances", *["protected"] * 4]
    monkeypatch.setattr(key_covariances, "FORM", 2)
    tiny().apply(make("alphaedit"), context)
    assert found[5:] == ["covariances", "protected", "protected"]  # what is made of another C is another
    assert receipts[0].counts == receipts[1].counts


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize(("method", "edits"), [("emmet", 4), ("rome", 1)])
def test_the_block_says_the_new_values_exactly(method: str, edits: int, kind: str) -> None:
    subject, context = tiny(kind), replace(CONTEXT, batch_size=edits)
    made = make(method, layers=(1,), contexts=("{}",))
    examples = encode_edits(subject.tokenizer, context.edits, ("{}",))
    z = find_targets(subject, 1, examples, made.search, 4).z
    _, said = keys_and_outputs(subject, 1, 1, examples, 4)
    subject.apply(made, context)
    _, says = keys_and_outputs(subject, 1, 1, examples, 4)
    assert off(says, z.T) < 1e-4 < off(said, z.T)


def test_one_edit_of_emmet_is_romes() -> None:
    free: dict[str, Any] = {"layers": (1,), "clamp": 1e3, "weight_decay": 0.0}  # they measure δ differently
    subjects = [tiny(), tiny()]
    for subject, method in zip(subjects, ("rome", "emmet"), strict=True):
        subject.apply(make(method, **free), replace(CONTEXT, batch_size=1))
    before, (rome, emmet) = projection(tiny(), 1), (projection(subject, 1) for subject in subjects)
    assert off(emmet - before, rome - before) < 1e-4


def test_rome_writes_each_edit_on_the_weights_that_the_one_before_has_left() -> None:
    """The plain loop over edits, with an explicit inverse."""
    subject, twin = tiny(), tiny()
    made = make("rome", contexts=TEMPLATES, clamp=1e3, weight_decay=0.0)
    inverse = np.linalg.inv(statistics(twin, made)[1])
    before = projection(twin, 1).clone()
    for edit in CONTEXT.edits:
        key, current = keys_and_outputs(twin, 1, 1, encode_edits(twin.tokenizer, [edit], TEMPLATES), 1)
        k = key.double().numpy()
        residual = (one_z(twin, 1, edit, TEMPLATES, made.search)[:, None] - current).double().numpy()
        with torch.no_grad():
            projection(twin, 1).add_(torch.tensor(residual @ (inverse @ k).T / (k.T @ inverse @ k)).float())
    subject.apply(made, CONTEXT)
    assert off(projection(subject, 1) - before, projection(twin, 1) - before) < 1e-3


def test_rome_without_c_reads_no_text_and_goes_along_the_key() -> None:
    """As the published configurations of Llama have it."""
    subject, made = tiny(), make("rome", covariance=False, contexts=("{}",))
    none = Context(replace(collection(), calibration=(), covariance_text=()), batch_size=1)
    before = projection(subject, 1).clone()
    examples = encode_edits(subject.tokenizer, none.edits, ("{}",))
    key, _ = keys_and_outputs(subject, 1, 1, examples, 1)
    found = find_targets(subject, 1, examples, made.search, 1)
    receipt = subject.apply(made, none)
    expected = (found.z - found.start).T @ key.T / (key.T @ key)
    assert off(projection(subject, 1) - before, expected) < 1e-4
    assert receipt.counts["documents"] == 0 and not receipt.notes
    assert made.needs == {"edits"} and registry.intervention("rome").presets["easyedit"] == {"covariance": False}
    with pytest.raises(RequestError, match="documents = 5 changes nothing: covariance = False"):
        registry.intervention("rome").configure("easyedit", settings={"documents": 5})


def test_rome_measures_an_edit_against_what_the_mlp_says() -> None:
    subject, made = tiny(), make("rome", clamp=0.01, stop_loss=0.0)
    examples = encode_edits(subject.tokenizer, CONTEXT.edits, ("{}",))
    found = find_targets(subject, 1, examples, made.search, 4)
    keys, _ = keys_and_outputs(subject, 1, 1, examples, 4)
    said = projection(subject, 1) @ keys
    torch.testing.assert_close((found.z - found.start).norm(dim=1), 0.01 * said.norm(dim=0), rtol=1e-3, atol=0)


def test_emmet_refuses_more_edits_than_there_are_inputs() -> None:
    subject = tiny()
    before = weights(subject)
    with pytest.raises(RequestError, match=r"65 edits are more than the 64 inputs of mlp\.down_proj") as error:
        subject.apply(make("emmet"), replace(CONTEXT, batch_size=65))
    assert "memit" in str(error.value.hint) and not differing(subject, before)


def test_emmet_averages_values_of_one_subject_and_says_so() -> None:
    edit = CONTEXT.edits[0]
    twice = (edit, EditRecord(edit.subject, edit.prompt, CONTEXT.edits[1].target_new, edit.ground_truth))
    context = Context(replace(collection(), edits=twice), batch_size=2)
    subject = tiny()
    (retry,) = subject.apply(make("emmet", layers=(1,)), context).retries
    assert retry.startswith("layer 1: keys are mixtures of each other")
    assert off(projection(subject, 1), projection(tiny(), 1)) < 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "least"),
    [("alphaedit", (0.65, 0.55, 0.5, 0.85)), ("emmet", (0.8, 0.6, 0.4, 0.75)), ("rome", (0.4, 0.4, 0.15, 0.75))],
)
def test_edits_succeed_on_the_testbed(method: str, least: tuple[float, ...]) -> None:
    """50 edits; success is 0 before, and chance is .25 for utility."""
    subject, context = testbed(), Context(collection(), batch_size=50)
    subject.apply(registry.intervention(method).configure("testbed"), context)
    criteria = (EditSuccess(), EditGeneralization(), EditLocality(), Utility())
    found = [criterion.measure(subject, context).value for criterion in criteria]
    assert all(value >= bound for value, bound in zip(found, least, strict=True)), found
