"""The most probable next tokens; the command line's test compares them with the model's own logits."""

from __future__ import annotations

import copy

import pytest

from rayci.errors import RequestError
from rayci.model.next_tokens import next_tokens
from tests.models import random_model, tokenizer


def test_all_tokens_make_one() -> None:
    tokens = next_tokens(random_model("llama"), tokenizer(), "It is", 10**6)
    assert sum(token.probability for token in tokens) == pytest.approx(1)
    assert [token.probability for token in tokens] == sorted((token.probability for token in tokens), reverse=True)


def test_a_prompt_without_a_token() -> None:
    plain = copy.deepcopy(tokenizer())
    plain.backend_tokenizer.post_processor = None  # no token before the text
    with pytest.raises(RequestError, match="holds no token"):
        next_tokens(random_model("llama"), plain, "", 1)
