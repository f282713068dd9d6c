"""What an edit makes the model say: its target, tokenized after its prompt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rayci.context import Context
from rayci.data.records import EditRecord
from rayci.errors import DataError
from rayci.model.encoding import Batch, encode_targets
from rayci.subject import Subject


def empty_targets(context: Context) -> Iterator[DataError]:
    """Edits of the batch that do not say what the model should; nothing where there is no batch."""
    source = context.data.sources.get("edits", "edits")
    for edit in context.edits if context.has("edits") else ():
        if not edit.target_new.strip():
            yield DataError(f"the edit of {edit.prompt!r} has an empty target_new", at=source)


def encoded_edits(subject: Subject, edits: Sequence[EditRecord]) -> Batch:
    """Edits, only the new targets' tokens being labelled."""
    return encode_targets(subject.tokenizer, [(edit.prompt, edit.target_new) for edit in edits])
