"""TruthfulQA, TriviaQA and AlpacaEval, and what all question sets leave out."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayci.data import collect
from rayci.data.records import Choice, Document, QuestionAnswer
from rayci.data.trivia_qa import TRIVIAQA
from rayci.errors import DataError
from tests.data import real_schemas as real
from tests.data.real_schemas import supplied


def test_truthfulqa_has_one_best_answer(tmp_path: Path) -> None:
    real.parquet(tmp_path / "multiple_choice" / "validation-00000-of-00001.parquet", real.TRUTHFULQA)
    first, _ = supplied("truthfulqa", source="truthfulqa", path=tmp_path).records
    assert first == Choice("What happens to vial 0 at night?", ("Nothing.", "It glows.", "It sings."), 0)


def test_truthfulqa_takes_the_right_answer_from_the_labels(tmp_path: Path) -> None:
    moved = real.TRUTHFULQA[0] | {"mc1_targets": {"choices": ["It glows.", "Nothing."], "labels": [0, 1]}}
    path = real.array(tmp_path / "rows.json", [moved])
    assert supplied("truthfulqa", source="truthfulqa", path=path).records[0].answer == 1


@pytest.mark.parametrize("labels", [[1, 1, 0], [0, 0, 0], [1, 0], [1, 0, "0"], [True, 2, 0]])
def test_truthfulqa_with_other_labels_is_refused(labels: list[object], tmp_path: Path) -> None:
    targets = real.TRUTHFULQA[0]["mc1_targets"] | {"labels": labels}
    path = real.array(tmp_path / "rows.json", [real.TRUTHFULQA[0] | {"mc1_targets": targets}])
    with pytest.raises(DataError, match="labels"):
        supplied("truthfulqa", source="truthfulqa", path=path)


def test_triviaqa_gives_every_answer_once_and_examples_of_its_train_split(tmp_path: Path) -> None:
    real.parquet(tmp_path / "rc.nocontext" / "validation-00000-of-00001.parquet", real.TRIVIAQA)
    examples = [real.TRIVIAQA[0] | {"question": f"Who climbed hill {number}?"} for number in range(70)]
    real.parquet(tmp_path / "rc.nocontext" / "train-00000-of-00001.parquet", examples)
    data = collect({"triviaqa": {"source": "triviaqa", "path": str(tmp_path)}}, "any")
    assert data.triviaqa == (QuestionAnswer("Who first climbed Mount Vale?", "I. Holt", ("Ina Holt", "Holt")),)
    asked = [example.prompt for example in data.shots["triviaqa"]]
    assert asked == [f"Who climbed hill {number}?" for number in range(TRIVIAQA.most_shots or 0)]


def test_triviaqa_without_answers_is_left_out(tmp_path: Path) -> None:
    unanswered = {"aliases": [], "value": "<unk>"}
    path = real.lines(tmp_path / "rows.jsonl", [*real.TRIVIAQA, real.TRIVIAQA[0] | {"answer": unanswered}])
    given = supplied("triviaqa", source="triviaqa", path=path)
    assert len(given.records) == 1 and given.left_out == {"there is no answer": 1}


def test_alpaca_eval_is_its_instructions(tmp_path: Path) -> None:
    real.array(tmp_path / "alpaca_eval.json", [*real.ALPACA_EVAL, real.ALPACA_EVAL[0] | {"instruction": ""}])
    given = supplied("prompts", source="alpaca_eval", path=tmp_path)
    assert given.records == (Document("Write of a hill."),)
    assert given.left_out == {"the instruction is empty": 1}


@pytest.mark.parametrize("name", ["wmdp", "mmlu"])
def test_a_question_with_an_empty_option_is_left_out(name: str, tmp_path: Path) -> None:
    good = real.MMLU[0]
    path = real.lines(tmp_path / "rows.jsonl", [good, good | {"choices": ["a", "", "c", "d"]}, good | {"question": ""}])
    given = supplied("hazard" if name == "wmdp" else "utility", source=name, path=path)
    assert len(given.records) == 1
    assert given.left_out == {"an option is empty": 1, "the question is empty": 1}
