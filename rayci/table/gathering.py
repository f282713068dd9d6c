"""Result tables from anywhere, several brought into one: the same measurement counts once, whichever sweep made it.

A measurement is a stage, a criterion with everything that decides its value, a replicate, a seed, under one policy of
re-compression. Sweeps that differ otherwise (a longer grid, one method more) share those of their common stages.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import pyarrow as pa
import pyarrow.compute as pc

from rayci.errors import CorruptionError, RequestError
from rayci.storage import entries
from rayci.storage.sealed import File, each
from rayci.table.foreign import is_foreign, read_foreign
from rayci.table.merging import Conflict, merged, merged_scales
from rayci.table.part_file import Part, open_part
from rayci.table.places import Place, Source, places
from rayci.table.reading import joined, refuse_others
from rayci.table.result_table import ResultTable, remedy
from rayci.table.row_codes import in_order
from rayci.table.schema import ORDER

MEASUREMENT = ("stage_fingerprint", "recompress", "criterion", "criterion_fingerprint", "replicate", "seed")
"""What tells measurements apart, over all sweeps."""


def gather(source: Source) -> dict[str, ResultTable]:
    """The tables, by name, of a file, a run folder, a folder of runs, a glob, a URL of these, or a list of them.

    A file without a mark of ours may be anyone's, see `foreign`; the parts of a run must be ours and whole.
    Raises RequestError where there is no table, or where two contradict each other; CorruptionError for damage.
    """
    meant = dict.fromkeys(places(source))
    try:
        return {name: table for place in meant for name, table in _tables(place).items()}
    except CorruptionError:
        if all(file.exists() for place in meant for file in place.files):
            raise
        return gather(source)  # a run ended meanwhile, and its parts were brought into one file


def merge(tables: Mapping[str, ResultTable]) -> ResultTable:
    """Several tables, by the names of their sources, as one; RequestError where two contradict each other."""
    if len(tables) == 1:
        return next(iter(tables.values()))
    try:
        scales = merged_scales({name: table.scales for name, table in tables.items()})
        rows = merged({name: table.arrow for name, table in tables.items()}, MEASUREMENT)
    except Conflict as conflict:
        hint = "one of the two alone; rayci run … --retry-failed for a failure"
        raise RequestError(str(conflict), hint=hint) from None
    return ResultTable(
        in_order(_one_name_a_model(rows), ORDER),
        scales,
        tuple(dict.fromkeys(file for table in tables.values() for file in table.item_files)),
        {model: count for table in tables.values() for model, count in table.parameters.items()},
    )


def _tables(place: Place) -> dict[str, ResultTable]:
    """The tables of a place by name: one, unless it is a folder into which files of several sweeps were put."""
    if place.run is not None:
        with remedy():
            parts = each(place.files, open_part)
            refuse_others(parts, place.run)
            table = joined(parts)
        return {place.name: ResultTable(table.arrow, table.scales, place.items, _parameters(place, table.arrow))}
    theirs: list[File] = []
    try:
        ours = each(place.files, open_part)
    except CorruptionError:
        theirs = [file for file in place.files if is_foreign(file)]
        with remedy():
            ours = each([file for file in place.files if file not in theirs], open_part)
    tables = {str(file): ResultTable(*read_foreign(file)) for file in theirs}
    sweeps: dict[str, list[Part]] = {}
    for part in ours:
        sweeps.setdefault(part.sweep, []).append(part)
    with remedy():
        for parts in sweeps.values():
            table = joined(parts)
            name = place.name if len(sweeps) == 1 else str(parts[0].path)
            tables[name] = ResultTable(table.arrow, table.scales, place.items)
    return tables


def _parameters(place: Place, rows: pa.Table) -> Mapping[str, int]:
    """How many parameters the run's model has, where the run says so."""
    with suppress(CorruptionError, KeyError):
        if place.run is not None and (count := entries.read(place.run)["parameters"]):
            return {str(rows.column("model_fingerprint")[0]): int(count)}
    return {}


def _one_name_a_model(rows: pa.Table) -> pa.Table:
    """The rows with one name for each model: a folder and a hub's id may name the same one, one name two of them."""
    pairs = rows.select(["model_fingerprint", "model"]).group_by(["model_fingerprint", "model"], use_threads=False)
    names: dict[str, str] = {}
    held = pairs.aggregate([]).to_pylist()
    for pair in held:
        names.setdefault(pair["model_fingerprint"] or pair["model"], pair["model"])
    taken = list(names.values())
    final = {model: name if taken.count(name) == 1 else f"{name} ({model[:8]})" for model, name in names.items()}
    if all(final[pair["model_fingerprint"] or pair["model"]] == pair["model"] for pair in held):
        return rows
    models = pc.if_else(
        pc.equal(rows.column("model_fingerprint"), ""), rows.column("model"), rows.column("model_fingerprint")
    )
    encoded = models.combine_chunks().dictionary_encode()
    named = pa.array([final[model] for model in encoded.dictionary.to_pylist()], pa.string())
    column = rows.schema.get_field_index("model")
    return rows.set_column(column, rows.schema.field(column), named.take(encoded.indices))
