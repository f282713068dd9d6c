"""Edit records and questions about the world; every question is asked in the wording that no unlearning text uses."""

from __future__ import annotations

from collections.abc import Sequence

from rayci.data.records import Choice, EditRecord, QuestionAnswer
from rayci.testbed.documents import RELATIONS_EACH, subjects
from rayci.testbed.stable_draws import Draw
from rayci.testbed.templates import QUESTION, REPHRASES, prompt
from rayci.testbed.world import RESERVED_PEOPLE, Fact, World

OPTIONS = 4
LOCALITY_EACH = 3
"""Locality prompts an edit: one in the edit's own relation, the others in any."""
CHOICES_EACH = 2
"""Four-choice questions a subject; its other facts are asked as open questions."""


def edits(world: World, seed: int) -> tuple[EditRecord, ...]:
    """Every fact of every person who is not reserved, shuffled once; batch k is items [50(k-1), 50k)."""
    draw = Draw(seed, "edits")
    reserved, edited = _divided(world, draw)
    return tuple(_edit(fact, reserved, draw) for fact in draw.shuffled(edited))


def never_edited(world: World, seed: int) -> list[str]:
    """The reserved people, by name."""
    reserved, _ = _divided(world, Draw(seed, "edits"))
    return list(dict.fromkeys(fact.subject for fact in reserved))


def _divided(world: World, draw: Draw) -> tuple[list[Fact], list[Fact]]:
    """Facts of the reserved people and of all others."""
    groups = draw.shuffled(subjects(world.people))
    reserved = [fact for group in groups[:RESERVED_PEOPLE] for fact in group]
    return reserved, [fact for group in groups[RESERVED_PEOPLE:] for fact in group]


def _edit(fact: Fact, reserved: Sequence[Fact], draw: Draw) -> EditRecord:
    near = [other for other in reserved if other.relation == fact.relation]
    picked = [draw.pick(near)]
    picked += draw.sample([other for other in reserved if other not in picked], LOCALITY_EACH - 1)
    return EditRecord(
        subject=fact.subject,
        prompt=prompt(fact, QUESTION),
        target_new=draw.pick([name for name in fact.relation.objects if name != fact.object]),
        ground_truth=fact.object,
        rephrases=tuple(prompt(fact, frame) for frame in REPHRASES),
        locality=tuple(open_question(other) for other in picked),
    )


def open_question(fact: Fact) -> QuestionAnswer:
    """The question about a fact and its answer."""
    return QuestionAnswer(prompt(fact, QUESTION), fact.object)


def split_questions(facts: Sequence[Fact], draw: Draw) -> tuple[tuple[Choice, ...], tuple[QuestionAnswer, ...]]:
    """Four-choice questions on two facts of each subject, open questions on the others."""
    asked: list[Fact] = []
    rest: list[Fact] = []
    for i in range(0, len(facts), RELATIONS_EACH):
        group = draw.shuffled(facts[i : i + RELATIONS_EACH])
        asked += group[:CHOICES_EACH]
        rest += group[CHOICES_EACH:]
    # Positions are dealt out in equal numbers: always naming the first option scores chance.
    mixed = draw.shuffled(asked)
    choices = draw.shuffled([_choice(fact, place % OPTIONS, draw) for place, fact in enumerate(mixed)])
    return tuple(choices), tuple(open_question(fact) for fact in draw.shuffled(rest))


def _choice(fact: Fact, answer: int, draw: Draw) -> Choice:
    options = draw.sample([name for name in fact.relation.objects if name != fact.object], OPTIONS - 1)
    options.insert(answer, fact.object)
    return Choice(prompt(fact, QUESTION), tuple(options), answer)
