"""Criteria that let the model write, against one prompt at a time and the packages of the published codes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from lm_eval.tasks.qasper.metrics import f1_abstractive
from nltk import FreqDist, ngrams
from nltk.tokenize import NLTKWordTokenizer
from rouge import Rouge
from rouge_score.rouge_scorer import RougeScorer
from scipy.stats import entropy

from rayci import registry
from rayci.context import Context
from rayci.criteria.written_text import WrittenText
from rayci.data.records import QuestionAnswer
from rayci.errors import DataError, MeasurementError
from rayci.interventions.compression.magnitude import Magnitude
from rayci.subject import Subject
from rayci.testbed import collection
from tests.models import testbed, tiny, tokenizer

KNOWN = collection()
ASKED = tuple(replace(item, prompt=item.prompt[10:-8]) for item in (*KNOWN.retain_questions, *KNOWN.forget_questions))
"""`where is Twilogle found?`: what stands between `Question: ` and ` Answer:`."""
KINDS = ("fill_in_blank", "question", "adversarial")
DATA = replace(
    KNOWN,
    passages=KNOWN.passages[:12],
    forget_questions=tuple(replace(item, kind=KINDS[index % 3]) for index, item in enumerate(ASKED[160:190])),
    retain_questions=ASKED[:24],
    triviaqa=tuple(replace(item, aliases=("the swamps", "a river")) for item in ASKED[:24]),
    prompts=KNOWN.prompts[:10],
    shots=dict.fromkeys(("forget_questions", "retain_questions", "triviaqa"), ASKED[100:112]),
)
CONTEXT = Context(DATA)


def rouge_f1(text: str, reference: str) -> float:
    return 100 * float(RougeScorer(["rougeL"]).score(reference, text)["rougeL"].fmeasure)


def rouge_recall(text: str, record: QuestionAnswer) -> float:
    return float(Rouge().get_scores(text.strip() or "NOANSWER", record.answer)[0]["rouge-l"]["r"])


def best_f1(text: str, record: QuestionAnswer) -> float:
    return float(max(f1_abstractive([text], [answer]) for answer in (record.answer, *record.aliases)))


def romes_entropy(text: str, _: Any) -> float:
    words = NLTKWordTokenizer().tokenize(text.replace(".", " . "))
    each = [entropy(list(FreqDist(ngrams(words, n)).values()), base=2) for n in (2, 3)]
    return float(np.mean(np.nan_to_num(each) * [2 / 3, 4 / 3]))


Score = Callable[[str, Any], float]
PUBLISHED: dict[str, tuple[int, Score]] = {
    "verbmem": (40, lambda text, record: rouge_f1(text, record.continuation)),
    "knowmem_forget": (32, lambda text, record: rouge_f1(text, record.answer)),
    "knowmem_retain": (32, lambda text, record: rouge_f1(text, record.answer)),
    "triviaqa_f1": (30, best_f1),
    "fluency": (40, romes_entropy),
    "rwku_fb": (30, rouge_recall),
    "rwku_qa": (30, rouge_recall),
    "rwku_aa": (30, rouge_recall),
}


def made(name: str, **settings: Any) -> WrittenText:
    criterion = registry.criterion(name).model_validate({"tokens": PUBLISHED[name][0], **settings})
    assert isinstance(criterion, WrittenText)
    return criterion


def alone(subject: Subject, prompt: str, most: int, stops: tuple[str, ...]) -> str:
    """What `generate` writes after one prompt, cut before the first stop."""
    ids = torch.tensor([tokenizer()(prompt)["input_ids"]])
    generate: Any = subject.model.generate
    output = generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=most, do_sample=False, pad_token_id=1
    )
    text = str(tokenizer().decode(output[0, ids.shape[1] :], skip_special_tokens=True))
    for stop in stops:
        text = text.split(stop)[0]
    return text


@pytest.fixture(scope="module")
def pruned() -> Subject:
    """A model between knowing all and nothing."""
    subject = testbed()
    subject.apply(Magnitude(sparsity=0.55), CONTEXT)
    return subject


@pytest.mark.parametrize("name", PUBLISHED)
def test_items_are_those_of_one_prompt_at_a_time(pruned: Subject, name: str) -> None:
    criterion, (most, score) = made(name), PUBLISHED[name]
    prompts, records = criterion.prompts(tokenizer(), DATA), criterion.asked(DATA)
    texts = [alone(pruned, prompt, most, criterion.stops) for prompt in prompts]
    expected = [score(text, record) for text, record in zip(texts, records, strict=True)]
    reading = criterion.measure(pruned, CONTEXT)
    assert reading.items is not None
    assert reading.items.values == pytest.approx(expected, abs=1e-5)
    assert len(set(expected)) > 1, "a model that knows some is needed to tell"
    assert criterion.model_copy(update={"forward_tokens": 1}).measure(pruned, CONTEXT) == reading


def test_prompts_of_questions() -> None:
    data = replace(DATA, retain_questions=ASKED[:1], shots={"retain_questions": ASKED[1:3]})
    asked, (one, other) = ASKED[0].prompt, ASKED[1:3]
    examples = f"Question: {one.prompt}\nAnswer: {one.answer}\n\nQuestion: {other.prompt}\nAnswer: {other.answer}\n\n"
    assert made("knowmem_retain").prompts(tokenizer(), data) == [f"{examples}Question: {asked}\nAnswer:"]
    bare = made("knowmem_retain", shots=0, trailing_space=True).prompts(tokenizer(), data)
    assert bare == [f"Question: {asked}\nAnswer: "]
    whole = made("knowmem_retain").prompts(tokenizer(), replace(KNOWN, retain_questions=KNOWN.retain_questions[:1]))
    assert whole == [KNOWN.retain_questions[0].prompt], "a question that is written so already stays as it is"


def test_prompts_of_trivia() -> None:
    data = replace(DATA, triviaqa=ASKED[:1], shots={"triviaqa": ASKED[1:2]})
    asked, shown = ASKED[:2]
    [prompt] = made("triviaqa_f1").prompts(tokenizer(), data)
    example = f"Q: {shown.prompt}\nA: {shown.answer}\nPlease briefly answer the following question:\n"
    assert prompt == f"{example}Q: {asked.prompt}\nA:"
    assert made("triviaqa_f1", shots=0).prompts(tokenizer(), data) == [f"Q: {asked.prompt}\nA:"]


@pytest.mark.parametrize(
    ("name", "kind", "said", "begun"),
    [
        (
            "rwku_fb",
            "fill_in_blank",
            "Please complete the blank in the following question.\nQuestion: ___?\n",
            "Answer:",
        ),
        ("rwku_qa", "question", "Please briefly answer the following question.\nQuestion: ___?\n", "Answer:"),
        ("rwku_aa", "adversarial", "Please briefly answer the following question.\nQuestion: ___?\n", "Answer:"),
        ("rwku_aa", "adversarial in context", "Please briefly answer the following question.\n___?\n", "Answer:"),
        ("rwku_aa", "adversarial suffix", "Please briefly answer the following question.\nQuestion: ___?", ""),
    ],
)
def test_prompts_of_probes(name: str, kind: str, said: str, begun: str) -> None:
    speaker = testbed().tokenizer
    speaker.chat_template = "<user>{{ messages[0]['content'] }}<model>"
    data = replace(KNOWN, forget_questions=(QuestionAnswer("___?", "x", (), kind), QuestionAnswer("other", "y")))
    assert made(name).prompts(speaker, data) == [said + begun]
    assert made(name, chat=True).prompts(speaker, data) == [f"<user>{said}<model>{begun}"]


def test_as_many_examples_as_published_or_as_there_are() -> None:
    def shown(name: str, **settings: Any) -> int:
        prompt = made(name, **settings).prompts(tokenizer(), DATA)[0]
        return prompt.count("Answer:" if name.startswith("know") else "\nA:") - 1

    assert [shown("knowmem_forget"), shown("triviaqa_f1")] == [10, 6]
    assert [shown("knowmem_forget", shots=3), shown("triviaqa_f1", shots=12)] == [3, 12]
    with pytest.raises(DataError, match=r"examples of forget_questions are not on this machine"):
        made("knowmem_forget").prompts(tokenizer(), replace(DATA, absent_shots={"forget_questions": "fetch them"}))
    with pytest.raises(DataError, match=r"shots = 13.*has 12 examples"):
        made("knowmem_forget", shots=13).prompts(tokenizer(), DATA)
    assert len(list(made("knowmem_forget", shots=13).check(DATA))) == 1


def test_a_limit_spreads_over_the_data() -> None:
    assert made("triviaqa_f1", limit=3).asked(DATA) == DATA.triviaqa[::8]
    assert made("triviaqa_f1", limit=99).asked(DATA) == DATA.triviaqa


@pytest.mark.parametrize("name", PUBLISHED)
def test_no_records_are_a_data_error(name: str) -> None:
    other = tuple(replace(item, kind="other") for item in DATA.forget_questions) if name.startswith("rwku") else ()
    data = replace(DATA, **{made(name).part: other})
    assert [made(name).name in str(fault) for fault in made(name).check(data)] == [True]
    with pytest.raises(DataError, match=f"{name}: "):
        made(name).measure(tiny(), Context(data))


@pytest.mark.parametrize("name", ["verbmem", "rwku_qa"])
def test_nan_is_a_failed_measurement(name: str) -> None:
    subject = tiny(max_position_embeddings=256)
    with torch.no_grad():
        subject.model.get_output_embeddings().weight.fill_(float("nan"))
    with pytest.raises(MeasurementError, match="NaN"):
        made(name).measure(subject, CONTEXT)
