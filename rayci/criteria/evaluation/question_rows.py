"""Questions to batches of rows: groups that begin alike, rows of like length, so many tokens at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rayci.criteria.evaluation.question_tokens import Ids, Question, QuestionTokens
from rayci.criteria.evaluation.row_batches import MOST_SCORED, shared_length
from rayci.errors import MeasurementError


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One input, the tokens of its group's prefix left out, and the options whose tokens its end predicts."""

    input: Ids
    scored: int
    """Positions at its end that predict the tokens of an option."""
    options: tuple[tuple[int, Ids], ...]
    """(place among the options of all questions, token ids) of each option: equal but for the last token."""


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Questions whose inputs begin with the same tokens."""

    prefix: Ids
    """Empty where nothing is shared."""
    questions: list[list[Row]]

    def whole(self) -> Group:
        """The same questions with the prefix in every row, for models that keep no cache of it."""
        longer = [
            [replace(row, input=np.concatenate((self.prefix, row.input))) for row in rows] for rows in self.questions
        ]
        return Group(self.prefix[:0], longer)


def groups(questions: Sequence[Question], tokens: Sequence[QuestionTokens], context_length: int) -> list[Group]:
    """All questions as rows; those without a group, or longer than the model's context, share nothing.

    An input that is too long keeps its last tokens, as in lm-eval.
    """
    members: dict[str, list[tuple[int, QuestionTokens]]] = {}
    place = 0
    for question, own in zip(questions, tokens, strict=True):
        fits = own.longest - 1 <= context_length
        members.setdefault(question.group if fits else "", []).append((place, own))
        place += len(own.options)
    return [_group(name, some, context_length) for name, some in members.items()]


def _group(name: str, members: Sequence[tuple[int, QuestionTokens]], context_length: int) -> Group:
    shared = shared_length([own.context for _, own in members]) if name else 0
    rows = [_rows(own, place, shared, context_length) for place, own in members]
    return Group(members[0][1].context[:shared], rows)


def _rows(own: QuestionTokens, place: int, shared: int, context_length: int) -> list[Row]:
    """The question's inputs; options that differ in their last token alone, as letters do, read the same one."""
    readers: dict[bytes, list[tuple[int, Ids]]] = {}
    for index, option in enumerate(own.options, start=place):
        if not 0 < len(option) <= context_length:
            raise MeasurementError(f"an option has {len(option)} tokens, and the model's context {context_length}")
        readers.setdefault(option[:-1].tobytes(), []).append((index, option))
    rows = []
    for options in readers.values():
        option = options[0][1]
        whole = np.concatenate((own.context, option[:-1]))
        rows.append(Row(whole[shared:][-context_length:], len(option), tuple(options)))
    return rows


def batches(group: Group, most_tokens: int) -> Iterator[list[Row]]:
    """Rows of like length, prefix and padding counted at most `most_tokens` together, or one row.

    The rows of a question are in one batch wherever they fit into one.
    """
    prefix, batch = len(group.prefix), list[Row]()
    for rows in sorted(group.questions, key=_width):
        for part in [rows] if _fits(rows, prefix, most_tokens) else [[row] for row in rows]:
            if batch and not _fits(batch + part, prefix, most_tokens):
                yield batch
                batch = []
            batch = batch + part
    if batch:
        yield batch


def _width(rows: Sequence[Row]) -> int:
    return max(len(row.input) for row in rows)


def _fits(rows: Sequence[Row], prefix: int, most_tokens: int) -> bool:
    few = sum(row.scored for row in rows) <= MOST_SCORED
    return few and len(rows) * (prefix + _width(rows)) <= most_tokens
