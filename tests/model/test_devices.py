"""Several devices, other architectures, a runner with its store: nothing mixes devices, the numbers are the CPU's.

One device under every method and criterion is a rule of their conformance suites.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from accelerate import dispatch_model
from torch import Tensor

from rayci import registry
from rayci.conformance.emulated_device import FIRST, SECOND, DeviceMixError, emulated_devices
from rayci.context import Context
from rayci.model import loading
from rayci.planning.spec import Spec
from rayci.planning.sweep import Sweep
from rayci.running.runner import Runner
from rayci.storage.stages import StageStore
from rayci.subject import Subject
from rayci.table import read
from rayci.testbed import collection
from tests.interventions.small import METHODS, TRAINERS, configured
from tests.models import LAYERS, MIXTURES, random_model, tiny, tokenizer
from tests.running.test_runner import run_all

KNOWN = collection()
KINDS, TOPICS = ("fill_in_blank", "question", "adversarial"), ("bio", "cyber")
DATA = replace(
    KNOWN,
    edits=tuple(replace(edit, portability=edit.locality[:1]) for edit in KNOWN.edits),
    hazard=tuple(replace(item, topic=TOPICS[i % 2]) for i, item in enumerate(KNOWN.hazard[:8])),
    utility=tuple(replace(item, subject="creatures") for item in KNOWN.utility[:8]),
    evaluation=KNOWN.evaluation[:4],
    wikitext=KNOWN.evaluation[:4],
    truthfulqa=KNOWN.hazard[:8],
    triviaqa=KNOWN.retain_questions[:8],
    forget_questions=tuple(replace(item, kind=KINDS[i % 3]) for i, item in enumerate(KNOWN.forget_questions[:9])),
    retain_questions=KNOWN.retain_questions[:8],
    passages=KNOWN.passages[:8],
    holdout=KNOWN.holdout[:8],
    prompts=KNOWN.prompts[:8],
)
"""Some of the testbed's data, with something in every part that a criterion reads."""
CONTEXT = Context(DATA, batch_size=4)
CRITERIA = {name: registry.criterion(name) for name in registry.CRITERIA}
MEASURED = {made.measure: name for name, made in CRITERIA.items() if made.repeatable}.values()
"""One criterion of all that measure in the same way."""


@pytest.fixture(autouse=True)
def _devices() -> Iterator[None]:
    with emulated_devices():
        yield


def spread(subject: Subject) -> Subject:
    """The subject on two emulated devices, as accelerate spreads it: all but the first block on the second."""
    places = {"model.embed_tokens": FIRST, "model.rotary_emb": FIRST, "model.norm": SECOND, "lm_head": SECOND}
    places |= {f"model.layers.{index}": SECOND if index else FIRST for index in range(LAYERS)}
    dispatch_model(subject.model, places, main_device=FIRST, force_hooks=True)
    assert {value.device for value in subject.model.parameters()} == {FIRST, SECOND}
    return subject


def numbers(subject: Subject) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in subject.model.named_parameters()}


def like_at_home(method: str, subject: Subject, **settings: Any) -> None:
    """Apply a method to a subject that lies elsewhere, and compare with what it does on the CPU."""
    at_home = tiny(attn_implementation="eager")
    before, homes = numbers(at_home), {name: value.device for name, value in subject.model.named_parameters()}
    at_home.apply(configured(method, **settings), CONTEXT)
    subject.apply(configured(method, **settings), CONTEXT)
    assert homes == {name: value.device for name, value in subject.model.named_parameters()}
    found = numbers(subject)
    for name, value in numbers(at_home).items():
        # A kernel that the emulation splits in two rounds once more; what a step changed is far larger.
        torch.testing.assert_close(found[name], value, rtol=0, atol=2e-3 * float((value - before[name]).abs().max()))
    assert at_home.receipts[-1].counts == pytest.approx(subject.receipts[-1].counts, rel=1e-4)


