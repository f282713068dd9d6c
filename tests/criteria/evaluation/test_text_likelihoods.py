"""Likelihoods of running text from batched, chunked passes, against torch's cross-entropy of one plain pass each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CohereConfig, CohereForCausalLM, Gemma2Config, Gemma2ForCausalLM, LlamaConfig, LlamaForCausalLM

from rayci.criteria.evaluation import text_likelihoods
from rayci.criteria.evaluation.row_batches import row_batches
from rayci.criteria.evaluation.text_likelihoods import most_likely, token_log_probs
from rayci.model.module_maps import MODULE_MAPS
from rayci.subject import Subject
from rayci.testbed.tokenizer import build_tokenizer
from tests.models import ARCHITECTURES, MIXTURES, differing, tiny, weights

LENGTHS = (90, 5, 40, 1, 0, 2, 41, 64)
ENOUGH = 10_000
SMALL: dict[str, Any] = {
    "vocab_size": 1200,  # padded: the tokenizer knows 1152
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 96,
    "pad_token_id": 1,
}


def rows(vocabulary: int = 1152) -> list[text_likelihoods.Ids]:
    drawn = np.random.default_rng(0)
    return [drawn.integers(2, vocabulary, size, dtype=np.int32) for size in LENGTHS]


def around(model: Any) -> Subject:
    with torch.no_grad():
        for index, parameter in enumerate(model.parameters()):
            noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(index))
            parameter.add_(0.3 * noise)
    return Subject(model.eval(), build_tokenizer(), MODULE_MAPS["llama"])


def capped() -> Subject:
    """tanh above the output embeddings, its effect large."""
    return around(Gemma2ForCausalLM(Gemma2Config(**SMALL, final_logit_softcapping=2.0)))


def scaled() -> Subject:
    return around(CohereForCausalLM(CohereConfig(**SMALL, logit_scale=0.25)))


class _Headless(LlamaForCausalLM):
    """A model's own code that calls no output embeddings."""

    def forward(self, input_ids: Any, use_cache: bool = False) -> Any:  # type: ignore[override]
        states = self.model(input_ids=input_ids, use_cache=False).last_hidden_state
        return type("Output", (), {"logits": F.linear(states, self.lm_head.weight)})()


def headless() -> Subject:
    config = {key: value for key, value in SMALL.items() if key != "head_dim"}
    return around(_Headless(LlamaConfig(**config)))


@torch.no_grad()
def plain(subject: Subject, row: text_likelihoods.Ids) -> Tensor:
    """fp64 log-probabilities `[tokens - 1, vocabulary]` of one unpadded pass."""
    ids = torch.from_numpy(row).long()[None]
    return torch.log_softmax(subject.model(input_ids=ids).logits[0, :-1].double(), dim=-1)


def agree(subject: Subject, most: int = ENOUGH) -> None:
    given = rows()
    found, hits = token_log_probs(subject, given, most), most_likely(subject, given, most)
    assert [len(own) for own in found] == [max(0, len(row) - 1) for row in given]
    for row, own, hit in zip(given, found, hits, strict=True):
        if len(row) > 1:
            expected, following = plain(subject, row), torch.from_numpy(row[1:]).long()
            picked = expected.gather(1, following[:, None])[:, 0].numpy()
            assert own == pytest.approx(picked, abs=1e-5, rel=1e-6)
            assert hit.tolist() == (expected.argmax(-1) == following).tolist()


@pytest.mark.parametrize("kind", [*ARCHITECTURES, *MIXTURES])
def test_scores_are_those_of_plain_passes(kind: str) -> None:
    agree(tiny(kind))


@pytest.mark.parametrize("build", [capped, scaled, headless])
def test_what_a_model_does_to_its_logits_it_still_does(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_likelihoods, "MOST_SCORED", 50)
    agree(build())


@pytest.mark.parametrize(("most", "chunk"), [(1, 512), (100, 7), (ENOUGH, 1)])
def test_batches_and_chunks_of_every_size_give_the_same(most: int, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    subject, given = tiny(), rows()
    expected = np.concatenate(token_log_probs(subject, given, ENOUGH))
    monkeypatch.setattr(text_likelihoods, "MOST_SCORED", chunk)
    assert np.abs(np.concatenate(token_log_probs(subject, given, most)) - expected).max() < 1e-5


def test_no_more_than_a_chunk_is_projected_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_likelihoods, "MOST_SCORED", 32)
    subject, seen = tiny(), list[int]()
    head = subject.model.get_output_embeddings()
    assert isinstance(head, nn.Module)
    head.register_forward_hook(lambda _, given, logits: seen.append(logits[..., 0].numel()))
    token_log_probs(subject, rows(), ENOUGH)
    assert max(seen) == 32
    assert sum(seen) == sum(max(0, size - 1) for size in LENGTHS) + 1, "the pass itself projects one position"


def test_a_batch_holds_at_most_its_tokens_and_the_longest_rows_come_first() -> None:
    lengths = {place: length for place, length in enumerate(LENGTHS) if length > 1}
    assert list(row_batches(lengths, 120)) == [[0], [7], [6, 2], [1, 5]]
    assert list(row_batches(lengths, 1)) == [[0], [7], [6], [2], [1], [5]]
    assert list(row_batches({3: 2, 4: 9}, 20, {3: 8})) == [[4], [3]], "what is written after a row has its place too"
    assert list(row_batches({}, 5)) == []


def test_nan_is_said_and_not_taken_for_a_miss() -> None:
    subject = tiny()
    with torch.no_grad():
        subject.model.get_output_embeddings().weight.fill_(torch.nan)
    for score in (token_log_probs, most_likely):
        assert np.isnan(np.concatenate(score(subject, rows(), ENOUGH))).all()


def test_the_subject_is_left_as_it_was() -> None:
    for subject in (tiny(), capped()):
        before, state = weights(subject), torch.random.get_rng_state()
        token_log_probs(subject, rows(), ENOUGH)
        assert not differing(subject, before) and state.equal(torch.random.get_rng_state())
        for module in subject.model.modules():
            assert not module.training and not module._forward_pre_hooks and not module._forward_hooks
