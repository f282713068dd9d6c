"""MMLU, WMDP and WikiText on a Llama-3-8B-shaped random model in bf16 against lm-eval at five shots, as a table.

    pytest tests/benchmarks/bench_gpu_evaluation.py -m gpu --capture=no
    RAYCI_BENCH_SHAPE=tiny pytest tests/benchmarks/bench_gpu_evaluation.py -m gpu --capture=no    # anywhere

Questions and text of random words; 20 questions for each of MMLU's 57 subjects, 300 for each topic of WMDP, text as
long as WikiText-2's test split. Both sides score the same prompts and windows and must agree. Sought: five times as
fast together, 45 % of the peak, the GPU idle for less than 5 %.

    utilisation = 2 · (weights of the blocks) · tokens + 2 · (output embeddings) · scored positions, over seconds · peak
    idle        = 1 − (time of all kernels, by torch.profiler) / wall time

Tokens are those that enter the embeddings, padding left out; attention's own operations are not counted. The peak is
the device's dense bf16 rate; RAYCI_BENCH_PEAK, in TFLOP/s, says that of a device that is not listed.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from rayci import registry
from rayci.criteria.choices import MultipleChoice
from rayci.criteria.evaluation.multiple_choice import chosen, log_likelihoods
from rayci.criteria.evaluation.question_tokens import Question
from rayci.criteria.evaluation.text_likelihoods import token_log_probs
from rayci.criteria.evaluation.windows import windows
from rayci.data.records import Choice, Collection, Document
from rayci.model.token_cache import joined_ids
from rayci.subject import Subject
from rayci.testbed import collection
from tests.benchmarks.bench_gpu import CUDA, DTYPE, NAME, model, peak_rate, pytestmark

__all__ = ["pytestmark"]
BIG = NAME != "tiny"
SUBJECTS, OF_SUBJECT, OF_TOPIC, TEXT = (57, 20, 300, 300_000) if BIG else (3, 4, 6, 2000)
WORDS, SHOTS, BATCH, BUDGET = (60 if BIG else 4), 5, 16, 32_768
CLOSE = 0.3 if DTYPE is torch.bfloat16 else 1e-3
"""Nats by which a score may differ: lm-eval takes the logarithm in the model's dtype."""

Scores = list[list[float]]


@dataclass
class Work:
    """What entered the model."""

    tokens: int = 0
    scored: int = 0


def words(draw: random.Random, count: int) -> str:
    known = [word for document in collection().evaluation[:50] for word in document.text.split()]
    return " ".join(draw.choice(known) for _ in range(count))


def choices(draw: random.Random, count: int, **named: str) -> tuple[Choice, ...]:
    return tuple(
        Choice(words(draw, WORDS), tuple(words(draw, 3) for _ in range(4)), draw.randrange(4), **named)
        for _ in range(count)
    )


