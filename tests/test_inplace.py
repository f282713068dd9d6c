"""`rayci.apply`: what it needs, what it takes, and that nothing is touched before all is known to fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

import rayci
from rayci.context import Context
from rayci.data.records import Collection, QuestionAnswer
from rayci.errors import DataError, Faults, RequestError
from rayci.interventions.compression.awq import AWQ
from rayci.interventions.editing.finetuning import FineTuning
from rayci.testbed import collection
from tests.models import differing, random_model, testbed, tiny, tokenizer, weights

IDS = torch.arange(3 * 12).view(3, 12)


@pytest.mark.parametrize("composition", ["wanda@0.5", "sparsegpt@0.5", "gptq@4{group_size=16}", "awq@4{group_size=16}"])
def test_calibration_tokens_need_no_tokenizer_and_are_all_taken(composition: str) -> None:
    subject = rayci.apply(random_model("llama"), composition, calibration=IDS)
    (receipt,) = subject.receipts
    assert (receipt.counts["sequences"], receipt.counts["tokens"]) == (3, 36)


def test_more_sequences_than_the_published_number_are_all_taken() -> None:
    many = torch.zeros(130, 4, dtype=torch.int64)
    assert rayci.apply(random_model("llama"), "wanda@0.5", calibration=many).receipts[0].counts["sequences"] == 130


def test_a_method_without_data_needs_no_tokenizer() -> None:
    assert rayci.apply(random_model("llama"), "magnitude@0.5 > rtn@4{group_size=16}").pruned


@pytest.mark.parametrize(
    ("composition", "parts"), [("ga", "forget"), ("memit", "covariance_text, edits"), ("wanda@0.5", "calibration")]
)
def test_a_method_that_reads_text_says_that_it_needs_the_tokenizer(composition: str, parts: str) -> None:
    text: dict[str, Any] = {"forget": ["Some text."], "edits": collection().edits[:2]}
    settings = {"ga": {"last_layers": 1, "samples": None}, "memit": {"layers": (0,)}}
    with pytest.raises(RequestError, match=f"reads {parts}, for which the model's tokenizer must be given"):
        rayci.apply(random_model("llama"), composition, settings=settings, **text)


@pytest.mark.parametrize(
    "second", ["gptq@4{group_size=48}", "ft{layers=[9]}", "gd", "sparsegpt@2:4{block_size=7}", "sure"]
)
def test_a_fault_of_a_later_step_is_found_before_the_first_is_applied(second: str) -> None:
    model = random_model("llama")
    subject = tiny()
    before = weights(subject)
    with pytest.raises(RequestError):
        rayci.apply(model, f"magnitude@0.5 > {second}", tokenizer(), edits=collection().edits[:2], calibration=IDS)
    assert not differing(replace(subject, model=model), before)


def test_scales_that_cannot_be_folded_are_found_before_the_first_step() -> None:
    subject = tiny()
    swapped = replace(subject.paths, attention_norm="post_attention_layernorm")
    subject = replace(subject, paths=swapped)
    assert any("cannot be folded" in str(fault) for fault in subject.faults(AWQ(bits=4), Context(collection())))


def test_all_faults_of_a_chain_are_one_message_with_their_steps() -> None:
    with pytest.raises(Faults) as error:
        rayci.apply(random_model("llama"), "gptq@4{group_size=48} > ga{last_layers=9} > gptq@3", calibration=IDS)
    places = [str(fault.at) for fault in error.value.faults]
    assert {place.partition(" (")[0] for place in places} == {"gptq@4{group_size=48}", "ga{last_layers=9}", "gptq@3"}
    assert "ga needs forget" in str(error.value)
    assert "layer -6 does not exist" in str(error.value)


def test_an_edit_that_is_no_record() -> None:
    with pytest.raises(DataError, match="is no record") as error:
        rayci.apply(random_model("llama"), "ft", tokenizer(), edits=[{"prompt": "Ada lives in", "target": "Rome"}])
    assert "target_new" in str(error.value.allowed)


def test_training_takes_texts_and_questions() -> None:
    one = {"prompt": "Ada lives in", "answer": "Rome"}
    asked = QuestionAnswer("Bo lives in", "Oslo")
    subject = rayci.apply(
        random_model("llama"),
        "finetune{batch=1} > relearn{on=finetune,loss_on=answer} > finetune{on=retain,loss_on=answer}",
        tokenizer(),
        finetune=["Once the fox sang near the mill.", "At noon it rained."],
        finetune_questions=[one, asked],
        retain_questions=[asked],
    )
    assert [receipt.counts["samples"] for receipt in subject.receipts] == [2, 2, 1]
    with pytest.raises(DataError, match="is no record") as error:
        rayci.apply(random_model("llama"), "refusal", tokenizer(), forget_questions=[{"question": "?"}])
    assert error.value.at == "forget_questions" and "prompt, answer" in str(error.value.allowed)


@pytest.mark.parametrize(
    ("given", "problem"), [("Once the fox sang.", "finetune is one text"), ([1], "1 is no text"), ([None], "no text")]
)
def test_texts_that_are_none(given: Any, problem: str) -> None:
    with pytest.raises(DataError, match=problem) as error:
        rayci.apply(random_model("llama"), "finetune", tokenizer(), finetune=given)
    assert error.value.at == "finetune"


def test_a_folder_loads_in_the_dtype_that_is_asked_for() -> None:
    assert rayci.apply("testbed", "rtn@4", dtype="bfloat16").model.dtype == torch.bfloat16
    assert rayci.apply("testbed", "rtn@4").model.dtype == torch.float32
    with pytest.raises(RequestError, match="dtype = 'int8'"):
        rayci.apply("testbed", "rtn@4", dtype="int8")
    with pytest.raises(RequestError, match="beside a model that is loaded"):
        rayci.apply(random_model("llama"), "rtn@4{group_size=16}", dtype="bfloat16")


def test_edits_in_batches_are_applied_in_the_order_in_which_they_are_given() -> None:
    edits = collection().edits[:6]
    subject = rayci.apply("testbed", "ft > ft{batch=2}", edits=edits, edit_batch=2)
    reference = testbed()
    for batch in (edits[:2], edits[4:]):
        reference.apply(FineTuning.configure("testbed"), Context(Collection(edits=batch), batch_size=2))
    assert differing(subject, weights(reference)) == set()
    assert [receipt.counts["edits"] for receipt in subject.receipts] == [2, 2]


@pytest.mark.parametrize(
    ("size", "problem"),
    [(None, "edit batch 1 needs edits 6 to 12, there are 6"), (0, "edit_batch = 0"), (4, "needs edits 4 to 8")],
)
def test_a_batch_that_is_not_there_is_refused(size: int | None, problem: str) -> None:
    with pytest.raises(RequestError, match=problem):
        rayci.apply("testbed", "ft > ft{batch=1}", edits=collection().edits[:6], edit_batch=size)
