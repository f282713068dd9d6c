"""Five-shot multiple choice against one pass for each option, and against lm-eval.

pytest tests/benchmarks/bench_multiple_choice.py -m bench --capture=no
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from rayci.criteria.evaluation.multiple_choice import chosen, log_likelihoods
from rayci.criteria.evaluation.question_tokens import Question, tokenised
from rayci.model import loading
from rayci.subject import Subject

pytestmark = pytest.mark.bench
VOCABULARY, SHARED, OWN, COUNT, BUDGET = 32_000, 500, 60, 24, 8192
LETTERS = tuple(f" {letter}" for letter in "ABCD")


@pytest.fixture(scope="module")
def subject() -> Subject:
    """A random Llama of 256 channels and 4 blocks whose tokens are words: w4 … w31999 and the letters."""
    words = {"<s>": 0, "</s>": 1, "<unk>": 2, "<pad>": 3, **{f"w{index}": index for index in range(4, VOCABULARY - 4)}}
    words |= {letter: VOCABULARY - 4 + index for index, letter in enumerate("ABCD")}
    own = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    own.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=own, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>"
    )
    sizes: dict[str, Any] = {"hidden_size": 256, "intermediate_size": 688, "num_hidden_layers": 4}
    config = LlamaConfig(**sizes, vocab_size=VOCABULARY, num_attention_heads=8, max_position_embeddings=1024)
    torch.manual_seed(0)
    return loading.wrap(LlamaForCausalLM(config), tokenizer)


def asked(*, letters: bool) -> list[Question]:
    """Questions of one subject: 500 shared tokens, 60 of their own, and letters or texts of 2 to 8 tokens."""
    draw = random.Random(0)

    def words(count: int) -> str:
        return " ".join(f"w{draw.randrange(4, VOCABULARY - 4)}" for _ in range(count))

    examples = words(SHARED)
    return [
        Question(
            f"{examples} {words(OWN)}",
            LETTERS if letters else tuple(f" {words(draw.randint(2, 8))}" for _ in range(4)),
            "one subject",
        )
        for _ in range(COUNT)
    ]


@torch.no_grad()
def plain(subject: Subject, questions: list[Question]) -> list[list[float]]:
    """One forward pass with all logits for each option."""
    scores = []
    for question, tokens in zip(questions, tokenised(subject.tokenizer, tuple(questions)), strict=True):
        scores.append(list[float]())
        for option in tokens.options:
            whole = torch.tensor([*tokens.context.tolist(), *option.tolist()])
            logits = subject.model(input_ids=whole.unsqueeze(0), use_cache=False).logits[0]
            own = slice(len(tokens.context) - 1, -1)
            scores[-1].append(-float(F.cross_entropy(logits[own], whole[len(tokens.context) :], reduction="sum")))
        assert len(scores[-1]) == len(question.options)
    return scores


def lm_eval(subject: Subject, questions: list[Question]) -> list[list[float]]:
    """The harness's own scoring of the same requests."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    model = HFLM(pretrained=subject.model, tokenizer=subject.tokenizer, device="cpu", batch_size=8)  # type: ignore[arg-type]
    pairs = [(question.context, option) for question in questions for option in question.options]
    requests = [
        Instance("loglikelihood", {}, arguments=pair, idx=index)  # type: ignore[arg-type]
        for index, pair in enumerate(pairs)
    ]
    scores = [score for score, _ in model.loglikelihood(requests, disable_tqdm=True)]
    return [scores[start : start + 4] for start in range(0, len(scores), 4)]


def timed(work: Callable[[], list[list[float]]]) -> tuple[float, list[list[float]]]:
    start = time.perf_counter()
    scores = work()
    return time.perf_counter() - start, scores


@pytest.mark.parametrize("letters", [True, False], ids=["letters", "texts"])
@pytest.mark.parametrize("other", [plain, lm_eval], ids=["plain", "lm_eval"])
def test_five_shots(subject: Subject, letters: bool, other: Callable[[Subject, list[Question]], Any]) -> None:
    questions = asked(letters=letters)
    theirs, expected = timed(lambda: other(subject, questions))
    tokenised.cache_clear()
    first, _ = timed(lambda: log_likelihoods(subject, questions, BUDGET))
    ours, scores = timed(lambda: log_likelihoods(subject, questions, BUDGET))
    for own, their in zip(scores, expected, strict=True):
        assert own == pytest.approx(their, abs=1e-4)
        assert chosen(own) == chosen(their)
    what = "letters" if letters else "texts"
    print(
        f"\n{what}, {other.__name__}: {theirs:.2f} s against {ours:.2f} s, {theirs / ours:.1f} times "
        f"({theirs / first:.1f} with the encoding)"
    )
