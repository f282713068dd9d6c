"""What a model says next after every stage of a composition (as figure 3 of the workshop paper shows it)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rayci.export.building import go, position_of
from rayci.export.wanted import Wanted
from rayci.model.next_tokens import NextToken, next_tokens
from rayci.planning.plan import Stage


@dataclass(frozen=True)
class Said:
    """The most probable next tokens of one stage after one prompt."""

    stage: Stage
    prompt: str
    tokens: list[NextToken]


def inspect(wanted: Wanted, prompts: Sequence[str], top: int = 5) -> Iterator[Said]:
    """The `top` next tokens after each prompt, on the untouched model and after every step.

    Stages that a run has stored are loaded, others computed here. Raises RequestError,
    InterventionError where a step fails.
    """
    with position_of(wanted) as position:
        for stage in wanted.trial.stages[: wanted.depth + 1]:
            go(position, wanted, stage.depth)
            model, tokenizer = position.subject.model, position.subject.tokenizer
            for prompt in prompts:
                yield Said(stage, prompt, next_tokens(model, tokenizer, prompt, top))
