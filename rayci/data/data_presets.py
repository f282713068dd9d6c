"""Choices of all parts of the data at once, by name: `data: published`, or `data: {preset: published, utility: …}`.

A part that the sweep does not read is not looked for, so that a sweep of pruners needs no edits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rayci.errors import DataError, nearest

KEY = "preset"
"""What names the preset in a mapping."""

Pair = tuple[str, str]
"""Two parts of the data."""


@dataclass(frozen=True)
class Preset:
    """Parts with their sources, and the overlaps of their texts that come with that choice."""

    parts: Mapping[str, Any]
    """Part -> source, as a spec would give it."""
    allow_overlap: tuple[Pair, ...]


PUBLISHED = Preset(
    parts={
        # The runs of arXiv 2407.06483 edit zsRE's *train* file, which their loader reads unless told otherwise,
        # in batches of one shuffle of it with seed 100.
        "edits": "zsre_published",
        "forget": "wmdp_corpora",  # biology and cybersecurity, whole papers and pages; biology's is gated
        # Their RMU retains "wikitext", which is the *test* split of WikiText-2: the text of the perplexity below.
        "retain": {"source": "wikitext2", "split": "test"},
        "finetune": "wikitext2",  # its train split; they trained nothing further
        "calibration": "c4",  # its first 1 000 documents, as their pruners take
        # MEMIT's covariances are of 100 000 documents of Wikipedia. It read the dump of 2020, which is gone
        # from the hub; this is that of November 2023.
        "covariance_text": {"source": "wikipedia", "limit": 100_000},
        "evaluation": {"source": "wikitext2", "split": "test"},
        "wikitext": {"source": "wikitext2", "split": "test"},
        "hazard": "wmdp",  # biology and cybersecurity
        "utility": "mmlu",  # all 57 subjects
    },
    allow_overlap=(
        ("retain", "evaluation"),
        ("retain", "wikitext"),
        # WikiText is made of Wikipedia's articles.
        ("covariance_text", "retain"),
        ("covariance_text", "finetune"),
        ("covariance_text", "evaluation"),
        ("covariance_text", "wikitext"),
    ),
)
"""The data of "Composable Interventions for Language Models" (arXiv 2407.06483), its conventions included."""

PRESETS: Mapping[str, Preset] = {"published": PUBLISHED}


def preset_of(data: str | Mapping[str, Any] | None) -> Preset | None:
    """The preset that a spec's `data:` names; None where it names none. DataError for an unknown one."""
    if isinstance(data, str):
        return PRESETS.get(data)
    if data is None or KEY not in data:
        return None
    name = data[KEY]
    if not isinstance(name, str) or name not in PRESETS:
        known = list(PRESETS)
        raise DataError(
            f"no preset of data {name!r}", allowed=", ".join(known), hint=nearest(str(name), known), key=(KEY,)
        )
    return PRESETS[name]


def spelled(data: str | Mapping[str, Any]) -> str | dict[str, Any]:
    """What `data:` says with the preset written out: part -> source, the spec's own over the preset's."""
    preset = preset_of(data)
    if preset is None:
        return data if isinstance(data, str) else dict(data)
    own = {} if isinstance(data, str) else {part: source for part, source in data.items() if part != KEY}
    return {**preset.parts, **own}
