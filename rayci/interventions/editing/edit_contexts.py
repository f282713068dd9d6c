"""Steps 1 and 2 of a closed-form editor: context templates, and the token at which a fact is looked up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from rayci.context import Context
from rayci.data.records import EditRecord
from rayci.errors import DataError, InterventionError
from rayci.model.encoding import target_ids
from rayci.subject import Subject

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

STARTS = ("The", "Therefore", "Because", "I", "You")
"""First words of the generated contexts."""
BARE = "{}"
"""The template of the bare prompt; always the first."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """Tokens of one prompt, with the model's leading special tokens."""

    ids: list[int]
    lookup: int
    """Position of the last token of the subject."""


@dataclass(frozen=True, slots=True)
class Example:
    """One edit as the model reads it."""

    prompts: tuple[Prompt, ...]
    """The edit prompt in every context template, the bare one first."""
    essence: Prompt
    """`{subject} is a`, where the model's idea of the subject must stay."""
    target: list[int]
    """Token ids of the new target, with its leading space."""


@torch.no_grad()
def generate_templates(subject: Subject, generator: torch.Generator, *, length: int, top_k: int) -> tuple[str, ...]:
    """`{}` and one `{generated text}. {}` for each of `STARTS`, sampled with the model as it is now.

    A generated text has `length` tokens, its first word included and special tokens not.
    InterventionError where the model's logits are not finite.
    """
    tokenizer = subject.tokenizer
    templates = [BARE]
    for start in STARTS:
        ids = list(tokenizer(start)["input_ids"])
        for _ in range(length - len(tokenizer(start, add_special_tokens=False)["input_ids"])):
            inputs = torch.tensor([ids], device=subject.device)
            logits = subject.model(input_ids=inputs, use_cache=False).logits[0, -1].float().cpu()
            if not bool(torch.isfinite(logits).all()):
                raise InterventionError(f"the model cannot continue {start!r}, its logits are not finite")
            top = logits.topk(min(top_k, len(logits)))
            choice = torch.multinomial(torch.softmax(top.values, dim=-1), 1, generator=generator)
            ids.append(int(top.indices[choice]))
        text = str(tokenizer.decode(ids, skip_special_tokens=True)).replace("\n\n", " ")
        templates.append(text.replace("{", " ").replace("}", " ") + ". " + BARE)
    return tuple(templates)


def lookup_prompt(tokenizer: PreTrainedTokenizerBase, text: str, end: int) -> Prompt:
    """The tokens of a text and the position of the one that holds the character before `end`.

    Where several tokens share a character (bytes of one letter), the last of them.
    """
    encoded = tokenizer(text, return_offsets_mapping=True)
    spans = encoded["offset_mapping"]
    return Prompt(list(encoded["input_ids"]), max(i for i, (left, right) in enumerate(spans) if left < end <= right))


def lost_subjects(context: Context) -> Iterator[DataError]:
    """Edits of the batch whose subject is not once in the prompt, where it is looked up."""
    source = context.data.sources.get("edits", "edits")
    for edit in context.edits if context.has("edits") else ():
        count = edit.prompt.count(edit.subject) if edit.subject else 0
        if count != 1:
            yield DataError(
                f"subject {edit.subject!r} occurs {count} times in the prompt {edit.prompt!r}",
                at=source,
                allowed="edit records whose prompt holds the subject exactly once",
            )


def encode_edit(tokenizer: PreTrainedTokenizerBase, edit: EditRecord, templates: Sequence[str]) -> Example:
    """An edit, its subject once in its prompt, in all contexts."""
    end = edit.prompt.index(edit.subject) + len(edit.subject)
    prompts = []
    for template in templates:
        before, after = template.split(BARE)
        prompts.append(lookup_prompt(tokenizer, before + edit.prompt + after, len(before) + end))
    essence = lookup_prompt(tokenizer, f"{edit.subject} is a", len(edit.subject))
    return Example(tuple(prompts), essence, target_ids(tokenizer, edit.target_new))


def encode_edits(
    tokenizer: PreTrainedTokenizerBase, edits: Sequence[EditRecord], templates: Sequence[str]
) -> list[Example]:
    """All edits of a batch; the tokenizer must map tokens to characters."""
    return [encode_edit(tokenizer, edit, templates) for edit in edits]
