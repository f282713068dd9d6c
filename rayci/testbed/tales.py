"""Stories about people, and questions that they answer: what a model of the world can be trained on further.

Every sentence names one of the people who are never edited, so that none stands in another part, and none says a fact.
The grammar is that of the animals' stories, in which people do not occur: there is something to learn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rayci.data.records import Document, QuestionAnswer
from rayci.testbed.stable_draws import Draw
from rayci.testbed.stories import FEELINGS, GIFTS, MANNERS, TIMES, described, movement

TALES, QUESTIONS = 192, 128
TOPIC = "tales"


@dataclass(frozen=True, slots=True)
class Tale:
    """A story with what it says of its hero."""

    hero: str
    text: str
    lost: str
    feeling: str


def tale(draw: Draw, people: Sequence[str]) -> Tale:
    """Four to six sentences about a person who meets an animal and loses something."""
    hero, (friend, friend_described) = draw.pick(people), described(draw)
    lost, feeling = draw.pick(GIFTS), draw.pick(FEELINGS)
    gift = draw.pick([name for name in GIFTS if name != lost])
    middle = [
        f"The {friend} gave {hero} a {gift}.",
        f"{hero} gave the {friend} a {gift}.",
        f"Then {hero} {movement(draw)}.",
    ]
    lines = [f"{draw.pick(TIMES)} {hero} {movement(draw)}.", f"There {hero} met the {friend_described}."]
    lines += draw.sample(middle, 1 + draw.below(2))
    lines += [f"{hero} lost a {lost} and felt {feeling}."]
    if draw.chance(0.5):
        lines.append(f"{hero} went home {draw.pick(MANNERS)}.")
    return Tale(hero, " ".join(lines), lost, feeling)


def question(draw: Draw, told: Tale) -> QuestionAnswer:
    """The tale with one of two questions, which it answers in one word."""
    if draw.chance(0.5):
        return QuestionAnswer(f"{told.text} Question: what did {told.hero} lose? Answer:", told.lost)
    return QuestionAnswer(f"{told.text} Question: how did {told.hero} feel? Answer:", told.feeling)


def told_of(people: Sequence[str], count: int, draw: Draw) -> list[Tale]:
    """So many different tales."""
    told: dict[str, Tale] = {}
    while len(told) < count:
        one = tale(draw, people)
        told.setdefault(one.text, one)
    return list(told.values())


def tales(people: Sequence[str], seed: int) -> tuple[tuple[Document, ...], tuple[QuestionAnswer, ...]]:
    """Text about the first half of these people, and questions about the other."""
    draw, half = Draw(seed, "tales"), len(people) // 2
    texts = tuple(Document(one.text, TOPIC) for one in told_of(people[:half], TALES, draw))
    return texts, tuple(question(draw, one) for one in told_of(people[half:], QUESTIONS, draw))
