"""KL and NPO against torch's own functions and by hand; whole trainings against an independent loop."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from rayci import registry
from rayci.context import Context
from rayci.data.records import Document
from rayci.errors import DataError, RequestError
from rayci.interventions.batches import choose
from rayci.interventions.predictions import predict
from rayci.interventions.unlearning.forget_retain import ForgetRetain
from rayci.interventions.unlearning.frozen import Distributions, Likelihoods
from rayci.interventions.unlearning.gradient import GradientAscent, GradientAscentKL
from rayci.interventions.unlearning.npo import (
    NegativePreference,
    NegativePreferenceDescent,
    NegativePreferenceKL,
    negative_preference,
)
from rayci.interventions.unlearning.recall_stop import share_answered
from rayci.interventions.unlearning.terms import CROSS_ENTROPY, DIVERGENCE, Part, Term, Whole
from rayci.model.encoding import IGNORED, encode_texts
from rayci.model.likelihood import divergences, npo_loss
from rayci.subject import Subject
from rayci.testbed import collection
from tests.interventions.losses import text_loss
from tests.interventions.test_unlearning import assert_close
from tests.models import differing, testbed, tiny, weights

CONTEXT = Context(collection())
LR, TOKENS = 1e-3, 24
SMALL: dict[str, Any] = {
    "last_layers": 2,
    "samples": 6,
    "batch": 2,
    "epochs": 1,
    "lr": LR,
    "max_tokens": TOKENS,
    "storage": "float32",
}
FAMILY: tuple[type[ForgetRetain], ...] = (
    GradientAscentKL,
    NegativePreference,
    NegativePreferenceDescent,
    NegativePreferenceKL,
)


def test_kl_equals_torchs_on_log_probabilities() -> None:
    generator = torch.Generator().manual_seed(3)
    ours = [torch.log_softmax(3 * torch.randn(21, 11, generator=generator), -1) for _ in range(2)]
    expected = F.kl_div(ours[1], ours[0], reduction="batchmean", log_target=True)  # torch: (log q, log p)
    torch.testing.assert_close(divergences(*ours).mean(), expected, rtol=1e-6, atol=0)


def test_kl_by_hand_and_in_the_right_direction() -> None:
    p, q = torch.tensor([[0.5, 0.5], [0.9, 0.1]]), torch.tensor([[0.25, 0.75], [0.9, 0.1]])
    first = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)  # the second row adds 0, the mean is over both
    assert divergences(p.log(), q.log()).mean().item() == pytest.approx(first / 2, rel=1e-6)
    assert divergences(q.log(), p.log()).mean().item() != pytest.approx(first / 2, rel=1e-2)


def test_npo_by_hand() -> None:
    # r = (0, -2), beta = .5: -4 * (log σ(0) + log σ(1)) / 2
    expected = -2 * (math.log(0.5) + math.log(1 / (1 + math.exp(-1))))
    assert npo_loss(torch.tensor([0.0, -2.0]), 0.5).item() == pytest.approx(expected, rel=1e-6)
    assert npo_loss(torch.zeros(3), 0.1).item() == pytest.approx(20 * math.log(2), rel=1e-6)


def test_the_length_normalised_form_compares_log_probabilities_per_token() -> None:
    subject, reference = testbed(), testbed()
    drawn = NegativePreference(**SMALL)._draw(subject, CONTEXT, "forget", None)
    long, short = (drawn.items[place].text for place in (0, 1))
    places = (0, 1)
    before = Likelihoods(subject, drawn, 2, 8192)
    before.begin(())
    with torch.no_grad():
        subject.model.get_output_embeddings().weight.mul_(0.9)
        ratios = [log_prob(subject, text) - log_prob(reference, text) for text in (long, short)]
        tokens = [len(text_logits(subject, text)[1]) for text in (long, short)]
        batch = drawn.batch(places)
        part = Part(places, predict(subject, batch), Whole.of(batch), before)
        for normalised, lengths in ((False, [1, 1]), (True, tokens)):
            each = [-2 / 0.5 * F.logsigmoid(-0.5 * r / n) for r, n in zip(ratios, lengths, strict=True)]
            loss = negative_preference(part, NegativePreference(beta=0.5, length_normalised=normalised))
            torch.testing.assert_close(loss, torch.stack(each).mean())


def test_the_textbook_form_lets_go_of_a_long_document_that_the_normalised_one_still_pushes() -> None:
    # 2000 tokens, each .02 nats less likely
    ratio, per_token = (torch.tensor([value], requires_grad=True) for value in (-40.0, -0.02))
    npo_loss(ratio, 0.1).backward()
    npo_loss(per_token, 0.1).backward()
    assert ratio.grad is not None
    assert per_token.grad is not None
    assert ratio.grad.item() < 0.04
    assert per_token.grad.item() > 0.99


def test_npo_starts_as_ascent_and_lets_go() -> None:
    ratio = torch.tensor([0.0, -100.0], requires_grad=True)
    npo_loss(ratio, 0.1).backward()
    assert ratio.grad is not None
    assert ratio.grad[0].item() == pytest.approx(0.5)  # that of the mean over two sequences
    assert ratio.grad[1].item() < 1e-4


def test_at_the_reference_npos_gradient_is_that_of_the_mean_sequence_likelihood() -> None:
    subject = tiny()
    batch = encode_texts(subject.tokenizer, [document.text for document in CONTEXT.data.forget[:3]], TOKENS)
    weight = subject.model.get_output_embeddings().weight
    now = predict(subject, batch).log_probs().sum(-1)
    (npo,) = torch.autograd.grad(npo_loss(now - now.detach(), 0.1), weight, retain_graph=True)
    (ascent,) = torch.autograd.grad(now.mean(), weight)
    torch.testing.assert_close(npo, ascent, rtol=1e-4, atol=1e-7)


# whole trainings, one text at a time


def texts(part: str) -> list[str]:
    return [document.text for document in choose(CONTEXT, part, 6)[0]]


def text_logits(subject: Subject, text: str) -> tuple[Tensor, Tensor]:
    ids = torch.tensor(subject.tokenizer(text)["input_ids"][:TOKENS])
    return subject.model(input_ids=ids[None]).logits[0, :-1], ids[1:]


def log_prob(subject: Subject, text: str) -> Tensor:
    logits, ids = text_logits(subject, text)
    return -F.cross_entropy(logits, ids, reduction="sum")


def divergence(subject: Subject, reference: Subject, group: list[str]) -> Tensor:
    rows = []
    for text in group:
        with torch.no_grad():
            target = text_logits(reference, text)[0].log_softmax(-1)
        rows.append(F.kl_div(target, text_logits(subject, text)[0].log_softmax(-1), reduction="none", log_target=True))
    return torch.cat(rows).sum(-1).mean()


def forget_loss(method: type[ForgetRetain], subject: Subject, reference: Subject, group: list[str]) -> Tensor:
    if method is GradientAscentKL:
        return -text_loss(subject, group, TOKENS)
    ratios = []
    for text in group:
        with torch.no_grad():
            before = log_prob(reference, text)
        ratios.append(log_prob(subject, text) - before)
    return (-2 / 0.1 * F.logsigmoid(-0.1 * torch.stack(ratios))).mean()


def by_hand(
    loss_of: Callable[[Subject, Subject, list[str]], Tensor],
    retained: Term[Any] | None,
    subject: Subject,
    reference: Subject,
    alpha: float,
) -> None:
    """Three steps on two blocks by torch's AdamW, gradients clipped to norm 1."""
    trained = [p for index in (2, 3) for p in subject.block(index).parameters()]
    optimizer = torch.optim.AdamW(trained, lr=LR, weight_decay=0.0)
    forget, retain = texts("forget"), texts("retain")
    for start in (0, 2, 4):
        near, beside = forget[start : start + 2], retain[start : start + 2]
        loss = loss_of(subject, reference, near)
        if retained is CROSS_ENTROPY:
            loss = loss + alpha * text_loss(subject, beside, TOKENS)
        if retained is DIVERGENCE:
            loss = loss + alpha * divergence(subject, reference, beside)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()


