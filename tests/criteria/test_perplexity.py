"""Perplexity against window-by-window cross-entropy and lm-eval, and on models beyond repair."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from rayci.context import Context
from rayci.criteria.evaluation import windows
from rayci.criteria.perplexity import GeneralLoss, Perplexity, WikitextPerplexity
from rayci.data.records import Document
from rayci.errors import DataError, MeasurementError
from rayci.subject import Subject
from rayci.testbed import collection
from tests.models import ARCHITECTURES, testbed, tiny

CONTEXT = Context(replace(collection(), evaluation=collection().evaluation[:12]))


@torch.no_grad()
def slow_perplexity(subject: Subject, window: int, separator: str = "\n\n") -> tuple[float, int]:
    """exp of the mean cross-entropy over consecutive windows, each from its own start; and n."""
    text = separator.join(document.text for document in CONTEXT.data.evaluation)
    ids = torch.tensor(subject.tokenizer(text, add_special_tokens=False)["input_ids"])
    total, count = 0.0, 0
    for start in range(0, len(ids), window):
        part = ids[start : start + window]
        if len(part) > 1:
            logits = subject.model(input_ids=part[None]).logits[0]
            total += float(F.cross_entropy(logits[:-1], part[1:], reduction="sum"))
            count += len(part) - 1
    return math.exp(total / count), count


def tokens(subject: Subject, text: str) -> list[int]:
    ids: list[int] = subject.tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


@pytest.mark.parametrize("window", [16, 50, 8192])
def test_windows_do_not_overlap_and_the_rest_counts(window: int) -> None:
    subject = testbed()
    reading = Perplexity(window=window).measure(subject, CONTEXT)
    value, count = slow_perplexity(subject, min(window, 256))  # the testbed's context is 256
    assert reading.value == pytest.approx(value, rel=1e-5)
    assert reading.n == count
    assert reading.stderr is None


@torch.no_grad()
def test_an_item_is_a_piece_of_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = testbed()
    monkeypatch.setattr(windows, "PIECE", 40)
    items = Perplexity(window=100).measure(subject, CONTEXT).items
    assert items is not None and items.weights is not None
    text = "\n\n".join(document.text for document in CONTEXT.data.evaluation)
    ids = torch.tensor(subject.tokenizer(text, add_special_tokens=False)["input_ids"])
    expected = []
    for start in range(0, len(ids) - 1, 100):
        part = ids[start : start + 100]
        losses = F.cross_entropy(subject.model(input_ids=part[None]).logits[0, :-1], part[1:], reduction="none")
        expected += [(float(piece.mean()), len(piece)) for piece in losses.split(40)]
    assert items.weights[:3] == (40, 40, 19)
    assert items.weights == tuple(size for _, size in expected)
    assert items.values == pytest.approx([mean for mean, _ in expected], rel=1e-5)


@pytest.mark.parametrize(("left", "windows_scored", "n"), [(0, 2, 18), (1, 2, 18), (2, 3, 19), (9, 3, 26)])
def test_a_last_window_counts_from_two_tokens_on(left: int, windows_scored: int, n: int) -> None:
    subject = tiny()
    text = str(subject.tokenizer.decode(tokens(subject, CONTEXT.data.evaluation[0].text)[: 20 + left]))
    assert len(tokens(subject, text)) == 20 + left
    reading = Perplexity(window=10).measure(subject, Context(replace(CONTEXT.data, evaluation=(Document(text),))))
    assert reading.items is not None
    assert (len(reading.items.values), reading.n) == (windows_scored, n)


@pytest.mark.parametrize("batch", [1, 70, 1000])
def test_batches_of_every_size_give_the_same(batch: int) -> None:
    subject = tiny()
    one, other = (Perplexity(window=32, forward_tokens=size).measure(subject, CONTEXT) for size in (100_000, batch))
    assert other.value == pytest.approx(one.value, rel=1e-5) and other.n == one.n
    assert one.items is not None and other.items is not None
    assert other.items.values == pytest.approx(one.items.values, abs=1e-5)


def test_wikitext_and_the_general_loss_are_perplexities_of_their_texts() -> None:
    subject = testbed()
    perplexity = Perplexity().measure(subject, CONTEXT)
    data = replace(CONTEXT.data, evaluation=(), wikitext=CONTEXT.data.evaluation)
    assert WikitextPerplexity().measure(subject, Context(data)) == perplexity
    general = GeneralLoss().measure(subject, CONTEXT)
    assert math.exp(general.value) == perplexity.value
    assert (general.n, general.items) == (perplexity.n, perplexity.items)


def test_as_lm_eval_scores_a_text_that_begins_with_its_prefix_token() -> None:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    subject = testbed()
    text = CONTEXT.data.evaluation[0].text
    settings: dict[str, Any] = {"pretrained": subject.model, "tokenizer": subject.tokenizer, "device": "cpu"}
    harness = HFLM(**settings, batch_size=1, add_bos_token=False)
    request = Instance("loglikelihood_rolling", {}, arguments=(text,), idx=0)
    (theirs,) = harness.loglikelihood_rolling([request], disable_tqdm=True)
    prefix = str(subject.tokenizer.decode([harness.prefix_token_id]))
    data = replace(CONTEXT.data, evaluation=(Document(prefix + text),))
    reading = Perplexity().measure(subject, Context(data))
    assert reading.n == len(tokens(subject, text)) < 256
    assert math.log(reading.value) == pytest.approx(-theirs / reading.n, abs=1e-5)


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_on_every_architecture(kind: str) -> None:
    subject = tiny(kind)
    reading = Perplexity().measure(subject, CONTEXT)
    assert reading.value == pytest.approx(slow_perplexity(subject, 96)[0], rel=1e-4)


def test_the_separator_is_between_documents() -> None:
    subject = testbed()
    reading = Perplexity(separator=" ").measure(subject, CONTEXT)
    assert reading.value == pytest.approx(slow_perplexity(subject, 256, " ")[0], rel=1e-5)


def test_shorter_windows_are_harder() -> None:
    subject = testbed()
    assert Perplexity(window=4).measure(subject, CONTEXT).value > Perplexity(window=128).measure(subject, CONTEXT).value


def test_a_uniform_model_has_the_vocabulary_as_perplexity() -> None:
    subject = tiny()
    with torch.no_grad():
        subject.model.get_output_embeddings().weight.zero_()
    assert Perplexity().measure(subject, CONTEXT).value == pytest.approx(1152, rel=1e-5)


@pytest.mark.parametrize("scale", [1e6, 1e30])
def test_a_collapsed_model_is_infinitely_perplexed(scale: float) -> None:
    subject = tiny()
    with torch.no_grad():
        subject.model.get_output_embeddings().weight.mul_(scale)
    assert Perplexity().measure(subject, CONTEXT).value == math.inf


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_nan_is_a_failed_measurement(value: float) -> None:
    subject = tiny()
    with torch.no_grad():
        subject.model.get_output_embeddings().weight.fill_(value)  # inf − inf is NaN
    with pytest.raises(MeasurementError, match="NaN"):
        Perplexity().measure(subject, CONTEXT)


@pytest.mark.parametrize("texts", [(), ("",), (" the",)])
def test_text_of_fewer_than_two_tokens_is_a_data_error(texts: tuple[str, ...]) -> None:
    data = replace(CONTEXT.data, evaluation=tuple(map(Document, texts)))
    with pytest.raises(DataError, match="fewer than two tokens"):
        Perplexity().measure(tiny(), Context(data))
