"""TriviaQA: trivia questions with all that counts as their answer (arXiv 1705.03551), without the texts to read.

The answer is the first alias, which few-shot prompts show as lm-eval's do; the others are aliases.
The test split has no answers.
"""

from __future__ import annotations

from typing import Any

from rayci.data.data_set import Content, DataSet, layout
from rayci.data.fields import any_text, any_texts, field
from rayci.data.question_texts import question_answer
from rayci.data.records import QuestionAnswer

_MOST_SHOTS = 64


def _read(row: Any, content: Content, part: str) -> QuestionAnswer:
    answer = field(row, "answer")
    aliases = any_texts(field(answer, "aliases"), "answer.aliases")
    # Where there are no aliases, `value` is a sign for "unknown" and no answer.
    return question_answer(any_text(row, "question"), (*aliases, any_text(answer, "value")) if aliases else ())


TRIVIAQA = DataSet(
    name="triviaqa",
    licence="none named",
    repository="mandarjoshi/trivia_qa",
    fetch="the folder rc.nocontext of mandarjoshi/trivia_qa",
    parts={"triviaqa": "validation", "finetune_questions": "train"},
    splits={split: (Content(layout(f"rc.nocontext/{split}", split)),) for split in ("validation", "train")},
    read=_read,
    shots={"triviaqa": "train"},
    most_shots=_MOST_SHOTS,
)
