"""What a spec says under `data:`, said again for another place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rayci.data.data_presets import KEY, PRESETS, preset_of, spelled
from rayci.data.part_source import PartSource


def relocated(data: Any, place: Callable[[str], str]) -> Any:
    """The same, with every file and folder of this machine named as `place` names it."""
    if data is None or data == "testbed" or (isinstance(data, str) and data in PRESETS):
        return data
    if isinstance(data, str):
        return place(data)
    return {part: asked if part == KEY else _relocated(part, asked, place) for part, asked in data.items()}


def _relocated(part: str, asked: str | Mapping[str, Any], place: Callable[[str], str]) -> Any:
    source = PartSource.of(part, asked)
    if isinstance(asked, str):
        return asked if source.path is None else place(source.path)
    moved = dict(asked)
    if source.path is not None:
        moved["path" if "path" in asked else "source"] = place(source.path)
    if source.shots is not None:
        moved["shots"] = place(source.shots)
    return moved


def pinned(data: Any, commits: Mapping[str, str]) -> Any:
    """The same, with the commits that parts were read at: a branch may move before another process reads it.

    `commits`: part -> `owner/name@commit`, several with commas, as in `rayci.data.records.Collection`.
    """
    if not commits:
        return data
    named = spelled(data)
    assert not isinstance(named, str)  # a folder holds nothing of the hub
    preset = {} if preset_of(data) is None else {KEY: data if isinstance(data, str) else data[KEY]}
    return {**preset, **{part: _pinned(part, asked, commits.get(part)) for part, asked in named.items()}}


def _pinned(part: str, asked: str | Mapping[str, Any], commits: str | None) -> Any:
    if commits is None:
        return asked
    own = {"source": asked} if isinstance(asked, str) else dict(asked)
    revisions = dict(place.split("@") for place in commits.split(", "))
    return {**own, "source": PartSource.of(part, asked).source, "revision": revisions}
