"""Claims about strength, size and form of what is composed."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator

import numpy as np

from rayci.analysis.answering.ordering_rules.compared import AREA, Compared, Judged, less
from rayci.analysis.answering.ordering_rules.judgement import positive
from rayci.analysis.answering.ordering_rules.on_order import LEARNED
from rayci.analysis.scan.reading_point import Place
from rayci.analysis.scan.variant import Variant
from rayci.analysis.statistics.piecewise import Array
from rayci.analysis.statistics.verdicts import MARGIN
from rayci.kinds import Kind

SIMILAR = 0.02
"""Share of the range within which general utility counts as similar."""
FOUR_BITS = Place(gammas={"bits": 4.0})


def edits_fall(compared: Compared) -> Judged:
    """Rule 1: editing criteria fall as compression rises."""
    falls = []
    for family, compressor, editor in compared.of_kinds(Kind.COMPRESS, Kind.EDIT):
        rises = -1 if compressor.strength_name == "bits" else 1
        for name in compared.judging(Kind.EDIT):
            for order in ((compressor, editor), (editor, compressor)) if family.axis == compressor else ():
                curves = compared.curves(family, name, [order], AREA)
                falls.append(-rises * _concord(curves.x, curves.values[:, 0]))
    return Judged([positive("fall of edits with compression (Kendall's tau, 1: at every step)", falls)])


def utility_hides_edits(compared: Compared) -> Judged:
    """Rule 4: similar MMLU hides different editing criteria."""
    by_partner: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    for partner, general, edited, points in _utility_and_edits(compared):
        by_partner.setdefault((partner, general, edited), []).extend(points)
    spreads = []
    for points in by_partner.values():
        utility, edits = np.array(points).T
        near = edits[utility >= utility.max() - SIMILAR]
        if len(near) > 1:
            spreads.append(np.array([near.max() - near.min()]))
    text = f"spread of edits among compositions whose utility is within {SIMILAR:g} of the best, with one partner"
    return Judged([positive(f"{text}, above {MARGIN:g}", spreads, above=MARGIN)])


def _utility_and_edits(compared: Compared) -> Iterator[tuple[str, str, str, list[tuple[float, float]]]]:
    """Partner, general and editing criterion of every editor with a partner, and both values of both orders."""
    pairs = [pair for kind in (Kind.COMPRESS, Kind.UNLEARN) for pair in compared.of_kinds(kind, Kind.EDIT)]
    generals, editing = compared.judging(None), compared.judging(Kind.EDIT)
    for family, partner, editor in pairs if generals and editing else ():
        orders = [(partner, editor), (editor, partner)]
        good = {name: compared.goodness(family, name, orders) for name in (*generals, *editing)}
        for general, edited in itertools.product(generals, editing):
            utility, edits = good[general], good[edited]
            if len(utility) and len(edits):
                yield partner.label, general, edited, list(zip(utility.mean(axis=0), edits.mean(axis=0), strict=True))


def larger_batches_survive_worse(compared: Compared) -> Judged:
    """Rule 13: edits survive compression worse the larger the batch."""
    losses: dict[tuple[str, str, str], dict[float, Array]] = {}
    for family, compressor, editor in compared.of_kinds(Kind.COMPRESS, Kind.EDIT):
        for name in compared.named(LEARNED):
            size = compared.items(family, name, (editor,))
            after = compared.goodness(family, name, [(editor,), (editor, compressor)])
            if size and len(after):
                losses.setdefault((editor.method, compressor.label, name), {})[size] = after[:, 0] - after[:, 1]
    worse = [less(sizes[max(sizes)], sizes[min(sizes)]) for sizes in losses.values() if len(sizes) > 1]
    return Judged([positive("loss of the largest batch minus that of the smallest", worse)])


def lora_survives(compared: Compared) -> Judged:
    """Rule 14: updates in LoRA form survive 4 bits better than full ones."""
    losses: dict[tuple[str, str, str], dict[bool, list[Array]]] = {}
    for kind, criteria in ((Kind.EDIT, compared.named(LEARNED)), (Kind.UNLEARN, compared.judging(Kind.UNLEARN))):
        pairs = [pair for pair in compared.of_kinds("quantisers", kind) if pair[1].number_format is None]
        for (family, quantiser, method), name in itertools.product(pairs, criteria):
            after = compared.goodness(family, name, [(method,), (method, quantiser)], FOUR_BITS)
            if len(after):
                trained, low_rank = _form(method)
                by_form = losses.setdefault((quantiser.label, name, trained), {})
                by_form.setdefault(low_rank, []).append(after[:, 0] - after[:, 1])
    better = [
        less(full, low_rank)
        for forms in losses.values()
        for full, low_rank in itertools.product(forms.get(False, ()), forms.get(True, ()))
    ]
    return Judged([positive("loss of full updates minus that of LoRA ones at 4 bits", better)])


def _form(variant: Variant) -> tuple[str, bool]:
    """What is trained, whatever the form of its updates, and whether that is LoRA: `lora` edits as `ft` does."""
    if variant.method == "lora":
        return "ft", True
    return variant.method, json.loads(variant.settings or "{}").get("parametrisation") == "lora"


def _concord(x: Array, values: Array) -> Array:
    """Kendall's tau (a) of each row of `values[units, points]` with `x[points]`."""
    first, second = np.triu_indices(len(x), k=1)
    if not len(first):
        return np.empty(0)
    signs = np.sign(values[:, second] - values[:, first]) * np.sign(x[second] - x[first])
    mean: Array = signs.mean(axis=1)
    return mean
