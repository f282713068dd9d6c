"""Criteria that generate, against `generate` on one prompt at a time.

pytest tests/benchmarks/bench_generation.py -m bench --capture=no
"""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from rayci.context import Context
from rayci.criteria.editing import EditGeneralization, EditSuccess
from rayci.criteria.editing_criterion import EditCriterion
from rayci.criteria.editing_unaided import EditNaturalStop
from rayci.criteria.evaluation.greedy_texts import greedy_texts
from rayci.data.records import Collection, EditRecord
from rayci.model import loading
from rayci.subject import Subject

pytestmark = pytest.mark.bench
VOCABULARY, EDITS, REPHRASES, SHOTS, QUESTIONS, ANSWER = 32_000, 40, 3, 500, 24, 32


@pytest.fixture(scope="module")
def subject() -> Subject:
    """A random Llama of 512 channels and 6 blocks, 52 million parameters, whose tokens are words."""
    words = {"<s>": 0, "</s>": 1, "<unk>": 2, "<pad>": 3, **{f"w{index}": index for index in range(4, VOCABULARY)}}
    own = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    own.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=own, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>"
    )
    sizes: dict[str, Any] = {"hidden_size": 512, "intermediate_size": 1376, "num_hidden_layers": 6}
    config = LlamaConfig(
        **sizes,
        vocab_size=VOCABULARY,
        num_attention_heads=8,
        max_position_embeddings=1024,
        initializer_range=0.1,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=3,
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        model.lm_head.weight[:4] = 0  # says no special token
    return loading.wrap(model, tokenizer)


def words(draw: random.Random, count: int) -> str:
    return " ".join(f"w{draw.randrange(4, VOCABULARY)}" for _ in range(count))


def alone(subject: Subject, prompt: str, most: int) -> list[int]:
    """What `generate` says to one prompt."""
    ids = torch.tensor([subject.tokenizer(prompt)["input_ids"]])
    generate: Any = subject.model.generate
    output = generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=most, do_sample=False, pad_token_id=3
    )
    new: list[int] = output[0, ids.shape[1] :].tolist()
    return new


def told(what: str, start: float, between: float) -> None:
    theirs, ours = between - start, time.process_time() - between
    print(f"\n{what}: {theirs:.1f} s against {ours:.1f} s, {theirs / ours:.1f} times")


def edit_batch() -> Context:
    """Edits whose prompts have 6 to 24 tokens, their targets 2 to 6."""
    draw = random.Random(0)

    def edit() -> EditRecord:
        prompts = [words(draw, draw.randint(6, 24)) for _ in range(1 + REPHRASES)]
        return EditRecord("w4", prompts[0], words(draw, draw.randint(2, 6)), "w5", rephrases=tuple(prompts[1:]))

    return Context(Collection(edits=tuple(edit() for _ in range(EDITS))), batch_size=EDITS)


@pytest.mark.parametrize(
    "criterion", [EditSuccess(), EditGeneralization(), EditNaturalStop()], ids=lambda own: own.name
)
def test_edits(subject: Subject, criterion: EditCriterion) -> None:
    context = edit_batch()
    start = time.process_time()
    times = 4 if isinstance(criterion, EditNaturalStop) else 1
    expected = [
        alone(subject, asked.prompt, times * len(asked.answer.split()))
        for edit in context.edits
        for asked in criterion.questions(edit)
    ]
    between = time.process_time()
    assert criterion.measure(subject, context).records == expected
    told(f"{criterion.name}, {len(expected)} prompts", start, between)


def test_answers_after_few_shot_examples(subject: Subject) -> None:
    draw = random.Random(1)
    shots = words(draw, SHOTS)
    prompts = [f"{shots} {words(draw, draw.randint(8, 30))}" for _ in range(QUESTIONS)]
    start = time.process_time()
    rows = [alone(subject, prompt, ANSWER) for prompt in prompts]
    expected = [subject.tokenizer.decode(row, skip_special_tokens=True) for row in rows]
    between = time.process_time()
    groups = ["shots"] * len(prompts)
    assert greedy_texts(subject, prompts, most=ANSWER, most_tokens=32_768, groups=groups) == expected
    told(f"{QUESTIONS} answers of {ANSWER} tokens after {SHOTS} shared ones", start, between)
