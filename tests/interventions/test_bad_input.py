"""Bad input of every method: one error that says what is wrong, before any weight or optimiser."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from rayci import registry
from rayci.context import Context
from rayci.errors import DataError, Faults, RequestError
from rayci.subject import Subject
from rayci.testbed import collection
from tests.models import LAYERS, differing, tiny, weights

DATA = collection()
CONTEXT = Context(DATA, batch_size=6)
BEYOND = 99
PRUNERS = ("wanda", "sparsegpt", "magnitude")
QUANTISERS = ("gptq", "awq", "rtn", "hqq")
CALIBRATED = ("wanda", "sparsegpt", "gptq", "awq", "layerdrop")
CLOSED = ("memit", "alphaedit", "emmet", "rome")
EDITORS = ("ft", "lora", *CLOSED)
CHOSEN = ("simnpo", "undial", "wga", "satimp")
LOOPS = ("ga", "gd", "ga_klr", "npo", "npo_gdr", "npo_klr", *CHOSEN, "refusal", "task_vector")
WITH_RETAIN = ("gd", "ga_klr", "npo_gdr", "npo_klr", "simnpo", "wga", "satimp")
UNLEARNERS = (*LOOPS, "rmu", "rmu_lat", "sure")
LEARNERS = ("finetune", "relearn")
METHODS = (*PRUNERS, *QUANTISERS, "layerdrop", *EDITORS, *UNLEARNERS, *LEARNERS)
STRENGTH: dict[str, float] = {**dict.fromkeys(PRUNERS, 0.5), **dict.fromkeys(QUANTISERS, 4), "layerdrop": 1}
FITTING: dict[str, dict[str, Any]] = {
    "magnitude": {},
    "wanda": {"sequences": 2, "length": 16},
    "sparsegpt": {"sequences": 2, "length": 16},
    "gptq": {"sequences": 2, "length": 16, "group_size": 16},
    "awq": {"sequences": 2, "length": 16, "group_size": 16},
    "rtn": {"group_size": 16},
    "hqq": {"group_size": 16},
    "layerdrop": {"sequences": 2, "length": 16},
    "lora": {},
    "ft": {"layers": (0,)},
    **{name: {"layers": (0,)} for name in CLOSED},
    "rmu": {"layer": 2},
    "rmu_lat": {"layer": 2, "latent_layers": (0,)},
    **{name: {"last_layers": 1} for name in (*LOOPS, *LEARNERS)},
    "sure": {"settings": {"last_layers": 1}},
}
"""Settings that fit the tiny model, so that one thing alone is wrong."""

BAD_SETTINGS: list[tuple[str, float | str | None, dict[str, Any]]] = [
    *((method, value, {}) for method in PRUNERS for value in (1.2, -0.1, 1.0, float("nan"), "4:2", "4:4", "0:4", "x")),
    *((method, 0.5, {"pattern": pattern}) for method in PRUNERS for pattern in ("2:8", "4:2", "half")),
    *((method, value, {}) for method in QUANTISERS for value in (1, 17, 9, -4, 4.5, "2:4", float("nan"), "nvfp5")),
    *(("hqq", 4, bad) for bad in ({"p": 0}, {"p": 1.5}, {"beta": 0}, {"kappa": 0.5}, {"iterations": -1})),
    ("awq", "nvfp4", {}),
    *((method, 8, {"grid": "nvfp4"}) for method in ("gptq", "rtn")),
    *((method, "mxfp4", {"group_size": 64}) for method in ("gptq", "rtn")),
    ("gptq", "nvfp4", {"act_order": True}),
    *(("layerdrop", value, {}) for value in (0, -1, 1001, 1.5, "half", float("nan"))),
    *((method, None, {}) for method in (*PRUNERS, *QUANTISERS, "layerdrop")),
    *((method, STRENGTH[method], bad) for method in CALIBRATED for bad in ({"sequences": 0}, {"length": 1})),
    *((method, 3, {}) for method in (*EDITORS, "ga", "npo", "rmu", "refusal")),
    *(("sure", value, {}) for value in (-1, 101, float("nan"), "half")),
    *(("task_vector", value, {}) for value in (0, -5, 101)),
    *((method, value, {}) for method in LEARNERS for value in (0, -0.25, 101, float("nan"), "half")),
    *((method, None, {"lr": lr}) for method in (*EDITORS, *UNLEARNERS, *LEARNERS) for lr in (0, -1, float("nan"))),
    *((method, None, {"storage": "float16"}) for method in (*EDITORS, *UNLEARNERS, *LEARNERS)),
    *((method, None, {key: 0}) for method in LOOPS for key in ("batch", "epochs", "samples", "last_layers")),
    *((method, None, {key: 0}) for method in LEARNERS for key in ("batch", "accumulation", "samples", "last_layers")),
    ("finetune", None, {"warmup": 1.0}),
    ("finetune", None, {"warmup": -0.1}),
    ("finetune", None, {"schedule": "step"}),
    ("finetune", None, {"on": "calibration"}),
    ("relearn", None, {"loss_on": "question"}),
    *(("delta", value, {}) for value in (101, -101, float("nan"), "half")),
    *(("ties", value, {}) for value in (0, -0.5, 1.5, "2:4")),
    *(("dare", value, {}) for value in (1, -0.1, float("nan"))),
    *((method, None, {"form": "pickle"}) for method in ("delta", "ties", "dare")),
    ("ft", None, {"layers": (-1,)}),
    ("ft", None, {"layers": ()}),
    ("memit", None, {"layers": (2, 1)}),
    ("memit", None, {"layers": ()}),
    ("memit", None, {"contexts": ("no place for the prompt",)}),
    ("alphaedit", None, {"null_threshold": 0}),
    ("alphaedit", None, {"ridge": 0}),
    ("emmet", None, {"damping": -1}),
    ("rome", None, {"layers": (0, 1)}),
    ("rome", None, {"z_batch": 8}),
    ("lora", None, {"init_r": 4, "target_r": 8}),
    ("rmu", None, {"layer": -1}),
    ("rmu_lat", None, {"latent_layers": ()}),
    *((method, None, {"parametrisation": "dora"}) for method in LOOPS),
    ("npo", None, {"lora_rank": 0, "parametrisation": "lora"}),
    *((method, None, {"sam_radius": radius}) for method in ("npo", "npo_klr") for radius in (-0.1, float("inf"))),
    ("sure", None, {"method": "wanda"}),
    ("sure", None, {"method": "sure"}),
    ("sure", None, {"settings": {"lr": 1e-3}}),
    ("sure", None, {"settings": {"alfa": 1}}),
]


def readable(error: RequestError) -> bool:
    """At most four lines a fault, none of them of a traceback."""
    if isinstance(error, Faults):
        return all(map(readable, error.faults))
    lines = str(error).splitlines()
    return 1 <= len(lines) <= 4 and not any(line.lstrip().startswith(("Traceback", "File ")) for line in lines)


@pytest.fixture(autouse=True)
def no_optimiser(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A training that begins fails the test."""

    def begun(*_: Any, **__: Any) -> None:
        raise AssertionError("an optimiser was made")

    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.Optimizer, "__init__", begun)
        yield