@pytest.fixture(scope="module")
def data() -> Collection:
    draw = random.Random(0)
    subjects, topics = [f"subject {index}" for index in range(SUBJECTS)], ("bio", "cyber")
    return Collection(
        utility=tuple(one for name in subjects for one in choices(draw, OF_SUBJECT, subject=name)),
        hazard=tuple(one for name in topics for one in choices(draw, OF_TOPIC, topic=name)),
        wikitext=tuple(Document(words(draw, 200)) for _ in range(TEXT // 200)),
        shots={
            "utility": tuple(one for name in subjects for one in choices(draw, SHOTS, subject=name)),
            "hazard": tuple(one for name in topics for one in choices(draw, SHOTS, topic=name)),
        },
    )


@pytest.fixture(scope="module")
def subject() -> Subject:
    return model()


def asked(name: str, data: Collection) -> list[Question]:
    criterion: Any = registry.criterion(name).model_validate({"shots": SHOTS})
    assert isinstance(criterion, MultipleChoice)
    return list(criterion.prompts(criterion.asked(data), data))


def lm_eval(subject: Subject) -> Any:
    from lm_eval.models.huggingface import HFLM

    tokenizer: Any = subject.tokenizer
    return HFLM(pretrained=subject.model, tokenizer=tokenizer, batch_size=BATCH, max_length=subject.context_length)


def their_choices(subject: Subject, questions: list[Question]) -> Scores:
    """The harness's scores of the same requests."""
    from lm_eval.api.instance import Instance

    requests: list[Any] = [
        Instance("loglikelihood", {}, arguments=(question.context, option), idx=index)
        for question in questions
        for index, option in enumerate(question.options)
    ]
    scores = [score for score, _ in lm_eval(subject).loglikelihood(requests, disable_tqdm=True)]
    return [scores[start : start + 4] for start in range(0, len(scores), 4)]


def their_text(subject: Subject, cut: list[Any]) -> Scores:
    """The harness's scores of the same windows: each after its first token."""
    requests = [(None, [int(own[0])], [int(token) for token in own[1:]]) for own in cut]
    found = lm_eval(subject)._loglikelihood_tokens(requests, disable_tqdm=True, override_bs=1)
    return [[score] for score, _ in found]


@contextmanager
def counting(subject: Subject) -> Iterator[Work]:
    """Tokens that enter the embeddings, padding left out, and positions that are projected onto the vocabulary."""
    work, head = Work(), subject.model.get_output_embeddings()

    def enter(_: Any, given: tuple[torch.Tensor, ...]) -> None:
        work.tokens += int((given[0] != 0).sum())

    def leave(_: Any, __: Any, logits: torch.Tensor) -> None:
        work.scored += logits.numel() // logits.shape[-1]

    hooks = [subject.model.get_input_embeddings().register_forward_pre_hook(enter), head.register_forward_hook(leave)]
    try:
        yield work
    finally:
        for hook in hooks:
            hook.remove()


def timed(score: Callable[[], Scores]) -> tuple[float, Scores]:
    if CUDA:
        torch.cuda.synchronize()
    start = time.perf_counter()
    scores = score()
    return time.perf_counter() - start, scores


def idle(score: Callable[[], Scores]) -> float | None:
    """Share of the wall time without a kernel; None without a GPU."""
    if not CUDA:
        return None
    with profile(activities=[ProfilerActivity.CUDA]) as kernels:
        wall, _ = timed(score)
    busy: float = sum(kernel.self_device_time_total for kernel in kernels.key_averages()) / 1e6
    return 1 - busy / wall


def utilisation(subject: Subject, work: Work, seconds: float) -> float | None:
    """Share of the peak; None where that is not known."""
    peak = peak_rate()
    head = subject.model.get_output_embeddings().weight.numel()
    blocks = sum(value.numel() for value in subject.blocks.parameters())
    return None if peak is None else 2 * (blocks * work.tokens + head * work.scored) / seconds / peak


@pytest.fixture(scope="module")
def rows() -> Iterator[list[tuple[str, float, float, float | None, float | None]]]:
    """Lines of the table, printed in the end, and their sum."""
    found: list[tuple[str, float, float, float | None, float | None]] = []
    yield found
    device = torch.cuda.get_device_name() if CUDA else "CPU"
    print(f"\n\n{NAME}, {str(DTYPE).removeprefix('torch.')}, {device}, {SHOTS} shots\n")
    print("| what | lm-eval, s | rayci, s | times as fast | utilisation | idle |\n|---|---|---|---|---|---|")
    for name, theirs, ours, used, free in [
        *found,
        ("all", sum(r[1] for r in found), sum(r[2] for r in found), None, None),
    ]:
        shares = " | ".join("–" if share is None else f"{share:.0%}" for share in (used, free))
        print(f"| {name} | {theirs:.2f} | {ours:.2f} | {theirs / ours:.1f} | {shares} |")


@pytest.mark.parametrize("name", ["mmlu", "wmdp"])
def test_questions(name: str, subject: Subject, data: Collection, rows: list[Any]) -> None:
    questions = asked(name, data)

    def ours() -> Scores:
        return log_likelihoods(subject, questions, BUDGET)

    with counting(subject) as work:
        found = ours()  # encodes, and warms up
    seconds, again = timed(ours)
    slow, expected = timed(lambda: their_choices(subject, questions))
    rows.append((name, slow, seconds, utilisation(subject, work, seconds), idle(ours)))
    assert again == found
    for own, their in zip(found, expected, strict=True):
        assert own == pytest.approx(their, abs=CLOSE)
        first, second = sorted(their, reverse=True)[:2]
        assert chosen(own) == chosen(their) or first - second < 2 * CLOSE


def test_text(subject: Subject, data: Collection, rows: list[Any]) -> None:
    cut = windows(joined_ids(subject.tokenizer, data.wikitext, "\n\n"), min(8192, subject.context_length))

    def ours() -> Scores:
        return [[float(own.sum())] for own in token_log_probs(subject, cut, BUDGET)]

    with counting(subject) as work:
        found = ours()
    seconds, _ = timed(ours)
    slow, expected = timed(lambda: their_text(subject, list(cut)))
    rows.append(("wikitext_ppl", slow, seconds, utilisation(subject, work, seconds), idle(ours)))
    for own, their in zip(found, expected, strict=True):
        assert own == pytest.approx(their, rel=1e-2 if DTYPE is torch.bfloat16 else 1e-5)
