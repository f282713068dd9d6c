"""ROUGE-L and F1 of texts against the published packages, and by hand."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest
from lm_eval.tasks.qasper.metrics import f1_abstractive
from rouge import Rouge
from rouge_score.rouge_scorer import RougeScorer

from rayci.criteria.text_overlap import answer_f1, rouge_l_f1, rouge_l_recall

WORDS = ["the", "The", "a", "old", "river", "Anna", "went", "home.", "Rowling.", "J.", "don't", "1999", "-", "at"]


def random_texts(count: int) -> list[tuple[str, str]]:
    """Pairs that share words, repeat them, and end in the middle of a sentence."""
    draw = random.Random(3)
    return [
        (
            " ".join(draw.choices(WORDS, k=1 + draw.randrange(14))),
            " ".join(draw.choices(WORDS, k=1 + draw.randrange(9))),
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize(
    ("text", "reference", "score"),
    [
        ("police killed the gunman", "police kill the gunman", 3 / 4),  # Lin 2004, section 3.1: S1 and S2
        ("the gunman kill police", "police kill the gunman", 2 / 4),  # S1 and S3
        ("Police, killed: the GUNMAN!", "police killed the gunman", 1.0),
        ("one two", "one two three four five six", 2 * 1 * (2 / 6) / (1 + 2 / 6)),
        ("", "police", 0.0),
        ("police", "…", 0.0),
    ],
)
def test_rouge_l_f1_by_hand(text: str, reference: str, score: float) -> None:
    assert rouge_l_f1(text, reference) == pytest.approx(score)


def test_rouge_l_f1_is_that_of_the_package_without_stemmer() -> None:
    scorer = RougeScorer(["rougeL"])
    for text, reference in random_texts(50):
        assert rouge_l_f1(text, reference) == scorer.score(reference, text)["rougeL"].fmeasure


@pytest.mark.parametrize(
    ("text", "reference", "recall"),
    [
        ("w1 w2 w6 w7 w8. w1 w3 w8 w9 w5", "w1 w2 w3 w4 w5", 4 / 5),  # Lin 2004, section 3.2
        ("he lives in Rome", "Rome", 1.0),
        ("he lives in rome", "Rome", 0.0),  # case counts
        ("Rome, Italy", "Rome", 0.0),  # and so does a comma
        ("new new york", "new new york", 1.0),  # a repeated word counts once
        ("york new", "new york", 1 / 2),
        ("NOANSWER", "new york", 0.0),
        ("", "new york", 0.0),
        ("new york", ".", 0.0),
    ],
)
def test_rouge_l_recall_by_hand(text: str, reference: str, recall: float) -> None:
    assert rouge_l_recall(text, reference) == pytest.approx(recall)


def test_rouge_l_recall_is_that_of_the_package() -> None:
    package = Rouge(metrics=["rouge-l"], stats=["r"])
    pairs = random_texts(500)
    expected = [package.get_scores(text, reference)[0]["rouge-l"]["r"] for text, reference in pairs]
    assert [rouge_l_recall(text, reference) for text, reference in pairs] == pytest.approx(expected)
    assert 0 < sum(expected) / len(expected) < 1


@pytest.mark.parametrize(
    ("text", "answers", "score"),
    [
        ("The Eiffel Tower!", ["eiffel tower"], 1.0),
        ("It is Paris", ["Paris", "city of light"], 2 / 4),
        ("light of the city", ["Paris", "a city of light"], 1.0),  # the best of them, in any order
        ("paris paris", ["Paris"], 2 / 3),  # bags: a second one is too many
        ("", ["Paris"], 0.0),
        ("the", ["a"], 1.0),  # nothing is left of either
    ],
)
def test_answer_f1_by_hand(text: str, answers: list[str], score: float) -> None:
    assert answer_f1(text, answers) == pytest.approx(score)


def test_answer_f1_is_squads() -> None:
    pairs = [(f"{text} river", reference) for text, reference in random_texts(500)]
    expected = [f1_abstractive([text], [reference]) for text, reference in pairs]
    assert [answer_f1(text, [reference]) for text, reference in pairs] == pytest.approx(expected)


def test_the_first_score_draws_from_no_global_stream() -> None:
    """What `rouge_score` imports draws from Python's; only a fresh process imports it for the first time."""
    asked = "import random; from rayci.criteria.text_overlap import rouge_l_f1; before = random.getstate()"
    code = f"{asked}; rouge_l_f1('a', 'a'); assert random.getstate() == before"
    subprocess.run([sys.executable, "-c", code], check=True)
