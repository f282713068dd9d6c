"""Text that two parts share: found wherever it stands, counted as by hand, and nothing found where there is none."""

from __future__ import annotations

import random
import re
from itertools import combinations

import pytest

from rayci.data.leaks import leaks
from rayci.data.records import Collection, Document
from rayci.data.shared_runs import COMPARED, LEAST, RUN, overlaps
from rayci.data.word_hashes import words

WORDS = [f"w{number}" for number in range(5000)]


def said(draw: random.Random, count: int) -> str:
    return " ".join(draw.choices(WORDS, k=count))


def corpus(draw: random.Random, lengths: list[int]) -> tuple[Document, ...]:
    return tuple(Document(said(draw, length)) for length in lengths)


def by_hand(one: tuple[Document, ...], other: tuple[Document, ...]) -> tuple[tuple[int, int], int]:
    """Documents of each that share something, and how many different things; with sets of tuples of words."""

    def marks(document: Document) -> set[tuple[str, ...]]:
        own = re.findall(r"[a-z0-9]+", document.text.lower())
        if len(own) < RUN:
            return {tuple(own)} if len(own) >= LEAST else set()
        return {tuple(own[at : at + RUN]) for at in range(len(own) - RUN + 1)}

    left, right = [marks(document) for document in one], [marks(document) for document in other]
    both = set().union(*left) & set().union(*right)
    return (sum(bool(held & both) for held in left), sum(bool(held & both) for held in right)), len(both)


@pytest.mark.parametrize("seed", range(8))
def test_counted_as_by_hand(seed: int) -> None:
    draw = random.Random(seed)
    one = list(corpus(draw, draw.choices([3, 8, 30, 49, 50, 51, 400], k=40)))
    other = list(corpus(draw, draw.choices([3, 8, 30, 49, 50, 51, 400], k=60)))
    for _ in range(5):  # runs of many lengths, from anywhere to anywhere, some in the middle of other words
        source = draw.choice([d for d in one if len(d.text.split()) >= 50]).text.split()
        start, length = draw.randrange(len(source)), draw.choice([24, 49, 50, 51, 80, 400])
        piece = " ".join(source[start : start + length]).upper()
        other.append(Document(f"{said(draw, draw.randrange(30))}, {piece} — {said(draw, draw.randrange(30))}"))
    other.append(Document(draw.choice(one).text.replace(" ", ", ")))
    expected = by_hand(tuple(one), tuple(other))
    found = overlaps(Collection(forget=tuple(one), evaluation=tuple(other)))
    assert [(overlap.documents, overlap.runs) for overlap in found] == ([expected] if expected[1] else [])


@pytest.mark.parametrize("pair", [pair for pair in combinations(COMPARED, 2) if pair != ("evaluation", "wikitext")])
def test_every_pair_of_parts(pair: tuple[str, str]) -> None:
    draw = random.Random(1)
    held = {part: corpus(draw, [60, 200]) for part in COMPARED}
    one, other = pair
    held[other] = (*held[other], Document(f"before {held[one][1].text} after"))
    (fault,) = leaks(Collection(**held), [])
    assert f"{one} and {other} share text: 1 documents of {one} and 1 of {other}, 151 runs" in fault.problem
    assert f"document 2 of {one}, 3 of {other}: '{held[one][1].text[:20]}" in str(fault.at)
    assert f"allow_overlap: [[{one}, {other}]]" in str(fault.hint)
    assert list(leaks(Collection(**held), [(other, one)])) == []


def test_what_is_measured_twice_is_no_leak() -> None:
    text = corpus(random.Random(2), [60, 60])
    assert overlaps(Collection(evaluation=text, wikitext=text)) == []
    assert overlaps(Collection(calibration=text)) == []  # it stands in for covariance_text


def test_headings_and_phrases_are_no_leak() -> None:
    short = (Document(" = = Early life and career = = \n"), Document(""), Document("See also the list of lakes ."))
    assert overlaps(Collection(retain=short, evaluation=short)) == []


def test_a_document_longer_than_a_piece_is_seen_to_its_end() -> None:
    draw = random.Random(3)
    book = said(draw, 900_000)
    inside = Document(" ".join(book.split()[-60:]))
    (overlap,) = overlaps(Collection(forget=(Document(book),), evaluation=(inside,)))
    assert (overlap.documents, overlap.runs) == ((1, 1), 11)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The quick, brown “fox” jumps—over.", ["The", "quick", "brown", "fox", "jumps", "over"]),
        ("naïve façade's 3.5", ["naïve", "façade", "s", "3", "5"]),
        ("漢字 x", ["漢", "字", "x"]),
        ("\n", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    (batch,) = words([(7, text)])
    spans = zip(batch.start, batch.stop, strict=True)
    assert [batch.text[start:stop].decode() for start, stop in spans] == expected
    assert set(batch.document.tolist()) <= {7}


def test_a_hash_is_of_the_words_alone() -> None:
    (one,), (other,) = words([(0, "zz The Red fox")]), words([(0, "a b, c the red FOX")])
    assert one.hashes[1:].tolist() == other.hashes[3:].tolist()
    assert one.runs(3)[0][-1] == other.runs(3)[0][-1] != other.runs(3)[0][0]
