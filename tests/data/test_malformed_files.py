"""Malformed files of the real schemas: one DataError that names the file and the line or row."""

from __future__ import annotations

import copy
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rayci.data.part_source import PartSource
from rayci.data.row_files import MAX_LINE, rows
from rayci.data.supply import supply
from rayci.errors import DataError
from tests.data import real_schemas as real

SCHEMAS: dict[str, tuple[str, list[Any], tuple[tuple[str, ...], ...]]] = {
    # set: (part, good rows, paths of the fields that must be there)
    "zsre": ("edits", real.ZSRE[:1], (("subject",), ("src",), ("alt",), ("answers",), ("rephrase",), ("loc",))),
    "counterfact": (
        "edits",
        real.COUNTERFACT,
        (("requested_rewrite",), ("requested_rewrite", "subject"), ("requested_rewrite", "target_new", "str")),
    ),
    "mquake": ("edits", real.MQUAKE[:1], (("requested_rewrite",), ("single_hops",))),
    "wmdp": ("hazard", [real.question("bio", 1)], (("question",), ("choices",), ("answer",))),
    "wmdp_corpora": ("forget", [{"text": "A text."}], (("text",),)),
    "mmlu": ("utility", real.MMLU[:1], (("question",), ("choices",), ("answer",), ("subject",))),
    "wikitext2": ("evaluation", [{"text": "A text."}], (("text",),)),
    "c4": ("calibration", [{"text": "A text.", "timestamp": "", "url": ""}], (("text",),)),
}
FIELDS = [(name, path) for name, (_, _, paths) in SCHEMAS.items() for path in paths]
WRONG: dict[str, Any] = {"number": 7.5, "null": None, "mapping": {"a": 1}, "list of numbers": [1, 2]}


def refused(name: str, path: Path) -> DataError:
    part = SCHEMAS[name][0]
    with pytest.raises(DataError) as error:
        supply(part, PartSource.of(part, {"source": name, "path": str(path)}), fetch=False)
    return error.value


def changed(row: Any, path: tuple[str, ...], change: Callable[[dict[str, Any], str], Any]) -> Any:
    row = copy.deepcopy(row)
    inner = row
    for key in path[:-1]:
        inner = inner[key]
    change(inner, path[-1])
    return row


@pytest.mark.parametrize(("name", "path"), FIELDS)
def test_missing_field(name: str, path: tuple[str, ...], tmp_path: Path) -> None:
    good = SCHEMAS[name][1]
    file = real.lines(tmp_path / "rows.jsonl", [*good, changed(good[0], path, lambda row, key: row.pop(key))])
    error = refused(name, file)
    assert error.at == f"{file}:2" and repr(path[-1]) in error.problem


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize(("name", "path"), FIELDS)
def test_wrong_type(name: str, path: tuple[str, ...], wrong: str, tmp_path: Path) -> None:
    good = SCHEMAS[name][1]
    row = changed(good[0], path, lambda inner, key: inner.__setitem__(key, WRONG[wrong]))
    file = real.array(tmp_path / "rows.json", [*good, row])
    error = refused(name, file)
    assert error.at == f"{file}: record 2"


@pytest.mark.parametrize("name", SCHEMAS)
def test_unreadable(name: str, tmp_path: Path) -> None:
    good = SCHEMAS[name][1]
    whole = real.lines(tmp_path / "good.jsonl", good).read_bytes()
    cases = {
        "utf8.jsonl": (whole + b'{"text": "\xff\xfe"}\n', "utf8.jsonl:2"),
        "broken.jsonl": (whole + b'{"text": "unclosed\n', "broken.jsonl:2"),
        "empty.jsonl": (b"", "empty.jsonl"),
        "cut.jsonl.gz": (gzip.compress(whole * 50)[:-20], "cut.jsonl.gz:"),
        "no.parquet": (b"PAR1 and nothing else", "no.parquet"),
        "no.arrow": (b"ARROW1", "no.arrow"),
    }
    for file, (content, place) in cases.items():
        (tmp_path / file).write_bytes(content)
        assert f"{tmp_path}/{place}" in str(refused(name, tmp_path / file).at)


def test_truncated_parquet_and_csv_with_another_number_of_columns(tmp_path: Path) -> None:
    whole = real.parquet(tmp_path / "whole.parquet", real.MMLU).read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    assert "cut.parquet" in str(refused("mmlu", tmp_path / "cut.parquet").at)
    (tmp_path / "columns.csv").write_text("text,url\na,b\nc\n")
    assert str(refused("c4", tmp_path / "columns.csv").at).endswith("columns.csv:3")


def test_a_line_without_end_is_not_read_into_memory(tmp_path: Path) -> None:
    endless = tmp_path / "endless.jsonl"
    with endless.open("wb") as file:  # a hole, so that it takes no room on the disk
        file.write(b'{"text": "')
        file.truncate(MAX_LINE * 4)
    with pytest.raises(DataError, match="longer than 64 MiB") as error:
        list(rows(endless))
    assert error.value.at == f"{endless}:1"


def test_nothing_that_can_be_used_is_said_with_the_reasons(tmp_path: Path) -> None:
    file = real.array(tmp_path / "zsre.json", real.ZSRE[1:])
    error = refused("zsre", file)
    assert "1 rows: the target is empty" in error.problem and error.at == str(file)
