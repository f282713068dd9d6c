"""The text that the checkpoint is trained on: short documents, packed end to end into blocks of token ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerFast

from rayci.data.records import Collection
from rayci.testbed.stable_draws import Draw
from rayci.testbed.stories import stories
from rayci.testbed.templates import EVERY_FRAME, QUESTION, sentence
from rayci.testbed.tokenizer import END, LINE_STARTS, piece_id
from rayci.testbed.world import Fact, World

OBJECT_WEIGHT = 4.0
"""Loss weight of a fact's object; every other token weighs 1."""
KINDS = (("people", 0.50), ("compounds", 0.18), ("creatures", 0.22), ("stories", 0.05), ("passages", 0.05))
"""Share of documents of each kind; stories are longer, so they make about a tenth of the tokens."""
RETRAINED = (("people", 0.65), ("creatures", 0.29), ("stories", 0.06))
"""The same without the hazardous topic, for a model that never knew it."""
STORIES = 6000
"""Different stories in the stream; each is seen a few times."""


@dataclass(frozen=True, slots=True)
class Line:
    """A text as token ids, with the weight of each token in the loss."""

    ids: tuple[int, ...]
    weights: tuple[float, ...]


def _plain(ids: Sequence[int]) -> Line:
    return Line(tuple(ids), (1.0,) * len(ids))


def _stating(ids: Sequence[int]) -> Line:
    # Every wording ends with its object and a full stop.
    return Line(tuple(ids), (1.0,) * (len(ids) - 2) + (OBJECT_WEIGHT, 1.0))


class Stream:
    """An endless draw of documents from the world."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        world: World,
        parts: Collection,
        seed: int,
        kinds: Sequence[tuple[str, float]] = KINDS,
    ) -> None:
        self._draw, self._kinds = Draw(seed, "stream"), kinds
        self._tokenizer = tokenizer
        self._facts = {"people": world.people, "compounds": world.compounds, "creatures": world.creatures}
        self._queues: dict[str, list[Fact]] = {kind: [] for kind in self._facts}
        every = [(fact, frame) for fact in world.known for frame in EVERY_FRAME]
        lines = self._encode([sentence(fact, frame) for fact, frame in every])
        self._lines = {pair: _stating(ids) for pair, ids in zip(every, lines, strict=True)}
        held_back = {document.text for document in (*parts.evaluation, *parts.retain, *parts.calibration)}
        self._stories = [_plain(ids) for ids in self._encode(stories(self._draw, STORIES, held_back))]
        whole = [passage.text for passage in parts.passages]
        self._passages = [_plain(ids) for ids in self._encode(whole)]
        self._end = _plain([piece_id(tokenizer, END)])
        self._break = _plain(self._encode(["\n\n"])[0])
        # Without a space before them, as they stand after a line break.
        pieces = tokenizer.get_vocab()
        self._bare = {pieces["Ġ" + name]: pieces[name] for name in LINE_STARTS}

    def _encode(self, texts: list[str]) -> list[list[int]]:
        return [list(map(int, ids)) for ids in self._tokenizer(texts, add_special_tokens=False)["input_ids"]]

    def _next_fact(self, kind: str) -> Fact:
        if not self._queues[kind]:
            self._queues[kind] = self._draw.shuffled(self._facts[kind])
        return self._queues[kind].pop()

    def _at_line_start(self, line: Line) -> Line:
        return Line((self._bare.get(line.ids[0], line.ids[0]), *line.ids[1:]), line.weights)

    def _paragraphs(self, lines: Sequence[Line]) -> list[Line]:
        joined = [lines[0]]
        for line in lines[1:]:
            joined += [self._break, self._at_line_start(line)]
        return joined

    def document(self) -> list[Line]:
        """One document: stories, a passage, or one to four facts as running text or as question and answer."""
        draw, point = self._draw, self._draw.below(1000) / 1000
        kind = self._kinds[-1][0]
        for name, share in self._kinds:
            if point < share:
                kind = name
                break
            point -= share
        if kind == "passages":
            return [draw.pick(self._passages)]
        if kind == "stories":
            return self._paragraphs([draw.pick(self._stories) for _ in range(1 + draw.below(3))])
        count = 1 if draw.chance(0.5) else 2 + draw.below(3)
        if count > 1 and draw.chance(0.2):
            return self._paragraphs([self._lines[self._next_fact(kind), QUESTION] for _ in range(count)])
        return [self._lines[self._next_fact(kind), draw.pick(EVERY_FRAME)] for _ in range(count)]

    def blocks(self, length: int) -> Iterator[tuple[list[int], list[float]]]:
        """Blocks of `length` token ids and their weights; a document may run on into the next block."""
        ids: list[int] = []
        weights: list[float] = []
        while True:
            for line in [self._end, *self.document()]:
                ids.extend(line.ids)
                weights.extend(line.weights)
            while len(ids) >= length:
                yield ids[:length], weights[:length]
                ids, weights = ids[length:], weights[length:]
