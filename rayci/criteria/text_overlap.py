"""How much of a reference a text repeats, word by word: ROUGE-L and the F1 of short answers.

    ROUGE-L F1       2PR / (P + R),  P = LCS / |text|,  R = LCS / |reference|           (Lin 2004, section 3.1)
    ROUGE-L recall   |∪ LCS(r, t)| / |reference|,  r and t sentences, all sets of words  (section 3.2)
    answer F1        2 |A ∩ B| / (|A| + |B|),  A and B bags of normalised words           (arXiv 1606.05250)

LCS: longest common subsequence of words. The two ROUGE-L are those of the packages that the published numbers come
from, which do not see the same words: `rouge_score` (MUSE) lower-cases and drops all but letters and digits of English,
`rouge` (RWKU) splits at spaces and full stops, keeps case, and counts a repeated word once.
"""

from __future__ import annotations

import random
import re
import string
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def rouge_l_f1(text: str, reference: str) -> float:
    """ROUGE-L F1 without stemming, 0 to 1; 0 where either has no word."""
    return float(_scorer().score(reference, text)["rougeL"].fmeasure)


@cache
def _scorer() -> RougeScorer:
    stream = random.getstate()
    from rouge_score.rouge_scorer import RougeScorer

    random.setstate(stream)  # something among all that this imports draws from it
    return RougeScorer(["rougeL"], use_stemmer=False)


def rouge_l_recall(text: str, reference: str) -> float:
    """Share of the reference's different words that stand, in order, in a sentence of the text; 0 where it has none."""
    wanted = _sentences(reference)
    repeated = {word for own in wanted for said in _sentences(text) for word in _common(own, said)}
    words = {word for own in wanted for word in own}
    return len(repeated) / len(words) if words else 0.0


def _sentences(text: str) -> list[list[str]]:
    return [words for sentence in text.split(".") if (words := sentence.split())]


def _common(left: Sequence[str], right: Sequence[str]) -> list[str]:
    """A longest common subsequence, from its end; of equally long ones that whose words stand latest in `left`."""
    longest = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]
    for i, word in enumerate(left):
        for j, other in enumerate(right):
            longest[i + 1][j + 1] = longest[i][j] + 1 if word == other else max(longest[i][j + 1], longest[i + 1][j])
    i, j, common = len(left), len(right), list[str]()
    while i and j:
        if left[i - 1] == right[j - 1]:
            i, j = i - 1, j - 1
            common.append(left[i])
        elif longest[i - 1][j] > longest[i][j - 1]:
            i -= 1
        else:
            j -= 1
    return common


def answer_f1(text: str, answers: Iterable[str]) -> float:
    """F1 with the best of the right answers; two that have no word left agree."""
    said = _normalised(text)
    return max(_bag_f1(said, _normalised(answer)) for answer in answers)


def _normalised(text: str) -> list[str]:
    """Words in lower case, without ASCII punctuation and articles."""
    return _ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split()


def _bag_f1(left: Sequence[str], right: Sequence[str]) -> float:
    if not left or not right:
        return float(left == right)
    return 2 * (Counter(left) & Counter(right)).total() / (len(left) + len(right))
