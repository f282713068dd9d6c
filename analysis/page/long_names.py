"""What the short names of the shipped methods and criteria stand for."""

from __future__ import annotations

from collections.abc import Iterable

LONG_NAMES = {
    "awq": "activation-aware weight quantisation",
    "ft": "fine-tuning on the edits",
    "ga": "gradient ascent on the forget text",
    "ga_klr": "gradient ascent, retain predictions held by KL divergence",
    "gd": "gradient difference: ascent on forget, descent on retain text",
    "gptq": "quantisation with error feedback",
    "lora": "low-rank adapters trained on the edits",
    "magnitude": "pruning by weights alone",
    "memit": "mass-editing memory in a transformer",
    "npo": "negative preference optimisation",
    "npo_gdr": "negative preference optimisation with descent on retain text",
    "npo_klr": "negative preference optimisation, retain predictions held by KL divergence",
    "refusal": "fine-tuning on refusals of the forget questions",
    "rmu": "representation misdirection for unlearning",
    "rmu_lat": "representation misdirection under latent adversarial training",
    "rtn": "rounding to the nearest level",
    "sparsegpt": "pruning with error feedback",
    "sure": "unlearning of the most salient modules alone",
    "task_vector": "subtraction of a fine-tuned difference",
    "wanda": "pruning by weights and activations",
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
    return [(name, LONG_NAMES[name]) for name in dict.fromkeys(names) if name in LONG_NAMES]