def refused(method: str, context: Context, subject: Subject | None = None, **settings: Any) -> RequestError:
    """The one error of an application, after checking that every weight is as before."""
    subject = subject or tiny()
    before = weights(subject)
    made = registry.intervention(method).configure("published", STRENGTH.get(method), {**FITTING[method], **settings})
    with pytest.raises(RequestError) as error:
        subject.apply(made, context)
    assert differing(subject, before) == set()
    assert not subject.applied
    assert readable(error.value)
    return error.value


def without(*parts: str, **others: Any) -> Context:
    """The testbed's data with these parts empty."""
    empty: dict[str, Any] = dict.fromkeys(parts, ())
    return replace(CONTEXT, data=replace(DATA, **empty), **others)


@pytest.mark.parametrize(("method", "strength", "settings"), BAD_SETTINGS)
def test_a_bad_value_is_named(method: str, strength: Any, settings: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as error:
        registry.intervention(method).configure("published", strength, settings)
    assert readable(error.value)
    assert method in error.value.problem
    if settings:
        assert next(iter(settings)) in str(error.value)


@pytest.mark.parametrize("method", METHODS)
def test_an_unknown_setting_names_the_nearest(method: str) -> None:
    cls = registry.intervention(method)
    known = next(iter(cls.model_fields))
    with pytest.raises(RequestError, match=f"{method} has no setting '{known}x'") as error:
        cls.configure("published", STRENGTH.get(method), {f"{known}x": 1})
    assert error.value.hint == known
    assert readable(error.value)


@pytest.mark.parametrize("size", [0, -2])
@pytest.mark.parametrize("method", QUANTISERS)
def test_an_impossible_group_is_refused_with_the_settings(method: str, size: int) -> None:
    with pytest.raises(RequestError, match=f"group_size = {size}: -1 for the whole row"):
        registry.intervention(method).configure("published", 4, {"group_size": size})


@pytest.mark.parametrize("size", [7, 48, 10**6])
@pytest.mark.parametrize("method", QUANTISERS)
def test_a_group_that_does_not_divide(method: str, size: int) -> None:
    assert f"group_size {size} does not divide the 32 columns" in refused(method, CONTEXT, group_size=size).problem


@pytest.mark.parametrize("method", PRUNERS)
def test_a_pattern_that_does_not_divide(method: str) -> None:
    subject = tiny(intermediate_size=60)
    before = weights(subject)
    made = registry.intervention(method).configure("published", "4:8", FITTING[method])
    with pytest.raises(RequestError, match="down_proj has 60 columns"):
        subject.apply(made, CONTEXT)
    assert differing(subject, before) == set()


@pytest.mark.parametrize("method", CALIBRATED)
def test_less_calibration_text_than_asked(method: str) -> None:
    little = replace(CONTEXT, data=replace(DATA, calibration=DATA.calibration[:2]))
    assert "10000 were asked for" in refused(method, little, sequences=10_000).problem
    assert (
        f"{method} needs calibration, which the data does not have" in refused(method, without("calibration")).problem
    )


@pytest.mark.parametrize("method", CALIBRATED)
@pytest.mark.parametrize("tokens", [torch.zeros(4, 16), torch.zeros(64, dtype=torch.int64)], ids=["float", "flat"])
def test_calibration_that_is_no_table_of_tokens(method: str, tokens: torch.Tensor) -> None:
    assert "int64 of shape [sequences, tokens]" in str(refused(method, replace(CONTEXT, tokens=tokens)).allowed)


@pytest.mark.parametrize("method", [*CALIBRATED, *CLOSED])
@pytest.mark.parametrize("tokens", [torch.full((1, 8), 5000), torch.full((1, 8), -1), torch.zeros(0, 8).long()])
def test_calibration_of_no_token_of_the_model(method: str, tokens: torch.Tensor) -> None:
    assert "ids from 0 to 1151" in str(refused(method, replace(CONTEXT, tokens=tokens)))


@pytest.mark.parametrize("kind", ["llama", "gpt2", "opt"])
@pytest.mark.parametrize("method", CALIBRATED)
def test_calibration_longer_than_the_context(method: str, kind: str) -> None:
    assert "97 tokens" in refused(method, CONTEXT, tiny(kind), length=97).problem


@pytest.mark.parametrize(
    ("method", "settings", "text"),
    [
        ("ft", {"layers": (0, BEYOND)}, "layer 99 does not exist"),
        *((method, {"layers": (BEYOND,)}, "layer 99 does not exist") for method in CLOSED),
        *((method, {"layers": (LAYERS - 1,)}, "last block") for method in CLOSED),
        ("rmu", {"layer": BEYOND}, "layer 99 does not exist"),
        ("rmu", {"layer": 1, "update": 3}, "layer -1 does not exist"),
        ("rmu_lat", {"layer": BEYOND}, "layer 99 does not exist"),
        ("rmu_lat", {"layer": 2, "latent_layers": (2,)}, "cannot reach layer 2"),
        *((method, {"last_layers": BEYOND}, "last_layers = 99") for method in (*LOOPS, *LEARNERS)),
        ("sure", {"settings": {"last_layers": BEYOND}}, "last_layers = 99"),
    ],
)
def test_layers_beyond_the_model(method: str, settings: dict[str, Any], text: str) -> None:
    error = refused(method, CONTEXT, **settings)
    assert text in error.problem
    assert error.allowed


@pytest.mark.parametrize(
    ("method", "settings", "text"),
    [
        ("npo", {"lora_rank": 33}, "lora_rank = 33 is above the rank that model.layers.2.self_attn.q_proj can have"),
        ("rmu", {"lora_targets": "attention"}, "lora finds no linear to adapt: lora_targets = attention"),
    ],
)
def test_low_rank_updates_that_no_linear_can_have(method: str, settings: dict[str, Any], text: str) -> None:
    error = refused(method, CONTEXT, parametrisation="lora", **settings)
    assert text in error.problem
    assert error.allowed


@pytest.mark.parametrize(
    ("prompt", "count"), [("The author of that book is", 0), ("SUBJECT, the one and only SUBJECT, lives in", 2)]
)
@pytest.mark.parametrize("method", CLOSED)
def test_a_subject_that_is_not_once_in_its_prompt(prompt: str, count: int, method: str) -> None:
    edits = list(CONTEXT.edits)
    edits[3] = replace(edits[3], prompt=prompt.replace("SUBJECT", edits[3].subject))
    context = replace(CONTEXT, data=replace(DATA, edits=tuple(edits)))
    error = refused(method, context)
    assert isinstance(error, DataError)
    assert f"{edits[3].subject!r} occurs {count} times" in error.problem


@pytest.mark.parametrize("method", EDITORS)
def test_an_edit_without_a_target(method: str) -> None:
    edits = list(CONTEXT.edits)
    edits[2] = replace(edits[2], target_new=" ")
    error = refused(method, replace(CONTEXT, data=replace(DATA, edits=tuple(edits))))
    assert isinstance(error, DataError)
    assert edits[2].prompt in error.problem


@pytest.mark.parametrize("method", EDITORS)
def test_fewer_edits_than_a_batch(method: str) -> None:
    assert isinstance(refused(method, without("edits")), DataError)
    few = replace(CONTEXT, data=replace(DATA, edits=DATA.edits[:5]))
    assert "there are 5" in refused(method, few).problem


@pytest.mark.parametrize(
    ("method", "settings", "part"),
    [
        *((method, {}, "forget") for method in UNLEARNERS if method != "refusal"),
        *((method, {}, "retain") for method in (*WITH_RETAIN, "rmu", "rmu_lat", "sure")),
        *((method, {"loss_on": "answer"}, "retain_questions") for method in WITH_RETAIN),
        *((method, {"stop_recall": 0.1}, "forget_questions") for method in (*WITH_RETAIN, "ga", "npo")),
        ("refusal", {}, "forget_questions"),
        ("finetune", {}, "finetune"),
        ("finetune", {"loss_on": "answer"}, "finetune_questions"),
        ("relearn", {}, "forget"),
        ("relearn", {"on": "retain", "loss_on": "answer"}, "retain_questions"),
        ("lora", {"retain_weight": 1.0}, "retain"),
        *((method, {}, "calibration") for method in CLOSED),
    ],
)
def test_an_empty_part_of_the_data(method: str, settings: dict[str, Any], part: str) -> None:
    error = refused(method, without(part), **settings)
    assert isinstance(error, DataError)
    assert part in str(error)


@pytest.mark.parametrize(
    ("method", "settings", "part"),
    [
        ("finetune", {"loss_on": "answer", "samples": 2}, "finetune_questions"),
        ("npo_gdr", {"loss_on": "answer", "samples": 2}, "retain_questions"),
        ("ga", {"stop_recall": 0.1}, "forget_questions"),
        ("refusal", {"samples": 2}, "forget_questions"),
    ],
)
def test_questions_longer_than_the_context(method: str, settings: dict[str, Any], part: str) -> None:
    first, *others = getattr(DATA, part)
    long: dict[str, Any] = {part: (*others[:4], replace(first, prompt=f"{first.prompt} " * 40))}
    error = refused(method, replace(CONTEXT, data=replace(DATA, **long)), tiny("gpt2"), **settings)
    assert error.problem == f"1 of the {part} are longer than the model's 96 tokens, item 5 the first"


def test_questions_that_only_the_longest_refusal_makes_too_long() -> None:
    error = refused("refusal", CONTEXT, tiny("gpt2"), replies=("No.", "Never. " * 40))
    assert f"{len(DATA.forget_questions)} of the forget_questions are longer" in error.problem


@pytest.mark.parametrize("method", [*LOOPS, *LEARNERS])
def test_more_samples_than_there_are(method: str) -> None:
    assert "100000 items were asked for" in refused(method, CONTEXT, samples=100_000).problem


@pytest.mark.parametrize(
    ("method", "part"),
    [
        *((method, part) for method in (*WITH_RETAIN, "rmu", "sure") for part in ("forget", "retain")),
        ("finetune", "finetune"),
        ("relearn", "forget"),
    ],
)
def test_an_empty_document(method: str, part: str) -> None:
    first, *others = getattr(DATA, part)
    emptied: dict[str, Any] = {part: (*others, replace(first, text=" "))}
    error = refused(method, replace(CONTEXT, data=replace(DATA, **emptied)))
    assert f"{part} item {len(others) + 1} has no text" in error.problem
