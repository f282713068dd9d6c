"""Which questions are asked, and as what: stratified limits, and prompts as a user's turn of a chat."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from rayci.errors import RequestError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

T = TypeVar("T")


def as_chat(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """A text as one user's turn in the tokenizer's own chat template, up to where the model answers.

    A beginning-of-text token that the tokenizer puts before every text is left out of the template's
    beginning, so that the prompt is tokenized as any other and holds it once. Raises RequestError
    where the tokenizer has no chat template.
    """
    if not tokenizer.chat_template:
        raise RequestError(
            "chat = true, but the model's tokenizer has no chat template",
            hint="chat: false, or a model that was tuned for chat",
        )
    turn = [{"role": "user", "content": text}]
    prompt = str(tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True))
    begin: Any = tokenizer.bos_token
    added = begin is not None and tokenizer("")["input_ids"][:1] == [tokenizer.bos_token_id]
    return prompt.removeprefix(begin) if added else prompt


def stratified(records: Sequence[T], limit: int | None, key: Callable[[T], str]) -> tuple[T, ...]:
    """At most `limit` records in their order, every stratum's share of them as it is in the data.

    Strata are named by `key`; inside one the records are evenly spread. Nothing is drawn: the same
    records each time. All where `limit` is None.
    """
    if limit is None or limit >= len(records):
        return tuple(records)
    by_stratum = sorted(range(len(records)), key=lambda index: key(records[index]))
    return tuple(
        records[index] for index in sorted(by_stratum[place * len(records) // limit] for place in range(limit))
    )
