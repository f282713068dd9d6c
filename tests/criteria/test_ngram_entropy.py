"""Entropy of n-grams by hand, and by scipy on NLTK's n-grams."""

from __future__ import annotations

import random

import numpy as np
import pytest
from nltk import FreqDist, ngrams
from nltk.tokenize import NLTKWordTokenizer
from scipy.stats import entropy

from rayci.criteria.ngram_entropy import ngram_entropy


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        ("a b c d e", 2 / 3 + 2 / 3 * np.log2(3)),  # 4 bigrams, 3 trigrams, all different
        ("a a a a a a", 0.0),
        ("a b a b a", 1 / 3 * 1 - 2 / 3 * (2 / 3 * np.log2(2 / 3) + 1 / 3 * np.log2(1 / 3))),  # 2 + 2, 2 + 1
        ("a b.", 1 / 3 * 1),  # the full stop is a word: two bigrams, one trigram
        ("a b", 0.0),
        ("a", 0.0),
        ("", 0.0),
    ],
)
def test_by_hand(text: str, bits: float) -> None:
    assert ngram_entropy(text) == pytest.approx(bits)


def test_it_is_that_of_scipy_on_the_n_grams_of_nltk() -> None:
    draw, split = random.Random(1), NLTKWordTokenizer()
    for length in (3, 10, 40, 200):
        text = " ".join(draw.choices(["the", "old", "fox", ",", "1999", "café", "ran"], k=length)) + "."
        words = split.tokenize(text)
        each = [entropy(list(FreqDist(ngrams(words, n)).values()), base=2) for n in (2, 3)]
        # ROME multiplies by 2/3 and 4/3 and takes the mean of the two
        assert ngram_entropy(text) == pytest.approx(np.mean(np.array(each) * [2 / 3, 4 / 3]))
