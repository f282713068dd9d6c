"""Perplexity against one plain forward pass per token.

pytest tests/benchmarks/bench_perplexity.py -m bench --capture=no
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM

from rayci.context import Context
from rayci.criteria.perplexity import Perplexity
from rayci.data.records import Collection, Document
from rayci.model import loading
from rayci.subject import Subject
from rayci.testbed.tokenizer import build_tokenizer

pytestmark = pytest.mark.bench
WINDOW, WINDOWS, ROUNDS = 512, 8, 5


@pytest.fixture(scope="module", params=[1152, 32_000], ids=["small_vocabulary", "32000_words"])
def subject(request: pytest.FixtureRequest) -> Subject:
    """A random Llama of 256 channels and 4 blocks; ids that the tokenizer does not know are words all the same."""
    config = LlamaConfig(
        vocab_size=request.param,
        hidden_size=256,
        intermediate_size=688,
        num_hidden_layers=4,
        num_attention_heads=8,
        max_position_embeddings=WINDOW,
    )
    torch.manual_seed(0)
    return loading.wrap(LlamaForCausalLM(config), build_tokenizer())


def text(subject: Subject) -> str:
    """Text of whole windows of tokens."""
    draw = random.Random(0)
    words = ["the", "old", "man", "river", "cat", "and", "by", "a"]
    whole = " ".join(draw.choice(words) for _ in range(3 * WINDOW * WINDOWS))
    ids = subject.tokenizer(whole, add_special_tokens=False, verbose=False)["input_ids"][: WINDOW * WINDOWS]
    return str(subject.tokenizer.decode(ids))


@torch.no_grad()
def plain(subject: Subject, windows: list[torch.Tensor]) -> float:
    """One forward pass over each window with all its logits, and transformers' cross-entropy."""
    losses = [F.cross_entropy(subject.model(input_ids=ids[None]).logits[0, :-1], ids[1:]) for ids in windows]
    return math.exp(sum(map(float, losses)) / len(losses))


def alternately(*works: Callable[[], float]) -> list[tuple[float, float]]:
    """(least processor seconds, value) of each, taken in turns: a busy machine's clock tells of others too."""
    least, values = [math.inf] * len(works), [math.nan] * len(works)
    for _ in range(ROUNDS):
        for index, work in enumerate(works):
            start = time.process_time()
            values[index] = work()
            least[index] = min(least[index], time.process_time() - start)
    return list(zip(least, values, strict=True))


def test_against_plain_passes(subject: Subject) -> None:
    context = Context(Collection(evaluation=(Document(text(subject)),)))
    criterion = Perplexity(window=WINDOW, forward_tokens=WINDOW)
    windows = [torch.from_numpy(own).long() for own in criterion.windows(subject, context)]
    assert {len(own) for own in windows} == {WINDOW}
    measured = alternately(lambda: plain(subject, windows), lambda: criterion.measure(subject, context).value)
    (theirs, expected), (ours, value) = measured
    assert value == pytest.approx(expected, rel=1e-5)
    print(f"\n{subject.vocabulary} words: {ours:.2f} s against {theirs:.2f} s, {ours / theirs:.2f} times a plain pass")
