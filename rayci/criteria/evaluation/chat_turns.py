"""Prompts as a user's turn of a chat, up to where the model answers."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from rayci.errors import RequestError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from rayci.criteria.evaluation.question_tokens import Question


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


@lru_cache(maxsize=16)  # as long as their token ids are kept
def as_turns(tokenizer: PreTrainedTokenizerBase, questions: tuple[Question, ...], /) -> tuple[Question, ...]:
    """Each question as one user's turn; the model's turn begins with the option, without the space (lm-eval).

    A header is part of that turn, where lm-eval makes it one of the system's: not every template has that role.
    """
    return tuple(
        replace(
            question,
            context=as_chat(tokenizer, question.context),
            options=tuple(option.removeprefix(" ") for option in question.options),
        )
        for question in questions
    )
