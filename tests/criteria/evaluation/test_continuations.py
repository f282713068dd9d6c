"""Greedy continuations of batches against `generate` on one prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM
from transformers.cache_utils import DynamicLayer

from rayci.criteria.evaluation import continuations as engine
from rayci.criteria.evaluation import likeliest
from rayci.criteria.evaluation.continuations import continuations
from rayci.criteria.evaluation.prompts import Prompt, batches, encoded, fitted
from rayci.criteria.evaluation.roomy_cache import RoomyLayer
from rayci.criteria.evaluation.row_batches import LEAST_SHARED
from rayci.errors import MeasurementError
from rayci.model import loading
from rayci.subject import Subject
from rayci.testbed.tokenizer import build_tokenizer
from tests.criteria.evaluation.test_multiple_choice import SHOTS, inputs_seen, with_beginning
from tests.models import ARCHITECTURES, differing, random_model, testbed, tiny, weights

ENOUGH = 10_000
ASKED = (
    "Who?",
    "Where is Anna? Answer:",
    "What came late, and why did it not come before? Answer:",
    "the",
    "Is it a cat",
)
TEXTS = (*(SHOTS + text for text in ASKED), *ASKED, SHOTS * 2)


def prompts(subject: Subject, most: int = 12) -> list[Prompt]:
    """Some with shared examples, some without, of 1 to 12 new tokens each."""
    groups = ["shots"] * len(ASKED) + [""] * len(ASKED) + ["shots"]
    lengths = [1 + (7 * place) % most for place in range(len(TEXTS))]
    rows = zip(encoded(subject.tokenizer, TEXTS), lengths, groups, strict=True)
    return [Prompt(ids, length, lambda new: False, group) for ids, length, group in rows]


def one_by_one(subject: Subject, asked: Sequence[Prompt]) -> list[list[int]]:
    generate: Any = subject.model.generate
    end = subject.tokenizer.eos_token_id
    found = []
    for prompt in asked:
        ids = torch.tensor([prompt.ids.tolist()])
        output = generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=prompt.most, do_sample=False,
            eos_token_id=end, pad_token_id=1,
        )  # fmt: skip
        new = output[0, ids.shape[1] :].tolist()
        found.append(new[: new.index(end)] if end in new else new)
    return found


def longer(kind: str, **settings: Any) -> Subject:
    """A tiny model whose context has room for the examples."""
    return tiny(kind, **{"n_positions" if kind == "gpt2" else "max_position_embeddings": 256}, **settings)


@pytest.mark.parametrize("kind", [*ARCHITECTURES, "mixtral"])
def test_tokens_are_those_of_generate(kind: str) -> None:
    subject = longer(kind)
    asked = prompts(subject)
    expected = one_by_one(subject, asked)
    assert len({tuple(row) for row in expected}) > 5, "the model says different things"
    for most in (1, ENOUGH):
        assert continuations(subject, asked, most) == expected


@pytest.mark.parametrize("begins", [False, True])
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_side_and_beginning_token_of_the_tokenizer(side: str, begins: bool) -> None:
    subject = loading.wrap(random_model("llama", max_position_embeddings=256), with_beginning(side, begins=begins))
    subject.tokenizer.padding_side = side
    asked = prompts(subject)
    assert bool(asked[0].ids[0] == 0) is begins
    assert continuations(subject, asked, ENOUGH) == one_by_one(subject, asked)


@pytest.mark.parametrize(("most", "passes"), [(300, 2), (ENOUGH, 1)])
def test_shared_beginnings_are_computed_once_for_all_batches(most: int, passes: int) -> None:
    subject = longer("llama")
    asked = prompts(subject)[: len(ASKED)]
    with inputs_seen(subject) as shapes:
        continuations(subject, asked, most)
    _, beginning, *later = shapes  # the first looks for the cache
    assert beginning[0] == 1 and beginning[1] >= LEAST_SHARED
    own = [tokens for _, tokens in later if tokens > 1]
    assert len(own) == passes
    assert max(own) < beginning[1]


def test_a_window_that_dropped_the_examples_reads_them_with_every_prompt() -> None:
    narrow, wide = longer("mistral", sliding_window=8), longer("mistral", sliding_window=200)
    for subject in (narrow, wide):
        asked = prompts(subject)
        assert continuations(subject, asked, ENOUGH) == one_by_one(subject, asked)


def test_a_roomy_layer_holds_what_a_growing_one_does_and_copies_nothing() -> None:
    roomy, growing = RoomyLayer(8), DynamicLayer()  # type: ignore[no-untyped-call]
    places = set()
    for tokens in (3, 1, 1):
        states = torch.randn(4, 2, tokens, 5), torch.randn(4, 2, tokens, 6)
        for own, other in zip(roomy.update(*states), growing.update(*states), strict=True):
            assert own.equal(other)
        places.add(roomy.update(states[0][:, :, :0], states[1][:, :, :0])[0].data_ptr())
    assert len(places) == 1
    chosen = torch.tensor([2, 0])
    for layer in (roomy, growing):
        layer.batch_select_indices(chosen)
    assert roomy.get_seq_length() == 5 and torch.equal(roomy.values, growing.values)  # type: ignore[arg-type]


def test_rows_leave_the_batch_when_they_are_complete() -> None:
    subject = tiny()
    (ids,) = encoded(subject.tokenizer, ["the cat"])
    asked = [Prompt(ids, 9, lambda new, own=own: len(new) == own) for own in (1, 4, 4, 9)]  # type: ignore[misc]
    with inputs_seen(subject) as shapes:
        found = continuations(subject, asked, ENOUGH)
    assert list(map(len, found)) == [1, 4, 4, 9]
    assert [rows for rows, _ in shapes[1:]] == [4] + [3] * 3 + [1] * 5


def test_a_batch_holds_at_most_its_tokens() -> None:
    asked = prompts(longer("llama"))
    sizes = []
    every = range(len(asked))
    for places in batches(asked, every, 200):
        rows = [asked[place] for place in places]
        sizes.append(len(rows) * (max(len(row.ids) for row in rows) + max(row.most for row in rows)))
    assert max(sizes) <= 200 and len(sizes) > 3
    assert sorted(place for places in batches(asked, every, 200) for place in places) == list(every)


def test_a_prompt_beyond_the_context_keeps_its_last_tokens() -> None:
    subject = tiny()
    long = prompts(subject)[-1]
    assert len(long.ids) + long.most > subject.context_length
    kept = fitted(long, subject.context_length)
    assert kept.ids.tolist() == long.ids[long.most - subject.context_length :].tolist() and not kept.group
    assert continuations(subject, [long], ENOUGH) == one_by_one(subject, [kept])
    with pytest.raises(MeasurementError, match="no room"):
        fitted(Prompt(long.ids, subject.context_length, long.enough), subject.context_length)


class _WithoutCache(LlamaForCausalLM):
    """A model's own code that knows no cache."""

    def forward(self, input_ids: Any, attention_mask: Any = None, position_ids: Any = None, **_: Any) -> Any:  # type: ignore[override]
        known: dict[str, Any] = {"attention_mask": attention_mask, "position_ids": position_ids}
        return super().forward(input_ids=input_ids, **known, use_cache=False)


