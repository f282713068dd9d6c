"""Texts of the collection: draws without replacement, so that no sentence about a fact is in two parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rayci.data.records import Document, Passage
from rayci.testbed.stable_draws import Draw
from rayci.testbed.stories import stories
from rayci.testbed.templates import EVERY_FRAME, STATEMENTS, sentence
from rayci.testbed.world import COMPOUNDS, TOPICS, Fact, World, build_world

RELATIONS_EACH = 4
FORGET_EACH = 2
"""Forget documents a compound, beside its passage."""
RETAIN_EACH = 72
"""Retain documents of each sort: stories, people, creatures."""
HOLDOUT_EACH = 2
"""Hold-out passages a compound that no model was trained on."""
CALIBRATION = {"stories": 80, "people": 200, "compounds": 60, "creatures": 100}
EVALUATION = 80
PROMPTS = 32
"""First sentences of stories, to be gone on with."""


class Wordings:
    """The wordings of each fact in random order; every one is handed out once."""

    def __init__(self, facts: Sequence[Fact], draw: Draw) -> None:
        self._left = {fact: draw.shuffled(EVERY_FRAME) for fact in facts}

    def take(self, fact: Fact, allowed: Sequence[int]) -> str:
        """A sentence about the fact, in one of the allowed frames, never the same again."""
        frames = self._left[fact]
        chosen = next(frame for frame in frames if frame in allowed)
        frames.remove(chosen)
        return sentence(fact, chosen)


@dataclass(frozen=True, slots=True)
class Texts:
    """The text parts of a collection."""

    passages: tuple[Passage, ...]
    holdout: tuple[Passage, ...]
    forget: tuple[Document, ...]
    retain: tuple[Document, ...]
    calibration: tuple[Document, ...]
    evaluation: tuple[Document, ...]
    prompts: tuple[Document, ...]


def subjects(facts: Sequence[Fact]) -> list[tuple[Fact, ...]]:
    """Facts grouped by subject, which stand next to each other in the world."""
    return [tuple(facts[i : i + RELATIONS_EACH]) for i in range(0, len(facts), RELATIONS_EACH)]


def topic_of(place: int) -> str:
    """The topic of the compound at this place of the world's list."""
    return TOPICS[place * len(TOPICS) // COMPOUNDS]


def _passage(group: Sequence[Fact], wordings: Wordings, draw: Draw) -> Passage:
    lines = [wordings.take(fact, STATEMENTS) for fact in draw.shuffled(group)]
    return Passage(prompt=" ".join(lines[:2]), continuation=f" {lines[2]} {lines[3]}")


def _about(group: Sequence[Fact], wordings: Wordings, draw: Draw) -> str:
    return " ".join(wordings.take(fact, STATEMENTS) for fact in draw.shuffled(group))


def passages(world: World, seed: int) -> tuple[tuple[Passage, ...], Wordings]:
    """One passage a compound, and the wordings that are left after them."""
    draw = Draw(seed, "passages")
    wordings = Wordings(world.known, draw)
    return tuple(_passage(group, wordings, draw) for group in subjects(world.compounds)), wordings


def _holdout(world: World, seed: int) -> tuple[Passage, ...]:
    draw = Draw(seed, "holdout")
    wordings = Wordings(world.unseen, draw)
    return tuple(_passage(group, wordings, draw) for group in subjects(world.unseen) for _ in range(HOLDOUT_EACH))


def _forget(world: World, known: Sequence[Passage], wordings: Wordings, draw: Draw) -> list[Document]:
    documents = []
    for place, group in enumerate(subjects(world.compounds)):
        documents.append(Document(known[place].text, topic_of(place)))
        documents += [Document(_about(group, wordings, draw), topic_of(place)) for _ in range(FORGET_EACH)]
    return draw.shuffled(documents)


def _retain(world: World, wordings: Wordings, draw: Draw, seen: set[str]) -> list[Document]:
    documents = [Document(text, "stories") for text in stories(draw, RETAIN_EACH, seen)]
    for topic, facts in (("people", world.people), ("creatures", world.creatures)):
        for group in draw.sample(subjects(facts), RETAIN_EACH):
            documents.append(Document(_about(group, wordings, draw), topic))
    return draw.shuffled(documents)


def _calibration(world: World, wordings: Wordings, draw: Draw, seen: set[str]) -> list[Document]:
    documents = [Document(text, "stories") for text in stories(draw, CALIBRATION["stories"], seen)]
    kinds = {"people": world.people, "compounds": world.compounds, "creatures": world.creatures}
    for topic, facts in kinds.items():
        for _ in range(CALIBRATION[topic]):
            lines = [wordings.take(fact, EVERY_FRAME) for fact in draw.sample(facts, RELATIONS_EACH)]
            documents.append(Document(" ".join(lines), topic))
    return draw.shuffled(documents)


def _prompts(draw: Draw, seen: set[str]) -> list[Document]:
    openings = [f"{text.partition('. ')[0]}." for text in stories(draw, PROMPTS, seen)]
    return [Document(text, "stories") for text in openings]


def build_texts(seed: int) -> Texts:
    """All text parts; the seed decides the draws, the world stays the same."""
    world = build_world()
    known, wordings = passages(world, seed)
    seen: set[str] = set()
    evaluation = [Document(text, "stories") for text in stories(Draw(seed, "evaluation"), EVALUATION, seen)]
    return Texts(
        passages=known,
        holdout=_holdout(world, seed),
        forget=tuple(_forget(world, known, wordings, Draw(seed, "forget"))),
        retain=tuple(_retain(world, wordings, Draw(seed, "retain"), seen)),
        calibration=tuple(_calibration(world, wordings, Draw(seed, "calibration"), seen)),
        evaluation=tuple(evaluation),
        prompts=tuple(_prompts(Draw(seed, "prompts"), seen)),
    )
