"""Log-likelihoods of options from shared passes, against torch's cross-entropy of one option at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers.processors import TemplateProcessing
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM

from rayci.criteria.evaluation import prefix_cache, question_tokens
from rayci.criteria.evaluation.multiple_choice import chosen, log_likelihoods, per_character
from rayci.criteria.evaluation.question_rows import batches, groups
from rayci.criteria.evaluation.question_tokens import Question, tokenised
from rayci.criteria.evaluation.row_batches import LEAST_SHARED
from rayci.errors import MeasurementError
from rayci.model import loading
from rayci.subject import Subject
from rayci.testbed.tokenizer import build_tokenizer
from tests.models import ARCHITECTURES, MIXTURES, differing, random_model, testbed, tiny, weights

SHOTS = "Where does the cat sleep? on the mat\nWho came late? the old man\nWhat is it? a river\n"
ASKED = (
    ("Where is Anna? Answer:", (" here", " the old man by the river", " x", " a cat and a dog")),
    ("Who? Answer:", (" A", " B", " C", " D")),
    ("Is it? ", ("yes", "no")),
    ("What came late, and why did it not come before? Answer:", (" nobody", " the", " the river", " z", " a b c d e")),
)
"""Options of one and of many tokens, two to five of them, and a context that ends in a space."""
QUESTIONS = (
    *(Question(SHOTS + asked, options, "shots") for asked, options in ASKED),
    *(Question(asked, options) for asked, options in ASKED),
)
ENOUGH = 10_000


def with_beginning(side: str, *, begins: bool) -> Any:
    """The testbed's tokenizer, padding on a side, with or without a token at the beginning of texts."""
    tokenizer: Any = build_tokenizer()
    tokenizer.padding_side = side
    if not begins:
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="$A")
    return tokenizer


@torch.no_grad()
def plain(subject: Subject, question: Question) -> list[float]:
    """One unpadded pass for each option, its tokens those after the context's in the whole text."""
    scores = []
    for option in question.options:
        whole = subject.tokenizer(question.context + option)["input_ids"]
        start = len(subject.tokenizer(question.context.rstrip())["input_ids"])
        logits = subject.model(input_ids=torch.tensor([whole]), use_cache=False).logits[0]
        scores.append(-float(F.cross_entropy(logits[start - 1 : -1], torch.tensor(whole[start:]), reduction="sum")))
    return scores


def agree(found: list[list[float]], expected: list[list[float]]) -> None:
    for own, other in zip(found, expected, strict=True):
        assert own == pytest.approx(other, abs=1e-5, rel=1e-6)
        assert chosen(own) == chosen(other)


@contextmanager
def inputs_seen(subject: Subject) -> Iterator[list[tuple[int, int]]]:
    """Shapes of what enters the embeddings."""
    shapes: list[tuple[int, int]] = []
    hook = subject.model.get_input_embeddings().register_forward_pre_hook(
        lambda _, given: shapes.append(tuple(given[0].shape))
    )
    try:
        yield shapes
    finally:
        hook.remove()


@pytest.mark.parametrize("kind", [*ARCHITECTURES, *MIXTURES])
def test_scores_are_those_of_plain_passes(kind: str) -> None:
    subject = tiny(kind, max_position_embeddings=256) if kind != "gpt2" else tiny(kind, n_positions=256)
    expected = [plain(subject, question) for question in QUESTIONS]
    with inputs_seen(subject) as shapes:
        agree(log_likelihoods(subject, QUESTIONS, ENOUGH), expected)
    assert shapes[0][0] == 1 and shapes[0][1] >= LEAST_SHARED, "the shared examples are computed once, on their own"
    assert len(shapes) == 3, "one pass for the examples, one for each group"


@pytest.mark.parametrize("begins", [False, True])
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_side_and_beginning_token_of_the_tokenizer(side: str, begins: bool) -> None:
    subject = loading.wrap(random_model("llama", max_position_embeddings=256), with_beginning(side, begins=begins))
    subject.tokenizer.padding_side = side
    assert (subject.tokenizer("cat")["input_ids"][0] == 0) is begins
    agree(log_likelihoods(subject, QUESTIONS, ENOUGH), [plain(subject, question) for question in QUESTIONS])


@pytest.mark.parametrize("most", [1, 150, 900])
def test_batches_of_every_size_give_the_same(most: int) -> None:
    subject = tiny(max_position_embeddings=256)
    agree(log_likelihoods(subject, QUESTIONS, most), log_likelihoods(subject, QUESTIONS, ENOUGH))


