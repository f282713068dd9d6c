"""What an edit makes the model say: its target, tokenized after its prompt."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from rayci.context import Context
from rayci.data.records import EditRecord
from rayci.errors import DataError
from rayci.model.encoding import Batch, encode_targets, target_ids
from rayci.subject import Subject


def edit_target(tokenizer: PreTrainedTokenizerBase, edit: EditRecord, source: str) -> list[int]:
    """Token ids of the new target, with its leading space; DataError where there is none. `source` names the data."""
    if not edit.target_new.strip():
        raise DataError(f"the edit of {edit.prompt!r} has an empty target_new", at=source)
    return target_ids(tokenizer, edit.target_new)


def encoded_edits(subject: Subject, context: Context) -> Batch:
    """The edit batch, only the new targets' tokens being labelled; DataError where one is empty."""
    for edit in context.edits:
        edit_target(subject.tokenizer, edit, context.data.sources.get("edits", "edits"))
    return encode_targets(subject.tokenizer, [(edit.prompt, edit.target_new) for edit in context.edits])
