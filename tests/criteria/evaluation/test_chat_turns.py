"""Chat templates against transformers' own token ids."""

from __future__ import annotations

from typing import Any

import pytest

from rayci.criteria.evaluation.chat_turns import as_chat
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
