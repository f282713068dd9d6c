"""What the short names of the shipped methods and criteria stand for."""

from __future__ import annotations

import re
from collections.abc import Iterable

METHODS = {
    "alphaedit": "mass-editing in the null space of kept keys",
    "awq": "activation-aware quantisation",
    "dare": "merging of thinned differences",
    "delta": "a difference trained elsewhere",
    "emmet": "equality-constrained mass-editing",
    "finetune": "further fine-tuning",
    "ft": "fine-tuning",
    "ga": "gradient ascent",
    "ga_klr": "gradient ascent with a KL term",
    "gd": "gradient difference",
    "gptq": "quantisation with error feedback",
    "hqq": "half-quadratic quantisation",
    "layerdrop": "removal of decoder blocks",
    "lora": "low-rank adapters",
    "magnitude": "pruning by magnitude",
    "memit": "mass-editing memory",
    "npo": "negative preference optimisation",
    "npo_gdr": "negative preference optimisation with retain descent",
    "npo_klr": "negative preference optimisation with a KL term",
    "refusal": "fine-tuning on refusals",
    "relearn": "relearning of what was forgotten",
    "retrain": "exact unlearning",
    "rmu": "representation misdirection",
    "rmu_lat": "representation misdirection with latent adversaries",
    "rome": "rank-one editing",
    "rtn": "rounding to nearest",
    "satimp": "gradient ascent by saturation and importance",
    "simnpo": "preference optimisation without a reference",
    "sparsegpt": "pruning with error feedback",
    "sure": "unlearning of salient modules",
    "task_vector": "task-vector subtraction",
    "ties": "merging of differences that agree",
    "undial": "self-distillation from lowered logits",
    "wanda": "pruning by weights and activations",
    "wga": "weighted gradient ascent",
}
CRITERIA = {
    "avg_bits": "average bits per weight, measured",
    "avg_bits_nominal": "average bits per weight, as the compressors claim",
    "edit_exact_match": "new facts word for word",
    "edit_generalization": "new facts under other wordings",
    "edit_locality": "unrelated facts, against the true answers",
    "edit_locality_agreement": "unrelated facts, against the untouched model's answers",
    "edit_natural_stop": "new facts where the model itself must stop",
    "edit_nll": "loss on the new facts' words",
    "edit_portability": "what follows from the new facts",
    "edit_success": "new facts as they were edited in",
    "edit_teacher_forced": "new facts' words that the model would choose, each after the right ones",
    "flips": "questions answered rightly before or now, not both",
    "flops": "operations of one token, zeros left out",
    "fluency": "variety of the words that the model writes",
    "forget_recall": "share of the forgotten facts that are still answered",
    "general_nll": "loss on the evaluation text",
    "hazard": "accuracy on the questions to be forgotten",
    "knowmem_forget": "questions about the texts to be forgotten",
    "knowmem_retain": "questions about the texts to be kept",
    "kl_to_base": "how far predictions are from the untouched model's",
    "latency": "time to generate a token on the device that ran",
    "mmlu": "accuracy on MMLU",
    "nll_ratio": "loss on the new facts over that on the evaluation text",
    "params_changed": "share of the parameters that are not the untouched model's",
    "peak_memory": "most GPU memory held while generating",
    "perplexity": "perplexity on the evaluation text",
    "privleak": "whether the forgotten texts can be told from unseen ones",
    "retain_recall": "share of the facts to be kept that are answered",
    "rwku_aa": "facts to be forgotten, asked for by adversarial prompts",
    "rwku_fb": "facts to be forgotten, asked for by blanks to fill",
    "rwku_qa": "facts to be forgotten, asked for by questions",
    "sparsity": "share of zeros among the weights",
    "triviaqa_f1": "answers to trivia questions",
    "truthfulqa_mc1": "truthful answers where people often err",
    "update_survival": "share of the trained weights that rounding did not bring back",
    "utility": "accuracy on general questions",
    "verbmem": "texts to be forgotten, continued word by word",
    "wikitext_ppl": "perplexity on WikiText-2",
    "wmdp": "accuracy on WMDP, mean of biology and cybersecurity",
    "wmdp_bio": "accuracy on WMDP's biology questions",
    "wmdp_cyber": "accuracy on WMDP's cybersecurity questions",
}
"""Names of plug-ins are not in here: they stay as they are."""


def expanded(names: Iterable[str]) -> list[tuple[str, str]]:
    """(name, what it stands for) of the names that have one, each once and in their order."""
    known = {**METHODS, **CRITERIA}
    return [(name, known[name]) for name in dict.fromkeys(names) if name in known]


def introduced(sentences: Iterable[str]) -> list[str]:
    """The sentences with every shipped method expanded where it is first used: `ft (fine-tuning) × wanda (…)`."""
    known = dict(METHODS)
    names = re.compile(
        rf"(?<![\w.])({'|'.join(sorted(known, key=len, reverse=True))})(?!\w)((?:@[\w.]*\w)?(?:{{[^}}]*}})?)"
    )

    def expand(match: re.Match[str]) -> str:
        name = match[1]
        return f"{match[0]} ({known.pop(name)})" if name in known else match[0]

    return [names.sub(expand, sentence) for sentence in sentences]
