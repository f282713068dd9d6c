"""Edit success without the help of the target: where the model itself must stop, or say it word by word.

Cutting a continuation to the target's length tells where the answer ends; an evaluation that does
finds 96.8 % where one that does not finds 38.5 % (arXiv 2502.11177).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rayci.criteria.editing import EditSuccess
from rayci.criteria.editing_criterion import Tokens, set_f1
from rayci.criteria.evaluation.content_tokens import content_tokens
from rayci.subject import Subject

_AT_MOST = 4
"""Times the target's length after which a continuation is cut all the same."""


class EditNaturalStop(EditSuccess):
    """F1 of all that the model says to the edit prompt, up to the end of the text, a line break or 4 targets' length.

    The token that stops it does not count.
    """

    name: ClassVar[str] = "edit_natural_stop"
    further: ClassVar[int] = 12
    """For targets of four tokens."""

    def outputs(self, subject: Subject, prompts: Sequence[str], lengths: Sequence[int]) -> list[Tokens]:
        wanted = [_AT_MOST * length for length in lengths]
        return content_tokens(subject, prompts, wanted, self.forward_tokens, one_line=True)

    def score(self, output: Tokens, targets: Sequence[Tokens]) -> float:
        """The whole continuation counts."""
        return max(set_f1(output, target) for target in targets)


class EditExactMatch(EditSuccess):
    """Share of edits whose prompt continues with exactly the tokens of the target, in their order."""

    name: ClassVar[str] = "edit_exact_match"

    def score(self, output: Tokens, targets: Sequence[Tokens]) -> float:
        """1 where the continuation begins with an answer; an answer of no content is never matched."""
        return float(any(target and output[: len(target)] == target for target in targets))
