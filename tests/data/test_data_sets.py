"""Every data set of the catalogue, from files in its own schema to records; and the traps of each."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import pyarrow as pa
import pytest

from rayci.data import collect
from rayci.data.mmlu import TOPIC_OF
from rayci.data.records import Document, Passage, QuestionAnswer
from tests.data import real_schemas as real
from tests.data.real_schemas import supplied


def test_zsre_edits_what_can_be_edited_and_counts_the_rest(tmp_path: Path) -> None:
    real.array(tmp_path / "zsre_mend_eval.json", real.ZSRE)
    given = supplied("edits", source="zsre", path=tmp_path)
    (edit,) = given.records
    assert (edit.subject, edit.prompt) == ("Mount Vale", "Which river rises at Mount Vale?")
    assert (edit.target_new, edit.ground_truth) == ("the Tiss", "the Orn")  # without the blank that `alt` begins with
    assert edit.rephrases == ("What river has its source at Mount Vale?",)
    assert edit.locality == (QuestionAnswer("who painted the blue door", "Ina Holt"),)  # without "nq question:"
    assert given.left_out == {"the target is empty": 1, "the subject is not exactly once in the prompt": 1}


def test_zsre_train_is_another_file(tmp_path: Path) -> None:
    real.array(tmp_path / "zsre_mend_eval.json", real.ZSRE)
    real.array(tmp_path / "zsre_mend_train.json", [{**real.ZSRE[0], "alt": "the Mar"}])
    assert supplied("edits", source="zsre", path=tmp_path, split="train").records[0].target_new == "the Mar"
    assert supplied("edits", source="zsre", path=tmp_path).records[0].target_new == "the Tiss"


def test_zsre_in_the_form_of_knowedit(tmp_path: Path) -> None:
    path = real.array(tmp_path / "benchmark" / "ZsRE" / "ZsRE-test-all.json", real.KNOWEDIT)
    (edit,) = supplied("edits", source="zsre", path=tmp_path).records
    assert (edit.target_new, edit.ground_truth, edit.locality[0].answer) == ("the Tiss", "the Orn", "Ina Holt")
    assert supplied("edits", source="zsre", path=path).records == (edit,)
    assert edit.portability == (
        QuestionAnswer("Where does that river end?", "the Gulf", ("Gulf",), "Reasoning"),
        QuestionAnswer("Which river rises at Vale Hill?", "the Tiss", (), "Subject_Aliasing"),
    )


def test_knowedit_may_lack_all_that_is_not_the_edit(tmp_path: Path) -> None:
    bare = {key: real.KNOWEDIT[0][key] for key in ("subject", "prompt", "target_new")}
    (edit,) = supplied("edits", source="zsre", path=real.array(tmp_path / "rows.json", [bare])).records
    assert (edit.ground_truth, edit.locality, edit.portability) == ("", (), ())


def test_zsre_asks_for_one_relation_more_in_a_file_of_its_own(tmp_path: Path) -> None:
    real.array(tmp_path / "zsre_mend_eval.json", real.ZSRE)
    real.array(tmp_path / "portability" / "One Hop" / "zsre_mend_eval_portability_gpt4.json", real.ZSRE_PORTABILITY)
    (edit,) = supplied("edits", source="zsre", path=tmp_path, split="portability").records
    asked = "Where does the river that rises at Mount Vale end?"
    assert edit.portability == (QuestionAnswer(asked, "the Gulf"),)
    assert supplied("edits", source="zsre", path=tmp_path).records[0].portability == ()


@pytest.mark.parametrize("field", ["subject", "src", "alt"])
def test_zsre_leaves_out_what_lacks_a_text(field: str, tmp_path: Path) -> None:
    path = real.array(tmp_path / "zsre.json", [real.ZSRE[0], real.ZSRE[0] | {field: " "}])
    given = supplied("edits", source="zsre", path=path)
    assert len(given.records) == 1 and sum(given.left_out.values()) == 1


def test_zsre_without_a_rephrase_is_an_edit_still(tmp_path: Path) -> None:
    path = real.array(tmp_path / "zsre.json", [real.ZSRE[0] | {"rephrase": ""}])
    assert supplied("edits", source="zsre", path=path).records[0].rephrases == ()


@pytest.mark.parametrize("flat", [False, True])
def test_counterfact_in_both_forms(flat: bool, tmp_path: Path) -> None:
    path = real.array(tmp_path / "counterfact.json", real.COUNTERFACT_FLAT if flat else real.COUNTERFACT)
    (edit,) = supplied("edits", source="counterfact", path=path).records
    assert edit.prompt == "Ina Holt was born in"
    assert (edit.target_new, edit.ground_truth) == ("Oslo", "Bern")
    assert len(edit.rephrases) == len(edit.locality) == (1 if flat else 2)
    assert edit.locality[0] == QuestionAnswer("Per Aas was born in", "Bern")
    assert edit.portability == ()


def test_counterfact_asks_for_one_relation_more_in_a_file_of_its_own(tmp_path: Path) -> None:
    asked = {"Recalled Relation": "(Oslo, country, Norway)", "New Question": "Where is it?", "New Answer": "Norway"}
    row = {"case_id": 0, "requested_rewrite": real.COUNTERFACT[0]["requested_rewrite"], "portability": asked}
    real.array(tmp_path / "portability" / "One Hop" / "counterfact_portability_gpt4.json", [row])
    (edit,) = supplied("edits", source="counterfact", path=tmp_path, split="portability").records
    assert (edit.portability, edit.locality) == ((QuestionAnswer("Where is it?", "Norway"),), ())


def test_editing_sets_lie_in_folders_of_their_own(tmp_path: Path) -> None:
    files = {"zsre/zsre_mend_eval.json": real.ZSRE, "counterfact/counterfact-train.json": real.COUNTERFACT_FLAT}
    for name, rows in {**files, "MQuAKE/MQuAKE-CF-3k-v2.json": real.MQUAKE}.items():
        real.array(tmp_path / name, rows)
    for source in ("zsre", "counterfact", "mquake"):
        assert len(supplied("edits", source=source, path=tmp_path).records) == 1


def test_counterfact_of_the_hub_is_parquet(tmp_path: Path) -> None:
    real.parquet(tmp_path / "data" / "train-00000-of-00001.parquet", real.COUNTERFACT)
    assert supplied("edits", source="counterfact", path=tmp_path).records[0].target_new == "Oslo"


def test_mquake_never_takes_the_old_fact_for_locality(tmp_path: Path) -> None:
    real.array(tmp_path / "MQuAKE-CF-3k-v2.json", real.MQUAKE)
    given = supplied("edits", source="mquake", path=tmp_path)
    (edit,) = given.records
    assert (edit.prompt, edit.target_new) == ("Per Aas plays the", "harp")
    assert edit.locality == (QuestionAnswer("The flute was made in", "Rome"),)
    assert given.left_out == {"it edits several facts at once": 1}
    asked = QuestionAnswer("Where was what Per Aas plays made?", "Lund", ("Lund city",))
    assert edit.portability == (asked,) * 3


def test_wmdp_asks_about_biology_and_cybersecurity_unless_told_otherwise(tmp_path: Path) -> None:
    for topic in ("bio", "cyber", "chem"):
        rows = [real.question(topic, number) for number in range(3)]
        real.parquet(tmp_path / f"wmdp-{topic}" / "test-00000-of-00001.parquet", rows)
    records = supplied("hazard", source="wmdp", path=tmp_path).records
    assert [record.topic for record in records] == ["bio"] * 3 + ["cyber"] * 3
    assert records[0].subject == "biology" and records[1].answer == 1
    chemistry = supplied("hazard", source="wmdp", path=tmp_path, topics=["chem"]).records
    assert {record.subject for record in chemistry} == {"chemistry"}


def test_wmdp_corpora_come_as_objects_strings_and_plain_lines(tmp_path: Path) -> None:
    real.lines(tmp_path / "bio_remove_dataset.jsonl", [{"title": "t", "text": "One.\u2028Two."}, {"text": ""}])
    real.lines(tmp_path / "cyber-forget-corpus.jsonl", ['"a string"', "a plain line", '{"text": "an object"}'])
    given = supplied("forget", source="wmdp_corpora", path=tmp_path)
    texts = [(record.topic, record.text) for record in given.records]
    cyber = [("cyber", "a string"), ("cyber", "a plain line"), ("cyber", "an object")]
    assert texts == [("bio", "One.\u2028Two."), *cyber]
    assert given.left_out == {"the text is empty": 1}


def test_mmlu_knows_subject_and_topic_and_spreads_its_limit(tmp_path: Path) -> None:
    real.parquet(tmp_path / "all" / "test-00000-of-00001.parquet", real.MMLU)
    records = supplied("utility", source="mmlu", path=tmp_path, limit=3).records
    assert [record.subject for record in records] == ["abstract algebra", "us foreign policy", "virology"]
    assert [record.topic for record in records] == ["stem", "social sciences", "other"]
    stem = supplied("utility", source="mmlu", path=tmp_path, topics=["stem"]).records
    assert {record.subject for record in stem} == {"abstract algebra"} and len(stem) == 4


def test_mmlu_has_57_subjects_in_four_topics() -> None:
    sizes = [list(TOPIC_OF.values()).count(topic) for topic in ("stem", "other", "social sciences", "humanities")]
    assert sizes == [19, 13, 12, 13] and len(TOPIC_OF) == 57


def test_examples_of_mmlu_stand_in_the_order_of_its_dev_split(tmp_path: Path) -> None:
    real.parquet(tmp_path / "all" / "test-00000-of-00001.parquet", real.MMLU[:1])
    dev = [real.question("dev", number, subject="virology") for number in (3, 1, 2, 0, 4)]
    real.parquet(tmp_path / "all" / "dev-00000-of-00001.parquet", dev)
    shots = collect({"utility": {"source": "mmlu", "path": str(tmp_path)}}, "any").shots["utility"]
    assert [(shot.question.split()[-1], shot.subject) for shot in shots] == [
        (f"{n}?", "virology") for n in (3, 1, 2, 0, 4)
    ]


def test_the_pile_is_packed_and_wikipedia_has_titles(tmp_path: Path) -> None:
    with pa.CompressedOutputStream(str(tmp_path / "val.jsonl.zst"), "zstd") as packed:
        packed.write(b"".join(b'{"text": "Page %d.", "meta": {"pile_set_name": "a"}}\n' % n for n in range(4)))
    given = supplied("calibration", source="pile", path=tmp_path, limit=3)
    assert [record.text for record in given.records] == ["Page 0.", "Page 1.", "Page 2."]
    page = {"id": "1", "url": "http://a.b", "title": "Vale", "text": "Vale is a hill."}
    real.parquet(tmp_path / "20231101.en" / "train-00000-of-00041.parquet", [page])
    assert supplied("covariance_text", source="wikipedia", path=tmp_path).records == (Document("Vale is a hill."),)


def test_wikitext_keeps_empty_rows_where_perplexity_is_measured_alone(tmp_path: Path) -> None:
    for split in ("train", "test"):
        rows = [{"text": text} for text in real.WIKITEXT]
        real.parquet(tmp_path / "wikitext-2-raw-v1" / f"{split}-00000-of-00001.parquet", rows)
    texts = {
        part: [record.text for record in supplied(part, source="wikitext2", path=tmp_path).records]
        for part in ("evaluation", "wikitext", "calibration", "retain", "finetune")
    }
    assert texts["evaluation"] == texts["wikitext"] == real.WIKITEXT
    assert texts["calibration"] == [text for text in real.WIKITEXT if text]
    assert (
        texts["finetune"] == texts["retain"] == real.WIKITEXT[3:5]
    )  # headings are the same in all splits: no leak, and no lesson


def test_the_raw_file_of_wikitext_gives_the_hubs_rows(tmp_path: Path) -> None:
    quoted = ' " Ruler of the Hill " is a song of 1923 . \n'
    lines = [text or " \n" for text in (*real.WIKITEXT, quoted)]
    (tmp_path / "wiki.test.raw").write_text("".join(lines))
    for part in ("wikitext", "evaluation"):
        rows = [record.text for record in supplied(part, source="wikitext2", path=tmp_path).records]
        assert rows == [*real.WIKITEXT, quoted]


@pytest.mark.parametrize("base", ["", "all/"])
def test_what_datasets_saved_to_disk_is_read(base: str, tmp_path: Path) -> None:
    for split, rows in {"test": real.MMLU, "dev": real.MMLU[:2]}.items():
        datasets.Dataset.from_list(rows).save_to_disk(tmp_path / f"{base}{split}")
    data = collect({"utility": {"source": "mmlu", "path": str(tmp_path)}}, "any")
    assert len(data.utility) == len(real.MMLU) and len(data.shots["utility"]) == 2


def test_c4_streams_its_first_documents(tmp_path: Path) -> None:
    rows = [{"text": f"Page {n}.", "timestamp": "2019-04-25T12:57:54Z", "url": "http://a.b"} for n in range(5)]
    file = real.lines(tmp_path / "en" / "c4-train.00000-of-01024.json.gz", rows)
    file.write_bytes(file.read_bytes() + b"what is after them is not even looked at")
    given = supplied("calibration", source="c4", path=tmp_path, limit=2)
    assert [record.text for record in given.records] == ["Page 0.", "Page 1."]


def test_parts_of_one_spec_come_from_several_sets(tmp_path: Path) -> None:
    zsre = real.array(tmp_path / "zsre_mend_eval.json", real.ZSRE)
    mmlu = real.parquet(tmp_path / "test.parquet", real.MMLU)
    own = real.lines(tmp_path / "calibration.jsonl", [{"text": "Some text."}])
    sources = {
        "edits": {"source": "zsre", "path": str(zsre)},
        "utility": {"source": "mmlu", "path": str(mmlu)},
        "calibration": str(own),
    }
    data = collect(sources, "a/model")
    assert data.supplied == ["edits", "calibration", "utility"]
    assert data.sources["edits"] == str(zsre)


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv", "parquet", "jsonl.gz", "arrow"])
def test_own_records_in_every_format(suffix: str, tmp_path: Path) -> None:
    path, rows = tmp_path / f"texts.{suffix}", [{"text": "Some,\u2028text."}, {"text": "More."}]
    if suffix == "csv":
        path.write_text('text\n"Some,\u2028text."\nMore.\n')
    elif suffix == "parquet":
        real.parquet(path, rows)
    elif suffix == "arrow":
        table = pa.Table.from_pylist(rows)
        with pa.ipc.new_stream(path, table.schema) as stream:
            stream.write_table(table)
    else:
        (real.array if suffix == "json" else real.lines)(path, rows)
    assert [record.text for record in supplied("retain", source=path).records] == ["Some,\u2028text.", "More."]


def test_own_records_may_say_more_or_less(tmp_path: Path) -> None:
    rows = {
        "wikitext": {"text": ""},
        "holdout": {"prompt": "", "continuation": "It thawed."},
        "forget_questions": {"prompt": "Who?", "answer": "Per", "aliases": ["P."], "kind": "adversarial"},
    }
    records = {
        part: supplied(part, source=real.lines(tmp_path / f"{part}.jsonl", [row])).records for part, row in rows.items()
    }
    assert records["wikitext"] == (Document(""),)
    assert records["holdout"] == (Passage("", "It thawed."),)
    assert records["forget_questions"] == (QuestionAnswer("Who?", "Per", ("P.",), "adversarial"),)


def test_own_edits_without_one_place_of_their_subject_are_left_out(tmp_path: Path) -> None:
    edit = {"subject": "Vale", "prompt": "Vale lies in", "target_new": "Arland", "ground_truth": "Orland"}
    path = real.lines(tmp_path / "edits.jsonl", [edit, edit | {"prompt": "Vale or Vale lies in"}])
    given = supplied("edits", source=path)
    assert len(given.records) == 1
    assert given.left_out == {"the subject is not exactly once in the prompt": 1}


def test_examples_lie_beside_their_part(tmp_path: Path) -> None:
    question = {"question": "What is it?", "options": ["a", "b"], "answer": 1, "subject": "things"}
    for name in ("utility", "utility_shots"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(question | {"question": name}) + "\n")
    data = collect(str(tmp_path), "any")
    assert [choice.question for choice in data.shots["utility"]] == ["utility_shots"]
    alone = collect({"utility": str(tmp_path / "utility.jsonl")}, "any")
    assert not alone.shots
