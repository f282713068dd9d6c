"""Memory told from shapes, against the bytes of live tensors."""

from __future__ import annotations

from typing import Any

import pytest

from rayci import registry
from rayci.context import Context
from rayci.forecast import memory
from rayci.model.shapes import sketch
from rayci.planning.chain import Link
from rayci.planning.composition import Step
from rayci.planning.spec import Spec
from rayci.subject import Subject
from rayci.testbed import collection
from rayci.workload import Texts
from tests.memory_meter import peak_of
from tests.models import tiny, tokenizer

CALIBRATION = {"sequences": 16, "length": 128, "forward_batch": 4}
TRAINING = {"last_layers": 2, "samples": 8, "batch": 4, "epochs": 1, "max_tokens": 64}
CASES: list[tuple[str, dict[str, Any]]] = [
    ("wanda", {"sparsity": 0.5, **CALIBRATION}),
    ("sparsegpt", {"sparsity": 0.5, **CALIBRATION}),
    ("gptq", {"bits": 4, **CALIBRATION}),
    ("magnitude", {"sparsity": 0.5}),
    ("rtn", {"bits": 4}),
    ("ft", {"layers": (0, 1), "steps": 2}),
    ("ft", {"layers": (1,), "steps": 2}),
    ("ga", TRAINING),
    ("ga", {**TRAINING, "last_layers": None}),
    ("gd", TRAINING),
    ("npo_klr", TRAINING),
    ("rmu", {"layer": 1, "update": 2, "max_batches": 2}),
]


def llama() -> Subject:
    """A random Llama of 512 channels: wide enough for weights and activations to outweigh the rest."""
    sizes: dict[str, Any] = {"hidden_size": 512, "intermediate_size": 1024, "num_attention_heads": 8}
    return tiny(**sizes, num_key_value_heads=8, max_position_embeddings=256, num_hidden_layers=2)


def texts() -> Texts:
    """The lengths of the testbed's texts."""
    data = collection()

    def longest(found: Any) -> int:
        return max(len(tokenizer()(text)["input_ids"]) for text in found)

    return Texts(
        edit=longest(f"{edit.prompt} {edit.target_new}" for edit in data.edits),
        choice=longest(f"{item.question} {item.options[0]}" for item in (*data.hazard, *data.utility)),
        document=longest(document.text for document in (*data.forget, *data.retain)),
    )


def weights(subject: Subject) -> int:
    return sum(value.nbytes for value in subject.model.parameters())


@pytest.mark.parametrize(("method", "settings"), CASES)
def test_steps(method: str, settings: dict[str, Any]) -> None:
    subject = llama()
    made = registry.intervention(method).configure(settings=settings)
    link = Link(Step(method), made, None)
    foreseen = memory.estimate([link], [], subject, edits=50, texts=texts())
    measured = weights(subject) + peak_of(subject.model, lambda: subject.apply(made, Context(collection())))
    assert measured <= foreseen <= 2 * measured


@pytest.mark.parametrize("name", ["perplexity", "mmlu", "edit_success"])
def test_criteria(name: str) -> None:
    subject = llama()
    criterion = registry.criterion(name)()
    foreseen = memory.estimate([], [criterion], subject, edits=50, texts=texts())
    measured = weights(subject) + peak_of(subject.model, lambda: criterion.measure(subject, Context(collection())))
    assert measured <= foreseen <= 2.5 * measured


def test_the_most_of_all_steps_decides_and_measured_peaks_win() -> None:
    subject = sketch("testbed").subject
    given = Spec.model_validate({"name": "t", "interventions": {"gd": {}, "rtn": {}}, "criteria": ["sparsity"]})
    links = [Link(Step(name), given.configure(Step(name, gamma)), None) for name, gamma in (("gd", None), ("rtn", 4))]
    needs = memory.needs(links, given.measured(), subject)
    assert set(needs) == {"", "gd", "rtn", "sparsity"}
    assert memory.estimate(links, given.measured(), subject) == needs["gd"] == max(needs.values())
    assert needs[""] == weights(subject)
    measured = {"gd": 123, "unused": 10**12}
    assert memory.estimate(links, given.measured(), subject, measured=measured) == max(needs["rtn"], needs["sparsity"])


def test_putting_a_mask_back_needs_no_calibration() -> None:
    subject = sketch("testbed").subject
    made = registry.intervention("wanda").configure("testbed", 0.5)
    again, anew = (Link(Step("wanda", 0.5), made, how) for how in ("reproject", "refit"))
    assert memory.estimate([again], [], subject) < memory.estimate([anew], [], subject)


def test_a_large_model_in_half_precision() -> None:
    subject = sketch("meta-llama/Meta-Llama-3-8B", dtype="bfloat16").subject
    gib = 2**30
    for method, low, high in (("rtn", 15, 20), ("ft", 20, 40), ("ga", 65, 100), ("gptq", 30, 60)):
        cls = registry.intervention(method)
        link = Link(Step(method), cls.configure(strength=4 if cls.strength else None), None)
        assert low * gib < memory.estimate([link], [], subject) < high * gib, method
