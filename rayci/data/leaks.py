"""Parts of the data that share text: what was trained on, forgotten or calibrated with must not be measured on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from pydantic import TypeAdapter

from rayci.data.data_presets import Pair
from rayci.data.mapped_documents import MappedDocuments, fingerprint_of
from rayci.data.records import Collection
from rayci.data.shared_runs import COMPARED, RUN, Overlap, overlaps
from rayci.data.supply import own_code
from rayci.errors import RequestError, StorageError
from rayci.fingerprint import fingerprint
from rayci.storage.prepared import Facts, once

_VERDICT = TypeAdapter(list[Overlap])


def leaks(data: Collection, allowed: Iterable[Pair]) -> Iterator[RequestError]:
    """A fault for every pair of parts that share text, but for those that may."""
    for overlap in _verdict(data, tuple(allowed)):
        one, other = overlap.parts
        least = "at least " if overlap.more else ""
        counts = f"{least}{overlap.documents[0]} documents of {one} and {overlap.documents[1]} of {other}"
        yield RequestError(
            f"{one} and {other} share text: {counts}, {overlap.runs} runs of {RUN} words or whole short documents",
            at=f"document {overlap.first[0]} of {one}, {overlap.first[1]} of {other}: {overlap.text!r}",
            hint=f"other text for one: what was seen before says little; or `allow_overlap: [[{one}, {other}]]`",
            key=(one,),
        )


def _verdict(data: Collection, allowed: Sequence[Pair]) -> list[Overlap]:
    """The overlaps; where text is large they are found once on this node, and kept in a file beside it."""
    held = {part: getattr(data, part) for part in COMPARED}
    if not any(isinstance(documents, MappedDocuments) for documents in held.values()):
        return overlaps(data, allowed)

    def make(path: Path) -> Facts:
        path.write_bytes(_VERDICT.dump_json(overlaps(data, allowed)))
        return {}

    parts = {part: fingerprint_of(documents) for part, documents in held.items()}
    name = fingerprint(["overlaps", own_code(), parts, sorted(map(sorted, allowed))])
    with suppress(StorageError):
        path, _ = once(f"{name}.overlaps", make)
        return _VERDICT.validate_json(path.read_bytes())
    return overlaps(data, allowed)