@pytest.mark.parametrize("method", FAMILY)
def test_a_training_equals_an_independent_loop(method: type[ForgetRetain]) -> None:
    subject, reference, frozen = testbed(), testbed(), testbed()
    alpha = {} if method.retain_term is None else {"alpha": 3.0}
    receipt = subject.apply(method(**SMALL, **alpha), CONTEXT)
    assert receipt.counts["steps"] == 3
    by_hand(partial(forget_loss, method), method.retain_term, reference, frozen, 3.0)
    assert_close(subject, reference, testbed())


@pytest.mark.parametrize("trained", ["model.norm.weight", "lm_head.weight"])
def test_the_reference_stays_what_it_was_whatever_is_trained(trained: str) -> None:
    subject, before = testbed(), testbed()
    drawn = NegativePreferenceKL(**SMALL)._draw(subject, CONTEXT, "retain", None)
    reference = Distributions(subject, drawn, 2, 8192)
    reference.begin([trained])
    with torch.no_grad():
        subject.model.get_parameter(trained).mul_(3.0)  # training goes on
        for places in drawn.epochs[0]:
            texts, batch = [drawn.items[place].text for place in places], drawn.batch(places)
            part = Part(places, predict(subject, batch), Whole.of(batch), reference)
            mean = DIVERGENCE.loss(part, None)
            torch.testing.assert_close(mean, divergence(subject, before, texts), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", FAMILY)
def test_labels_never_include_padding(method: type[ForgetRetain]) -> None:
    """Texts of unequal length train as each would without padding: the loop above has none."""
    drawn = method(**SMALL)._draw(testbed(), CONTEXT, "forget", None)
    for places in drawn.epochs[0]:
        batch = drawn.batch(places)
        assert bool((batch.labels[batch.attention_mask == 0] == IGNORED).all())
        assert bool((batch.labels[batch.attention_mask == 1] != IGNORED).all())


def test_answers_alone_are_trained_on_under_loss_on_answer() -> None:
    subject = testbed()
    method = NegativePreferenceKL(**{**SMALL, "loss_on": "answer"})
    assert method.needs == {"forget_questions", "retain_questions"}
    drawn = method._draw(subject, CONTEXT, "forget", None)
    batch = drawn.batch(drawn.epochs[0][0])
    for place, labels in zip(drawn.epochs[0][0], batch.labels, strict=True):
        answer = subject.tokenizer(" " + drawn.items[place].answer, add_special_tokens=False)["input_ids"]
        assert labels[labels != IGNORED].tolist() == answer
    subject.apply(method, CONTEXT)


def test_what_is_read_follows_the_settings() -> None:
    assert NegativePreference.needs == NegativePreference().needs == {"forget"}
    assert NegativePreferenceKL().needs == {"forget", "retain"}
    assert GradientAscent(stop_recall=0.5).needs == {"forget", "forget_questions"}


def test_all_samples_and_fewer_retain_texts_start_over() -> None:
    data = CONTEXT.data
    small = Context(type(data)(forget=data.forget[:5], retain=data.retain[:2]))
    receipt = testbed().apply(NegativePreferenceKL(**{**SMALL, "samples": None}), small)
    assert receipt.counts["samples"] == 5
    assert receipt.counts["steps"] == 3


@pytest.mark.parametrize("method", FAMILY)
def test_all_parameters_train_by_default_and_bfloat16_holds_them(method: type[ForgetRetain]) -> None:
    subject = testbed()
    before = weights(subject)
    receipt = subject.apply(method.configure("muse_news", None, {"samples": 2, "epochs": 1, "lr": 1e-3}), CONTEXT)
    assert set(receipt.changed) == set(before)
    for value in subject.model.parameters():
        assert value.detach().equal(value.detach().bfloat16().float())


def test_trainings_stop_by_steps_by_loss_and_by_recall() -> None:
    every = {**SMALL, "epochs": 50, "samples": 20, "batch": 10, "lr": 1e-3}
    assert testbed().apply(GradientAscent(accumulation=1, max_steps=4, **every), CONTEXT).counts["steps"] == 4
    by_loss = testbed().apply(GradientAscent(accumulation=1, stop_loss=4.0, **every), CONTEXT)
    assert by_loss.counts["forget_loss"] >= 4.0
    assert by_loss.counts["steps"] < 40
    subject = testbed()
    method = GradientAscent(accumulation=1, stop_recall=0.5, check_every=3, loss_on="answer", **every)
    by_recall = subject.apply(method, CONTEXT)
    assert by_recall.counts["steps"] % 3 == 0
    assert by_recall.counts["steps"] < 60
    assert share_answered(subject, choose(CONTEXT, "forget_questions", 20)[0]) <= 0.5


@pytest.mark.parametrize("method", FAMILY)
def test_bad_requests_are_one_error_before_any_weight_is_touched(method: type[ForgetRetain]) -> None:
    subject = tiny()
    before = weights(subject)
    with pytest.raises(RequestError, match="layer"):
        subject.apply(method(last_layers=4), CONTEXT)
    for part in sorted(method().needs):
        lacking: dict[str, Any] = {"forget": CONTEXT.data.forget, "retain": CONTEXT.data.retain, part: ()}
        with pytest.raises(DataError, match=part):
            subject.apply(method(last_layers=1), Context(type(CONTEXT.data)(**lacking)))
    with pytest.raises(RequestError, match="no setting 'betta'"):
        method.configure("published", None, {"betta": 1})
    assert differing(subject, before) == set()


@pytest.mark.parametrize("method", FAMILY)
def test_equal_seeds_give_equal_bits_and_others_do_not(method: type[ForgetRetain]) -> None:
    first, again, other = testbed(), testbed(), testbed()
    made = method(**SMALL)
    first.apply(made, CONTEXT)
    again.apply(made, CONTEXT)
    other.apply(made, Context(CONTEXT.data, seed=1))
    assert differing(first, weights(again)) == set()
    assert differing(first, weights(other))


def test_published_weights_of_the_retain_term() -> None:
    alphas = {
        method.name: (method.configure("muse_news").alpha, method.configure("muse_books").alpha)  # type: ignore[attr-defined]
        for method in FAMILY
        if method.retain_term
    }
    assert alphas == {"ga_klr": (1, 2), "npo_gdr": (1, 300), "npo_klr": (1, 2)}
    for method in FAMILY:
        news, books = method.configure("muse_news"), method.configure("muse_books")
        assert (news.epochs, books.epochs, news.lr, news.storage, news.clip_norm) == (10, 5, 1e-5, "bfloat16", 1.0)
        assert (books.clip_norm, method().clip_norm, method().storage) == (1.0, 1.0, "bfloat16")
        assert method() == news


@pytest.mark.parametrize(
    ("method", "most_hazard", "least_utility"),
    [
        pytest.param(GradientAscentKL, 0.45, 0.9, marks=pytest.mark.slow),
        (NegativePreference, 0.55, 0.85),
        pytest.param(NegativePreferenceDescent, 0.45, 0.9, marks=pytest.mark.slow),
        pytest.param(NegativePreferenceKL, 0.45, 0.9, marks=pytest.mark.slow),  # what test_sure wraps and trains
    ],
)
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_on_the_testbed_hazard_falls_and_the_model_stays_usable(
    method: type[ForgetRetain], most_hazard: float, least_utility: float, seed: int
) -> None:
    subject, context = testbed(), Context(CONTEXT.data, seed=seed)
    subject.apply(method.configure("testbed"), context)
    hazard, utility, perplexity = (
        registry.criterion(name)().measure(subject, context).value for name in ("hazard", "utility", "perplexity")
    )
    assert hazard <= most_hazard
    assert utility >= least_utility
    assert perplexity < 10


def test_documents_without_topics_are_drawn_too() -> None:
    plain = Context(type(CONTEXT.data)(forget=tuple(Document(d.text) for d in CONTEXT.data.forget)))
    assert len(choose(plain, "forget", 7)[0]) == 7
