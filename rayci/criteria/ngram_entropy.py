"""Entropy of the words that follow each other in a text: low where a model repeats itself (ROME, arXiv 2202.05262).

    H = 1/3 · H₂ + 2/3 · H₃,   H_n = −Σ p log₂ p over the different n-grams, p their share of all

Words are runs of letters and digits, and punctuation marks one by one. ROME takes NLTK's words, whose model of
sentences would have to be downloaded; they differ in contractions and abbreviations.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

_WORD = re.compile(r"\w+|[^\w\s]")
WEIGHTS = {2: 1 / 3, 3: 2 / 3}
"""Words of an n-gram -> weight of its entropy."""


def ngram_entropy(text: str) -> float:
    """Weighted entropy of the text's bi- and trigrams in bits; n-grams that it is too short for add nothing."""
    words = _WORD.findall(text)
    return sum(weight * _entropy(_ngrams(words, n)) for n, weight in WEIGHTS.items())


def _ngrams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]


def _entropy(drawn: Sequence[object]) -> float:
    """Entropy in bits of what was drawn, each time it was."""
    shares = [count / len(drawn) for count in Counter(drawn).values()]
    return math.fsum(-share * math.log2(share) for share in shares)
