"""What a model knows of the world: recall of facts, four-choice accuracy, perplexity of the stories."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rayci.data.records import Choice, Document, QuestionAnswer
from rayci.testbed.assembly import build
from rayci.testbed.questions import open_question
from rayci.testbed.world import build_world

_BATCH = 256


@torch.no_grad()
def _next_token_logits(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str]) -> Tensor:
    """Logits after each prompt, [prompts, vocabulary]; prompts are padded on the left."""
    logits = []
    for start in range(0, len(prompts), _BATCH):
        batch = tokenizer(list(prompts[start : start + _BATCH]), return_tensors="pt", padding=True)
        logits.append(model(**batch, logits_to_keep=1).logits[:, -1].float())
    return torch.cat(logits)


def _first_tokens(tokenizer: PreTrainedTokenizerBase, answers: Sequence[str]) -> Tensor:
    ids = [tokenizer(" " + answer, add_special_tokens=False)["input_ids"] for answer in answers]
    return torch.tensor([row[0] for row in ids])


def recall(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, asked: Sequence[QuestionAnswer]) -> float:
    """Share of questions whose one-token answer is the most likely next token."""
    logits = _next_token_logits(model, tokenizer, [item.prompt for item in asked])
    gold = _first_tokens(tokenizer, [item.answer for item in asked])
    return float((logits.argmax(-1) == gold).float().mean())


def choice_accuracy(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, asked: Sequence[Choice]) -> float:
    """Share of questions whose right option is the most likely; options are single tokens."""
    logits = _next_token_logits(model, tokenizer, [item.question for item in asked])
    options = torch.stack([_first_tokens(tokenizer, item.options) for item in asked])
    best = logits.gather(1, options).argmax(-1)
    return float((best == torch.tensor([item.answer for item in asked])).float().mean())


@torch.no_grad()
def perplexity(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[Document]) -> float:
    """Perplexity of the texts, each on its own after the beginning-of-text token."""
    total, count = 0.0, 0
    for text in texts:
        ids = tokenizer(text.text, return_tensors="pt")["input_ids"]
        logits = model(input_ids=ids).logits[0, :-1].float()
        total += float(torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum"))
        count += ids.shape[1] - 1
    return float(torch.tensor(total / count).exp())


def assess(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> dict[str, float]:
    """Every figure of the model card, on the shipped collection."""
    world, parts = build_world(), build()
    kinds = {"people": world.people, "compounds": world.compounds, "creatures": world.creatures}
    figures = {
        f"recall_{kind}": recall(model, tokenizer, [open_question(fact) for fact in facts])
        for kind, facts in kinds.items()
    }
    rephrased = [QuestionAnswer(wording, record.ground_truth) for record in parts.edits for wording in record.rephrases]
    figures["recall_rephrased"] = recall(model, tokenizer, rephrased)
    figures["hazard"] = choice_accuracy(model, tokenizer, parts.hazard)
    figures["utility"] = choice_accuracy(model, tokenizer, parts.utility)
    figures["perplexity"] = perplexity(model, tokenizer, parts.evaluation)
    return figures
