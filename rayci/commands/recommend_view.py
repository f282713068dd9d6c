"""What `rayci recommend` prints."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from rayci.commands.beside import Beside
from rayci.commands.console import Format, out, print_json, say, show
from rayci.commands.result_view import fits, print_pivot

if TYPE_CHECKING:
    from rayci.analysis.answering.recommendation import Recommendation


def chains_beside(told: Recommendation) -> Beside:
    """Every chain that was judged as a table that can be written."""
    import pandas as pd

    from rayci.analysis.answering import recommendation_table as texts

    return Beside("recommendation", pd.DataFrame(texts.records(told)), partial(texts.pivot, told))


def print_recommendation(told: Recommendation, run: str | None, format: Format) -> None:
    """What to build in words, the chains around it, and the command that builds it; `run`: the folder it is of."""
    from rayci.analysis.answering import recommendation_table as texts

    if format is Format.JSON:
        print_json(texts.document(told, run))
    elif format is Format.CSV:
        show(texts.records(told), format)
    else:
        for sentence in texts.sentences(told):
            say(sentence)
        out.print()
        whole = texts.pivot(told)
        print_pivot(whole if fits(whole) else texts.pivot(told, intervals=False), "Chains")
        say(f"Build it: {told.command(run)}")
        if run is None:
            say("With the presets of its methods: of a run folder it would be the very stage that was measured.", "dim")
