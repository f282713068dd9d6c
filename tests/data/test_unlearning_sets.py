"""MUSE, RWKU and TOFU: every part of each, in the hub's layout and in those of local copies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rayci.data import collect
from rayci.data.records import Choice, Document, Passage, QuestionAnswer
from rayci.errors import DataError
from tests.data import real_schemas as real
from tests.data.real_schemas import supplied

MUSE_PARTS = ("forget", "retain", "passages", "members", "holdout", "forget_questions", "retain_questions")


@pytest.mark.parametrize("folder", ["", "news", "data/news", "data/bbc"])
def test_muse_gives_what_to_unlearn_and_what_to_measure_it_on(folder: str, tmp_path: Path) -> None:
    older = folder.endswith("bbc")
    real.muse(tmp_path / folder, older=older, texts=older)
    data = collect({part: {"source": "muse_news", "path": str(tmp_path)} for part in MUSE_PARTS}, "any")
    assert data.forget == (Document("A week of snow."),) and data.retain == (Document("A week of rain."),)
    assert data.passages == (Passage("The hut of the north", " was closed for a week."),)
    assert data.members == (Document("It snowed.", "news"),) and data.holdout == (Passage("", "It thawed."),)
    assert data.forget_questions[0] == QuestionAnswer("Who keeps hut 0?", "Per 0")
    assert len(data.forget_questions) == 3 and len(data.retain_questions) == 2
    shots = {part: len(few) for part, few in data.shots.items()}
    assert shots == {"forget_questions": 10, "retain_questions": 4}
    assert data.shots["forget_questions"][9] == QuestionAnswer("Who kept hut 9?", "Una 9")


def test_muse_of_the_hub_is_parquet_and_its_older_name_does_not_hide_the_newer(tmp_path: Path) -> None:
    for name, rows in {"retain_qa": real.MUSE_QA, "retain2_qa": real.MUSE_QA[:1]}.items():
        real.parquet(tmp_path / "knowmem" / f"{name}-00000-of-00001.parquet", rows)
    assert len(supplied("retain_questions", source="muse_books", path=tmp_path).records) == 3


def test_muse_scales_its_news_alone(tmp_path: Path) -> None:
    real.array(tmp_path / "scal" / "forget_3.json", ["One.", "Two."])
    assert len(supplied("forget", source="muse_news", path=tmp_path, split="scal/forget_3").records) == 2
    with pytest.raises(DataError, match="no split"):
        supplied("forget", source="muse_books", path=tmp_path, split="scal/forget_3")


def rwku(root: Path, *people: str, each: bool = False) -> Path:
    """All people in one file a set, as on the hub, or a folder for each, as in the authors' copy."""
    for stem, rows in real.RWKU.items():
        for number, subject in enumerate(people, 1):
            if each:
                real.array(root / "Target" / f"{number}_{subject.replace(' ', '_')}" / f"{stem}.json", rows(subject))
        if not each:
            real.array(root / "All" / f"{stem}.json", [row for subject in people for row in rows(subject)])
    return root


@pytest.mark.parametrize("place", ["", "Target", None])
def test_rwku_forgets_the_people_who_are_named(place: str | None, tmp_path: Path) -> None:
    root = rwku(tmp_path, "Ina Holt", "Per Aas", each=place is not None) / (place or "")

    def given(part: str, **more: Any) -> tuple[Any, ...]:
        return supplied(part, source="rwku", path=root, **more).records

    assert given("forget") == tuple(Document(f"{who} was born on a hill.", who) for who in ("Ina Holt", "Per Aas"))
    assert given("members", topics=["Per Aas"]) == (Document("Per Aas sang.", "Per Aas"),)
    probes = given("forget_questions", topics=["Ina Holt"])
    assert [probe.kind for probe in probes] == ["fill_in_blank", "question", "adversarial"]
    assert probes[0] == QuestionAnswer("Ina Holt wrote ___.", "1 songs", (), "fill_in_blank")
    assert [probe.kind for probe in given("forget_questions", split="forget_level3")] == ["adversarial"] * 2
    own_forms = [real.rwku_probe("Ina Holt", "3", kind) for kind in ("incontext learning", "affirmative suffix")]
    file = real.array(tmp_path / "forget_level3.json", own_forms)
    kinds = [probe.kind for probe in supplied("forget_questions", source="rwku", path=file).records]
    assert kinds == ["adversarial in context", "adversarial suffix"]
    assert [probe.kind for probe in given("retain_questions")] == ["fill_in_blank"] * 2 + ["question"] * 2


def test_rwku_measures_utility_in_four_ways(tmp_path: Path) -> None:
    root = rwku(tmp_path, "Ina Holt")
    parts = ("utility", "truthfulqa", "triviaqa", "prompts")
    records = {part: supplied(part, source="rwku", path=root).records[0] for part in parts}
    assert isinstance(records["utility"], Choice) and records["utility"].subject == "abstract algebra"
    assert records["truthfulqa"].answer == 0
    assert records["triviaqa"] == QuestionAnswer("Who climbed it?", "Holt", ("Ina",))
    assert records["prompts"] == Document("Write of a hill.", "Ina Holt")


def test_rwku_of_one_person_is_a_folder(tmp_path: Path) -> None:
    root = rwku(tmp_path, "Ina Holt", "Per Aas", each=True) / "Target" / "2_Per_Aas"
    assert [document.topic for document in supplied("forget", source="rwku", path=root).records] == ["Per Aas"]


def test_rwku_says_who_is_not_in_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no record on Una Lind"):
        supplied("forget", source="rwku", path=rwku(tmp_path, "Ina Holt"), topics=["Una Lind"])


def test_tofu_is_forgotten_as_text_and_asked_for_as_questions(tmp_path: Path) -> None:
    for name in ("forget10", "retain90", "forget01"):
        real.lines(tmp_path / f"{name}.json", real.TOFU)
    real.lines(tmp_path / "retain_perturbed.json", real.TOFU_PERTURBED)
    text = "Question: Where was Jo Berg born?\nAnswer: Jo Berg was born in Lund."
    asked = QuestionAnswer("Where was Jo Berg born?", "Jo Berg was born in Lund.")
    for part, record in {"forget": Document(text), "retain": Document(text), "retain_questions": asked}.items():
        assert supplied(part, source="tofu", path=tmp_path).records == (record,)
    for split in ("forget01", "retain_perturbed"):
        assert supplied("forget_questions", source="tofu", path=tmp_path, split=split).records == (asked,)
