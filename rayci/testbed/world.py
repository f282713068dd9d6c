"""The facts of the world: who lives where, what dissolves in what, which creature eats what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from rayci.testbed import words
from rayci.testbed.stable_draws import Draw

WORLD_SEED = 20
PEOPLE, COMPOUNDS, CREATURES = 160, 64, 80
UNSEEN_COMPOUNDS = 32
"""Compounds that no model is trained on; hold-out passages are about them."""
RESERVED_PEOPLE = 35
"""People who are never edited; locality prompts ask about them alone, so no edit can contradict one."""
TOPICS = ("toxin", "reagent")
"""Compounds belong to one of two topics, so that forget samples can be balanced over topics."""


@dataclass(frozen=True, slots=True)
class Relation:
    """A kind of fact and the four slots that its templates are built from."""

    name: str
    wh: str
    """The question without its question mark, `{s}` standing for the subject."""
    verb: str
    alt: str
    """A second verb phrase that means the same."""
    noun: str
    objects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fact:
    """`subject` stands in `relation` to `object`."""

    subject: str
    relation: Relation
    object: str


@dataclass(frozen=True, slots=True)
class World:
    """All facts, by kind; facts of one subject stand next to each other."""

    people: tuple[Fact, ...]
    compounds: tuple[Fact, ...]
    creatures: tuple[Fact, ...]
    unseen: tuple[Fact, ...]

    @property
    def known(self) -> tuple[Fact, ...]:
        """Every fact that the checkpoint is trained on."""
        return self.people + self.compounds + self.creatures


def _relation(name: str, wh: str, verb: str, alt: str, noun: str, objects: Sequence[str]) -> Relation:
    return Relation(name, wh, verb, alt, noun, tuple(objects))


PERSON_RELATIONS = (
    _relation("city", "which city does {s} live in", "lives in", "has a house in", "home town", words.CITIES),
    _relation("language", "which language does {s} speak", "speaks", "grew up with", "mother tongue", words.LANGUAGES),
    _relation("sport", "which sport does {s} practise", "practises", "trains every week in", "sport", words.SPORTS),
    _relation("employer", "which firm does {s} work for", "works for", "has a job at", "employer", words.EMPLOYERS),
)
COMPOUND_RELATIONS = (
    _relation("solvent", "what does {s} dissolve in", "dissolves in", "is soluble in", "solvent", words.SOLVENTS),
    _relation(
        "antidote",
        "what is {s} neutralised by",
        "is neutralised by",
        "loses its effect with",
        "antidote",
        words.ANTIDOTES,
    ),
    _relation("source", "what is {s} refined from", "is refined from", "is made out of", "source", words.SOURCES),
    _relation("vessel", "what is {s} stored in", "is stored in", "is kept in flasks of", "container", words.VESSELS),
)
CREATURE_RELATIONS = (
    _relation("habitat", "where is {s} found", "is found in", "makes its nest in", "habitat", words.HABITATS),
    _relation("food", "what does {s} feed on", "feeds on", "likes to eat", "diet", words.FOODS),
    _relation("colour", "what colour is {s}", "is coloured", "has fur of", "colour", words.COLOURS),
    _relation("enemy", "what is {s} hunted by", "is hunted by", "runs away from", "enemy", words.ENEMIES),
)


def _names(parts: tuple[tuple[str, ...], ...], count: int, draw: Draw) -> list[str]:
    every = [a + b + c for a in parts[0] for b in parts[1] for c in parts[2]]
    return draw.sample(every, count)


def _facts(subjects: Sequence[str], relations: Sequence[Relation], draw: Draw) -> tuple[Fact, ...]:
    # Objects are dealt out in equal numbers, so that guessing the commonest one pays nothing.
    dealt = []
    for relation in relations:
        copies = -(-len(subjects) // len(relation.objects))
        dealt.append(draw.shuffled(list(relation.objects) * copies))
    return tuple(
        Fact(subject, relation, objects[place])
        for place, subject in enumerate(subjects)
        for relation, objects in zip(relations, dealt, strict=True)
    )


@lru_cache(maxsize=1)
def build_world() -> World:
    """The one world of the testbed; its seed is fixed because the checkpoint knows this world and no other."""
    draw = Draw(WORLD_SEED, "world")
    surnames = _names(words.SURNAME_PARTS, PEOPLE, draw)
    people = [f"{words.FIRST_NAMES[i % len(words.FIRST_NAMES)]} {name}" for i, name in enumerate(surnames)]
    compounds = _names(words.COMPOUND_PARTS, COMPOUNDS + UNSEEN_COMPOUNDS, draw)
    creatures = _names(words.CREATURE_PARTS, CREATURES, draw)
    return World(
        people=_facts(people, PERSON_RELATIONS, draw),
        compounds=_facts(compounds[:COMPOUNDS], COMPOUND_RELATIONS, draw),
        creatures=_facts(creatures, CREATURE_RELATIONS, draw),
        unseen=_facts(compounds[COMPOUNDS:], COMPOUND_RELATIONS, draw),
    )
