"""Which records of the data are asked, and which are shown before them as examples. Nothing is drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from rayci.data.records import Collection
from rayci.errors import DataError

T = TypeVar("T")


def stratified(records: Sequence[T], limit: int | None, key: Callable[[T], str]) -> tuple[T, ...]:
    """At most `limit` records in their order, every stratum's share of them as it is in the data.

    Strata are named by `key`; inside one the records are evenly spread. All where `limit` is None.
    """
    if limit is None or limit >= len(records):
        return tuple(records)
    by_stratum = sorted(range(len(records)), key=lambda index: key(records[index]))
    return tuple(
        records[index] for index in sorted(by_stratum[place * len(records) // limit] for place in range(limit))
    )


def first_examples(
    criterion: str, data: Collection, part: str, shots: int, subject: str | None = None
) -> tuple[Any, ...]:
    """The first `shots` few-shot examples of a part, of one subject or topic where it is named.

    Raises DataError, which names the criterion, where there are fewer, or where they are not on this machine.
    """
    known = data.examples(part) if shots else ()
    if subject is not None:
        known = tuple(example for example in known if subject in (example.subject, example.topic))
    if len(known) < shots:
        raise DataError(
            f"{criterion}: shots = {shots}, and {part} has {len(known)} examples"
            + (f" of {subject}" if subject else ""),
            at=data.sources.get(part, part),
            hint=f"fewer shots, or examples in {part}_shots.jsonl",
        )
    return known[:shots]
