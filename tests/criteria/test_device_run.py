"""The workload of the clock and of the memory meter; neither is compared with a number of seconds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import pytest
import torch

from rayci.context import Context
from rayci.criteria.device_run import Latency, PeakBytes
from rayci.errors import Inapplicable
from rayci.subject import Subject
from rayci.testbed import collection
from tests.models import ARCHITECTURES, tiny

CONTEXT = Context(collection())


@pytest.mark.parametrize("kind", [*ARCHITECTURES, "mixtral"])
def test_the_prompt_is_read_at_once_and_the_rest_one_by_one(kind: str) -> None:
    subject, seen = tiny(kind), list[int]()
    subject.model.get_input_embeddings().register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[1]))
    reading = Latency(prompt_tokens=20, new_tokens=4, repeats=2).measure(subject, CONTEXT)
    assert seen == [20, 1, 1, 1, 1] * 3
    assert reading.value > 0 and reading.n == 2


def test_tokens_are_fed_as_one_pass_would_read_them() -> None:
    subject, made = tiny(), Latency(prompt_tokens=20, new_tokens=4)
    logits: list[torch.Tensor] = []
    hook = subject.model.register_forward_hook(lambda _, __, output: logits.append(output.logits[0, -1]))
    made.run(subject, made.ids(subject))
    hook.remove()
    with torch.no_grad():
        whole = subject.model(input_ids=made.ids(subject)).logits[0]
    for step, own in enumerate(logits):
        assert own.allclose(whole[19 + step], atol=1e-5)


def test_latency_is_the_median_of_the_runs_after_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks: Iterator[float] = iter([0, 8, 10, 12, 20, 24])
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks))
    reading = Latency(prompt_tokens=2, new_tokens=4, repeats=3).measure(tiny(), CONTEXT)
    assert reading.value == statistics.median([8, 2, 4]) / 4


def test_a_prompt_gives_way_to_the_context() -> None:
    subject = tiny()  # 96 positions
    assert Latency(prompt_tokens=500, new_tokens=10).ids(subject).shape == (1, 96)
    with pytest.raises(Inapplicable, match="context of 96"):
        Latency(new_tokens=96).measure(subject, CONTEXT)


def test_memory_is_counted_on_gpus() -> None:
    with pytest.raises(Inapplicable, match="the model is on cpu"):
        PeakBytes().measure(tiny(), CONTEXT)


def _on_gpu() -> Subject:
    subject = tiny(hidden_size=256, intermediate_size=1024)
    subject.model.to("cuda")
    return subject


@pytest.mark.gpu
def test_memory_holds_the_weights_and_grows_with_the_prompt() -> None:
    subject = _on_gpu()
    weights = sum(value.nbytes for value in subject.model.parameters())
    short, long = (PeakBytes(prompt_tokens=size, new_tokens=2).measure(subject, CONTEXT).value for size in (2, 90))
    assert weights < short < long
    assert Latency(prompt_tokens=16, new_tokens=4).measure(subject, CONTEXT).value > 0
