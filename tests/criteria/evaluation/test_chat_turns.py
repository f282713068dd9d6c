"""Chat templates against transformers' own token ids; strata against counts by hand."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from rayci.criteria.evaluation.prompting import as_chat, stratified
from rayci.errors import RequestError
from tests.criteria.evaluation.test_multiple_choice import with_beginning

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<{{ m.role }}> {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.mark.parametrize("begins", [True, False])
def test_a_chat_prompt_has_the_tokens_of_transformers_own(begins: bool) -> None:
    tokenizer: Any = with_beginning("left", begins=begins)
    tokenizer.chat_template = TEMPLATE
    turn = [{"role": "user", "content": "Where is Anna?"}]
    own = tokenizer.apply_chat_template(turn, add_generation_prompt=True, return_dict=False)
    prompt = as_chat(tokenizer, "Where is Anna?")
    assert tokenizer(prompt)["input_ids"] == own
    assert own[:2].count(tokenizer.bos_token_id) == 1, "the template begins with it once"
    assert prompt.endswith("<user> Where is Anna?\n<assistant>")


def test_a_tokenizer_without_a_template_is_told() -> None:
    with pytest.raises(RequestError, match="no chat template"):
        as_chat(with_beginning("left", begins=True), "Where?")


def test_every_stratum_keeps_its_share() -> None:
    records = [("b", number) for number in range(60)] + [("a", number) for number in range(30)] + [("b", 60)] * 10
    chosen = stratified(records, 20, lambda record: record[0])
    assert Counter(name for name, _ in chosen) == {"a": 6, "b": 14}
    assert list(chosen) == sorted(chosen, key=records.index), "in the order of the data"
    assert max(number for name, number in chosen if name == "a") > 20, "spread, not the first"


@pytest.mark.parametrize(("limit", "count"), [(None, 7), (7, 7), (100, 7), (1, 1), (5, 5)])
def test_a_limit_is_the_number_of_records(limit: int | None, count: int) -> None:
    records = list(range(7))
    chosen = stratified(records, limit, lambda record: str(record % 3))
    assert len(set(chosen)) == len(chosen) == count
