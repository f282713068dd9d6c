"""What the short names of the shipped methods and criteria stand for."""

from __future__ import annotations

import re
from collections.abc import Iterable

METHODS = {
    "awq": "activation-aware quantisation",
    "ft": "fine-tuning",
    "ga": "gradient ascent",
    "ga_klr": "gradient ascent with a KL term",
    "gd": "gradient difference",
    "gptq": "quantisation with error feedback",
    "lora": "low-rank adapters",
    "magnitude": "pruning by magnitude",
    "memit": "mass-editing memory",
    "npo": "negative preference optimisation",
    "npo_gdr": "negative preference optimisation with retain descent",
    "npo_klr": "negative preference optimisation with a KL term",
    "refusal": "fine-tuning on refusals",
    "rmu": "representation misdirection",
    "rmu_lat": "representation misdirection with latent adversaries",
    "rtn": "rounding to nearest",
    "sparsegpt": "pruning with error feedback",
    "sure": "unlearning of salient modules",
    "task_vector": "task-vector subtraction",
    "wanda": "pruning by weights and activations",
}
CRITERIA = {
    "avg_bits": "average bits per weight, measured",
    "avg_bits_nominal": "average bits per weight, as the compressors claim",
    "edit_generalization": "new facts under other wordings",
    "edit_locality": "unrelated facts, against the true answers",
    "edit_locality_agreement": "unrelated facts, against the untouched model's answers",
    "edit_success": "new facts as they were edited in",
    "forget_recall": "share of the forgotten facts that are still answered",
    "hazard": "accuracy on the questions to be forgotten",
    "kl_to_base": "KL divergence from the untouched model",
    "mmlu": "accuracy on general questions",
    "perplexity": "perplexity on the evaluation text",
    "retain_recall": "share of the facts to be kept that are answered",
    "sparsity": "share of zeros among the weights",
    "utility": "accuracy on general questions",
    "wikitext_ppl": "perplexity on WikiText-2",
    "wmdp": "accuracy on hazardous questions",
}
"""Names of plug-ins are not in here: they stay as they are."""


def expanded(names: Iterable[str]) -> list[tuple[str, str]]:
    """(name, what it stands for) of the names that have one, each once and in their order."""
    known = {**METHODS, **CRITERIA}
    return [(name, known[name]) for name in dict.fromkeys(names) if name in known]


def introduced(sentences: Iterable[str]) -> list[str]:
    """The sentences with every shipped method expanded where it is first used: `ft (fine-tuning) × wanda (…)`."""
    known = dict(METHODS)
    names = re.compile(rf"(?<![\w.])({'|'.join(sorted(known, key=len, reverse=True))})(?![\w])")

    def expand(match: re.Match[str]) -> str:
        name = match[1]
        return f"{name} ({known.pop(name)})" if name in known else name

    return [names.sub(expand, sentence) for sentence in sentences]
