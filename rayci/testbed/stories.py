"""A small grammar of stories: the general text of the world, for perplexity, retention and calibration."""

from __future__ import annotations

from rayci.testbed.stable_draws import Draw
from rayci.testbed.words import listed

ANIMALS = listed(
    "fox hare owl mouse bear goat crow toad deer duck hen mole otter pony ram seal swan wasp wren yak stork finch "
    "lamb crab"
)
ADJECTIVES = listed(
    "old young brave shy clever lazy hungry tired gentle proud tiny noisy quiet kind curious greedy merry wise clumsy "
    "patient grumpy swift lonely sleepy"
)
VERBS = (
    "walked to", "slept under", "hid behind", "looked at", "sang near", "ran past", "waited by", "jumped over",
    "danced around", "climbed onto", "rested beside", "hurried toward",
)  # fmt: skip
PLACES = listed(
    "river bridge oak barn well hill gate mill pond tower wall garden cottage meadow fence stable church market tent "
    "boat wagon cliff orchard lantern"
)
TIMES = ("One morning", "One evening", "Late at night", "In spring", "After the rain", "Long ago", "Once", "At noon")
GIFTS = listed("feather pebble pearl ribbon button shell candle ring flower bell coin key")
FEELINGS = listed("happy sad angry glad afraid surprised grateful jealous")
MANNERS = listed("slowly quickly together alone again singing smiling whistling")

# How many of the adjectives go with an animal, and of the places with a verb:
# the text then holds regularities that a damaged model loses before it loses the grammar.
ADJECTIVES_EACH, PLACES_EACH = 6, 8


def described(draw: Draw, unlike: str = "") -> tuple[str, str]:
    """An animal, and the same with an adjective that goes with it."""
    animal = draw.pick([name for name in ANIMALS if name != unlike])
    start = ANIMALS.index(animal)
    adjective = ADJECTIVES[(start + 5 * draw.below(ADJECTIVES_EACH)) % len(ADJECTIVES)]
    return animal, f"{adjective} {animal}"


def movement(draw: Draw) -> str:
    """What somebody did at a place that goes with it."""
    verb = draw.below(len(VERBS))
    place = PLACES[(2 * verb + draw.below(PLACES_EACH)) % len(PLACES)]
    return f"{VERBS[verb]} the {place}"


def story(draw: Draw) -> str:
    """Three to six sentences about two animals."""
    hero, hero_described = described(draw)
    friend, friend_described = described(draw, unlike=hero)
    giver, taker = (hero, friend) if draw.chance(0.5) else (friend, hero)
    middle = [
        f"The {giver} gave the {taker} a {draw.pick(GIFTS)}.",
        f"The {taker} felt {draw.pick(FEELINGS)} and {movement(draw)}.",
        f"The {giver} lost a {draw.pick(GIFTS)} and felt {draw.pick(FEELINGS)}.",
        f"Then the {hero} {movement(draw)}.",
    ]
    lines = [f"{draw.pick(TIMES)} the {hero_described} {movement(draw)}.", f"There it met the {friend_described}."]
    lines += draw.sample(middle, 1 + draw.below(3))
    if draw.chance(0.5):
        lines.append(f"They went home {draw.pick(MANNERS)}.")
    return " ".join(lines)


def stories(draw: Draw, count: int, seen: set[str]) -> list[str]:
    """`count` stories that are not in `seen`; they are added to it, so that draws stay disjoint."""
    told: list[str] = []
    while len(told) < count:
        text = story(draw)
        if text not in seen:
            seen.add(text)
            told.append(text)
    return told


def story_words() -> set[str]:
    """Every word that a story can hold, as split at spaces, punctuation aside."""
    fixed = listed("The There They Then it met the gave a felt and lost went home")
    phrases = [*VERBS, *TIMES]
    lists = [ANIMALS, ADJECTIVES, PLACES, GIFTS, FEELINGS, MANNERS, fixed]
    return {word for phrase in phrases for word in phrase.split()}.union(*lists)