def test_models_without_a_cache_are_left_to_generate() -> None:
    cached = longer("llama")
    model = _WithoutCache(LlamaConfig(**cached.model.config.to_dict()))
    model.load_state_dict(cached.model.state_dict())
    subject = loading.wrap(model, build_tokenizer())
    asked = prompts(subject)
    assert continuations(subject, asked, ENOUGH) == one_by_one(cached, asked)
    with torch.no_grad():
        model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(MeasurementError, match="NaN"):
        continuations(subject, asked, ENOUGH)


def tied(prompt: Prompt, seed: int) -> Subject:
    """A model whose two likeliest tokens after a prompt differ by what rounding makes of zero."""
    subject = longer("llama")
    with torch.no_grad():
        output = subject.model(input_ids=torch.tensor([prompt.ids.tolist()]), output_hidden_states=True)
        state = output.hidden_states[-1][0, -1].double()
        first, second = output.logits[0, -1].topk(2).indices.tolist()
        apart = torch.randn(len(state), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        apart -= (apart @ state) / (state @ state) * state
        head: Any = subject.model.get_output_embeddings().weight
        head[second] = (head[first].double() + apart).float()
    return subject


def test_near_ties_are_decided_by_the_row_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = prompts(longer("llama"), most=1)
    subjects = [tied(asked[1], seed) for seed in range(4)]

    def first_tokens() -> list[set[int]]:
        sizes = (1, 300, ENOUGH)
        return [{continuations(subject, asked, most)[1][0] for most in sizes} for subject in subjects]

    assert first_tokens() == [{one_by_one(subject, asked[1:2])[0][0]} for subject in subjects]
    monkeypatch.setattr(likeliest, "_NOISE", {torch.float32: -1.0})
    assert any(len(tokens) > 1 for tokens in first_tokens()), "batches turn such ties"


@pytest.mark.parametrize(
    "settings",
    [
        {"repetition_penalty": 5.0},
        {"suppress_tokens": list(range(2, 600))},
        {"min_new_tokens": 12, "no_repeat_ngram_size": 1},
        {"num_beams": 3, "length_penalty": 3.0},
        {"eos_token_id": list(range(2, 600))},
        {"do_sample": True, "temperature": 9.0},
    ],
)
@pytest.mark.parametrize("own_code", [False, True])
def test_the_generation_config_of_the_folder_is_not_read(
    settings: dict[str, Any], own_code: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = longer("llama")
    if own_code:
        monkeypatch.setattr(engine, "prefix_cache", lambda subject, prefix: None)
    asked = prompts(subject)[5:9]
    plain = continuations(subject, asked, ENOUGH)
    subject.model.generation_config = theirs = GenerationConfig(pad_token_id=1, **settings)
    assert continuations(subject, asked, ENOUGH) == plain
    assert subject.model.generation_config is theirs


def test_nan_is_refused() -> None:
    subject = tiny()
    with torch.no_grad():
        subject.model.get_output_embeddings().weight[3] = float("nan")  # type: ignore[index]
    with pytest.raises(MeasurementError, match="NaN"):
        continuations(subject, prompts(subject)[5:6], ENOUGH)


def test_the_subject_is_left_as_it_was() -> None:
    subject = testbed()
    before, state = weights(subject), torch.random.get_rng_state()
    hooks = [len(module._forward_pre_hooks) for module in subject.model.modules()]
    continuations(subject, prompts(subject), ENOUGH)
    assert not differing(subject, before) and state.equal(torch.random.get_rng_state())
    assert hooks == [len(module._forward_pre_hooks) for module in subject.model.modules()]


def test_prompts_begin_with_the_beginning_token_once() -> None:
    tokenizer: Any = build_tokenizer()
    plain, chat, nothing = encoded(tokenizer, ["the cat", f"{tokenizer.bos_token}the cat", ""])
    assert plain[0] == 0 and plain[1] != 0
    assert plain.tolist() == chat.tolist()
    assert nothing.tolist() == [0]