def test_what_a_gpu_refuses_is_refused() -> None:
    here, there = torch.ones(2), torch.ones(2, device=FIRST)
    for wrong in (
        lambda: here + there,
        lambda: there.add_(here),
        lambda: torch.cat([here, there]),
        lambda: there @ torch.ones(2, device=SECOND),
        lambda: there.masked_fill(here > 0, 0),
        lambda: torch.rand(2, device=FIRST, generator=torch.Generator()),
    ):
        with pytest.raises(DeviceMixError):
            wrong()
    assert ((there + torch.tensor(1.0))[torch.tensor([0])] * 2).tolist() == [4.0]
    assert there.copy_(here).device == FIRST and there.cpu().equal(here)


@pytest.mark.parametrize(
    "kind", ["gpt2", "qwen2_moe", *(pytest.param(k, marks=pytest.mark.slow) for k in ("opt", "phi3"))]
)
def test_other_architectures_do_the_same_on_another_device(kind: str) -> None:
    plain = {"attn_implementation": "eager"} | ({"experts_implementation": "eager"} if kind in MIXTURES else {})
    at_home, elsewhere = tiny(kind, **plain), tiny(kind, **plain)
    elsewhere.model.to(FIRST)  # type: ignore[arg-type]
    for subject in (at_home, elsewhere):
        subject.remember_base()
    for method in ("npo_klr", "wanda", "sparsegpt") if kind in MIXTURES else ("memit", "rmu", "sparsegpt"):
        for subject in (at_home, elsewhere):
            subject.restore(everything=True)
            subject.apply(configured(method), CONTEXT)
        found = numbers(elsewhere)
        for name, value in numbers(at_home).items():
            torch.testing.assert_close(found[name], value, rtol=0, atol=1e-5, msg=f"{method} {name}")


@pytest.mark.parametrize("method", METHODS)
def test_a_method_does_the_same_on_two_devices(method: str) -> None:
    like_at_home(method, spread(tiny(attn_implementation="eager")))


def test_low_rank_updates_and_steps_ahead_are_the_same_on_two_devices() -> None:
    subject = spread(tiny(attn_implementation="eager"))
    like_at_home("npo_gdr", subject, parametrisation="lora", sam_radius=0.1, storage="float32")


@pytest.mark.parametrize("name", sorted(MEASURED))
def test_a_criterion_measures_the_same_on_two_devices(name: str) -> None:
    cls = registry.criterion(name)
    criterion = cls.model_validate({"tokens": 4} if "tokens" in cls.model_fields else {})
    readings: list[Any] = []
    for subject in (tiny(), spread(tiny())):
        subject.remember_base()
        for method in ("ft", "rtn") if name == "update_survival" else ():
            subject.apply(configured(method), CONTEXT)
        with torch.no_grad():
            first = criterion.measure(subject, CONTEXT)
            context = CONTEXT.with_reference(first.records) if criterion.compares else CONTEXT
            readings.append(criterion.measure(subject, context))
    assert readings[1].value == pytest.approx(readings[0].value, rel=1e-5)


def test_a_runner_stores_and_loads_stages_of_another_device(tmp_path: Path) -> None:
    random_model("llama", attn_implementation="eager").save_pretrained(tmp_path / "model")
    tokenizer().save_pretrained(tmp_path / "model")
    methods = {"ft": TRAINERS["ft"], "wanda": {"sparsity": 0.5, "sequences": 4, "length": 32}}
    spec = Spec.model_validate(
        {
            "name": "devices",
            "model": str(tmp_path / "model"),
            "data": "testbed",
            "interventions": methods,
            "compose": {"pairs": "all"},
            "criteria": ["avg_bits", "perplexity"],
            "attention": "eager",
        }
    )
    sweep = Sweep.open(spec)
    frames = []
    for device in ("cpu", "lazy:0"):
        subject = loading.load(sweep.folder, device=device, attention="eager")
        assert str(subject.device) == device
        runner = Runner(sweep, subject, StageStore(tmp_path / device / "store"), tmp_path / device)
        plan, reports = run_all(runner)
        assert all(report.failure is None for report in reports)
        frame = read(tmp_path / device).frame
        assert set(frame["device"]) == {device.split(":")[0]}
        frames.append(frame.set_index(["chain", "criterion"])["value"].sort_index())
    assert len(frames[0]) == 2 * len(plan.stages)
    pd.testing.assert_series_equal(frames[0], frames[1], rtol=1e-4)
