"""Fluency: how varied the words are that the model writes freely (ROME, arXiv 2202.05262, "generation entropy").

    value = mean over prompts of the n-gram entropy of what the model writes after them, in bits

see `rayci.criteria.ngram_entropy`. ROME writes 100 tokens and counts the prompt's own words too; RWKU writes 256 in the
chat template and counts, as here, the model's alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from rayci.criteria.ngram_entropy import ngram_entropy
from rayci.criteria.written_text import WrittenText
from rayci.data.records import Document
from rayci.kinds import Direction, Scale

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Fluency(WrittenText):
    """Variety of what the model writes; a model that repeats itself writes little."""

    name: ClassVar[str] = "fluency"
    item: ClassVar[str] = "prompt"
    scale: ClassVar[Scale] = Scale(Direction.HIGHER, 0.0, None, unit="bits")
    needs: ClassVar[frozenset[str]] = frozenset({"prompts"})
    part: ClassVar[str] = "prompts"

    tokens: Annotated[int, Field(ge=1)] = 100
    """Tokens that the model writes, at most."""

    def turn(self, record: Document) -> tuple[str, str]:
        return record.text, ""

    def score(self, tokenizer: PreTrainedTokenizerBase, text: str, record: Document) -> float:
        return ngram_entropy(text)
