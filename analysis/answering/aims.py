"""What a criterion is about: what some kind of method aims at, or general utility, which none means to change."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from rayci.kinds import Direction, Kind, Scale

_AIMS = {
    Kind.EDIT: ("edit_", "nll_ratio"),
    Kind.UNLEARN: ("wmdp", "hazard", "forget_", "verbmem", "knowmem_forget", "privleak", "rwku_"),
}
"""Kind of a method -> how the names of the criteria begin that say whether it did what it is for, the first first."""
GENERAL = ("mmlu", "utility")
"""Criteria of general utility by name, the first first."""


def aim_of(criterion: str) -> Kind | None:
    """The kind of method whose success or side effect a criterion measures; None for what concerns all."""
    task = criterion.rpartition(":")[2]
    return next((kind for kind, begins in _AIMS.items() if task.startswith(begins)), None)


def concerns(criterion: str, kinds: Collection[Kind | str]) -> bool:
    """Whether a criterion says something about methods of these kinds.

    Edit criteria need an editor among them, criteria of forgetting an unlearner: elsewhere
    they measure what nobody tried to do.
    """
    return aim_of(criterion) in (None, *kinds)


def goals(criteria: Iterable[str], kinds: Collection[Kind | str]) -> list[str]:
    """Of criteria in their order, the first that measures the aim of each kind among the methods."""
    by_aim: dict[Kind, str] = {}
    for criterion in criteria:
        aim = aim_of(criterion)
        if aim in kinds and aim is not None:
            by_aim.setdefault(aim, criterion)
    return list(by_aim.values())


def utility_criterion(scales: Mapping[str, Scale]) -> str | None:
    """The criterion that says what everything costs: of GENERAL, else a share where more is better, else a perplexity.

    None where every criterion is some method's aim, or has no better direction.
    """
    general = [name for name, scale in scales.items() if aim_of(name) is None and scale.direction != Direction.NONE]
    shares = [n for n in general if scales[n].direction is Direction.HIGHER and scales[n].high is not None]
    spanning = [name for name in general if scales[name].logarithmic]
    return next(iter([*(name for name in GENERAL if name in general), *shares, *spanning]), None)