def test_a_batch_holds_at_most_its_tokens_and_questions_whole() -> None:
    asked = [*QUESTIONS] * 5
    made = groups(asked, tokenised(tiny().tokenizer, tuple(asked)), 256)
    for group in made:
        sizes = [len(rows) * (len(group.prefix) + max(len(row.input) for row in rows)) for rows in batches(group, 700)]
        assert max(sizes) <= 700 and len(sizes) > 1
        together = [{place for row in rows for place, _ in row.options} for rows in batches(group, 700)]
        for question in group.questions:
            own = {place for row in question for place, _ in row.options}
            assert sum(bool(own & places) for places in together) == 1
    assert sum(len(group.questions) for group in made) == len(asked)


def test_letters_read_one_row() -> None:
    letters = Question(*ASKED[1])
    (group,) = groups([letters], tokenised(tiny().tokenizer, (letters,)), 256)
    (rows,) = group.questions
    assert len(rows) == 1 and len(rows[0].options) == 4 and rows[0].scored == 1


def test_encodings_are_kept_for_equal_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = tiny(max_position_embeddings=256)
    asked = [Question(f"{question.context}again and", question.options) for question in QUESTIONS]
    first = log_likelihoods(subject, asked, ENOUGH)
    monkeypatch.setattr(question_tokens, "_encoded", None)
    assert log_likelihoods(subject, [Question(q.context, q.options) for q in asked], ENOUGH) == first


class _WithoutCache(LlamaForCausalLM):
    """A model's own code that knows no cache."""

    def forward(self, input_ids: Any, use_cache: bool = False) -> Any:  # type: ignore[override]
        return super().forward(input_ids=input_ids, use_cache=False)


def test_a_model_without_a_cache_reads_the_examples_with_every_question() -> None:
    cached = tiny(max_position_embeddings=256)
    config = LlamaConfig(**cached.model.config.to_dict())
    model = _WithoutCache(config)
    model.load_state_dict(cached.model.state_dict())
    subject = loading.wrap(model, build_tokenizer())
    agree(log_likelihoods(subject, QUESTIONS, ENOUGH), log_likelihoods(cached, QUESTIONS, ENOUGH))
    assert prefix_cache.prefix_cache(subject, np.arange(20, dtype=np.int32)) is None


def test_a_context_that_is_too_long_keeps_its_last_tokens() -> None:
    subject = tiny()
    limit = subject.context_length
    long = Question(SHOTS * 8 + ASKED[0][0], ASKED[0][1], "shots")
    expected = []
    for option in long.options:
        whole = subject.tokenizer(long.context + option)["input_ids"][-(limit + 1) :]
        count = len(subject.tokenizer(option, add_special_tokens=False)["input_ids"])
        with torch.no_grad():
            logits = subject.model(input_ids=torch.tensor([whole[:-1]])).logits[0, -count:]
        expected.append(-float(F.cross_entropy(logits, torch.tensor(whole[-count:]), reduction="sum")))
    agree(log_likelihoods(subject, [long], ENOUGH), [expected])


def test_an_empty_context_is_the_token_that_begins_texts() -> None:
    subject = tiny()
    begin = subject.tokenizer.bos_token_id
    begin = subject.tokenizer.eos_token_id if begin is None else begin
    option = subject.tokenizer("cat sat", add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        logits = subject.model(input_ids=torch.tensor([[begin, *option]])).logits[0, :-1]
    expected = -float(F.cross_entropy(logits, torch.tensor(option), reduction="sum"))
    assert log_likelihoods(subject, [Question("", ("cat sat",))], ENOUGH)[0] == pytest.approx([expected], abs=1e-5)


def test_an_option_without_a_token_is_refused() -> None:
    with pytest.raises(MeasurementError, match="0 tokens"):
        log_likelihoods(tiny(), [Question("Who?", (" x", ""))], ENOUGH)


def test_the_subject_is_left_as_it_was() -> None:
    subject = testbed()
    before, state = weights(subject), torch.random.get_rng_state()
    modes = [module.training for module in subject.model.modules()]
    hooks = [len(module._forward_pre_hooks) for module in subject.model.modules()]
    log_likelihoods(subject, QUESTIONS, ENOUGH)
    assert not differing(subject, before) and state.equal(torch.random.get_rng_state())
    assert modes == [module.training for module in subject.model.modules()]
    assert hooks == [len(module._forward_pre_hooks) for module in subject.model.modules()]
    assert all(parameter.grad is None for parameter in subject.model.parameters())


def test_length_is_that_of_the_option_without_its_space() -> None:
    assert per_character([-4.0, -6.0], [" ab", "abc"]) == [-2.0, -2.0]
