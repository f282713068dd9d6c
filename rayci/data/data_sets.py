"""The data sets that a spec may name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from rayci.data.alpaca_eval import ALPACA_EVAL
from rayci.data.counterfact import COUNTERFACT, COUNTERFACT_PUBLISHED
from rayci.data.data_set import DataSet
from rayci.data.local import RECORDS
from rayci.data.mmlu import MMLU
from rayci.data.mquake import MQUAKE, MQUAKE_PUBLISHED
from rayci.data.muse import MUSE
from rayci.data.plain_text import CORPORA
from rayci.data.rwku import RWKU
from rayci.data.tofu import TOFU
from rayci.data.trivia_qa import TRIVIAQA
from rayci.data.truthful_qa import TRUTHFULQA
from rayci.data.wmdp import WMDP, WMDP_CORPORA
from rayci.data.zsre import ZSRE, ZSRE_PUBLISHED

_EDITING = (ZSRE, COUNTERFACT, MQUAKE, ZSRE_PUBLISHED, COUNTERFACT_PUBLISHED, MQUAKE_PUBLISHED)
_QUESTIONS = (WMDP, MMLU, TRUTHFULQA, TRIVIAQA)
_UNLEARNING = (WMDP_CORPORA, *MUSE, RWKU, TOFU)
OWN = RECORDS.name
"""The project's own schema, which any file may have."""


@cache
def known_sets() -> Mapping[str, DataSet]:
    """Name -> data set."""
    catalogue = (*_EDITING, *_QUESTIONS, *_UNLEARNING, *CORPORA, ALPACA_EVAL, RECORDS)
    return {known.name: known for known in catalogue}


def of_repository(repository: str) -> DataSet | None:
    """The data set that has this place on the hub; None for one that the catalogue does not know."""
    for known in known_sets().values():
        if repository in known.repositories:
            return known
    return None
