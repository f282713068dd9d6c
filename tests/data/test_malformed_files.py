"""Malformed files of the real schemas: one DataError that names the file and the line or row."""

from __future__ import annotations

import copy
import gzip
import json
import tracemalloc
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rayci.data.part_source import PartSource
from rayci.data.row_files import MAX_ARRAY, MAX_LINE
from rayci.data.supply import supply
from rayci.errors import DataError
from tests.data import real_schemas as real
from tests.data.real_schemas import supplied

SCHEMAS: dict[str, tuple[str, list[Any], tuple[tuple[str, ...], ...]]] = {
    # set: (part, good rows, paths of the fields that must be there)
    "zsre": ("edits", real.ZSRE[:1], (("subject",), ("src",), ("alt",), ("answers",), ("rephrase",), ("loc",))),
    "counterfact": (
        "edits",
        real.COUNTERFACT,
        (("requested_rewrite",), ("requested_rewrite", "subject"), ("requested_rewrite", "target_new", "str")),
    ),
    "mquake": (
        "edits",
        real.MQUAKE[:1],
        (("requested_rewrite",), ("single_hops",), ("questions",), ("new_answer",), ("new_answer_alias",)),
    ),
    "wmdp": ("hazard", [real.question("bio", 1)], (("question",), ("choices",), ("answer",))),
    "wmdp_corpora": ("forget", [{"text": "A text."}], (("text",),)),
    "mmlu": ("utility", real.MMLU[:1], (("question",), ("choices",), ("answer",), ("subject",))),
    "wikitext2": ("evaluation", [{"text": "A text."}], (("text",),)),
    "c4": ("calibration", [{"text": "A text.", "timestamp": "", "url": ""}], (("text",),)),
    "truthfulqa": (
        "truthfulqa",
        real.TRUTHFULQA[:1],
        (("question",), ("mc1_targets",), ("mc1_targets", "choices"), ("mc1_targets", "labels")),
    ),
    "triviaqa": ("triviaqa", real.TRIVIAQA, (("question",), ("answer",), ("answer", "aliases"), ("answer", "value"))),
    "alpaca_eval": ("prompts", real.ALPACA_EVAL, (("instruction",),)),
    "tofu": ("forget_questions", real.TOFU, (("question",), ("answer",))),
    "muse_news": ("passages", real.MUSE_VERBMEM, (("prompt",), ("gt",))),
    "muse_books": ("retain_questions", real.MUSE_QA[:1], (("question",), ("answer",))),
    "rwku": (
        "forget_questions",
        real.RWKU["forget_level1"]("Ina"),
        (("query",), ("answer",), ("subject",), ("level",)),
    ),
    "records": (
        "edits",
        [{"subject": "Vale", "prompt": "Vale lies in", "target_new": "Arland", "ground_truth": "Orland"}],
        (("subject",), ("prompt",), ("target_new",), ("ground_truth",)),
    ),
}
FIELDS = [(name, path) for name, (_, _, paths) in SCHEMAS.items() for path in paths]
WRONG: dict[str, Any] = {"number": 7.5, "null": None, "mapping": {"a": 1}, "list of numbers": [1, 2]}


def refused(name: str, path: Path) -> DataError:
    part = SCHEMAS[name][0]
    with pytest.raises(DataError) as error:
        supplied(part, source=name, path=path)
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


@pytest.mark.parametrize("half", ["\\ud800", "\\udfff and more"])
@pytest.mark.parametrize("name", SCHEMAS)
def test_half_of_a_surrogate_pair(name: str, half: str, tmp_path: Path) -> None:
    _, good, paths = SCHEMAS[name]
    texts = [path for path in paths if isinstance(_at(good[0], path), str)]
    row = json.dumps(changed(good[0], texts[0], lambda inner, key: inner.__setitem__(key, "HALF")))
    file = real.lines(tmp_path / "rows.jsonl", [*good, row.replace("HALF", half)])
    assert refused(name, file).at == f"{file}:2"


def _at(row: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        row = row[key]
    return row


LINE = b'{"text": "A text."}\n'
FILES: dict[str, tuple[str, bytes, str, str]] = {
    # what is wrong: (ending of the name, content, place after the name, words)
    "not utf-8": ("jsonl", LINE + b'{"text": "\xff\xfe"}\n', ":2", "not UTF-8"),
    "utf-16": ("jsonl", LINE.decode().encode("utf-16"), ":1", "not UTF-8"),
    "a text that is not closed": ("jsonl", LINE + b'{"text": "unclosed\n', ":2", "Invalid control character"),
    "a comma too many": ("jsonl", LINE + b'{"text": "A",}\n', ":2", "double quotes"),
    "single quotes": ("jsonl", b"{'text': 'A'}\n", ":1", "double quotes"),
    "two objects in a line": ("jsonl", LINE + LINE.strip() * 2 + b"\n", ":2", "Extra data"),
    "a key twice": ("jsonl", LINE + b'{"text": "A", "text": "B"}\n', ":2", "'text' stands twice"),
    "a key twice below": ("jsonl", b'{"text": "A", "meta": {"a": 1, "a": 2}}\n', ":1", "'a' stands twice"),
    "cut in the middle": ("jsonl", LINE * 3 + LINE[:13], ":4", "Unterminated string"),
    "too deep": ("jsonl", LINE + b"[" * 100_000, ":2", "too deeply nested"),
    "a number": ("jsonl", LINE + b"12\n", ":2", "is no record"),
    "null": ("jsonl", LINE + b"null\n", ":2", "is no record"),
    "an array a line": ("jsonl", b'[{"text": "A"}]\n', ":1", "is no record"),
    "an object over several lines": ("jsonl", b'{\n"text": "A"\n}\n', ":1", "double quotes"),
    "NUL": ("jsonl", b"\x00" * 40, ":1", "Expecting value"),
    "empty": ("jsonl", b"", "", "holds no record"),
    "blank lines": ("jsonl", b"\n  \n\n", "", "holds no record"),
    "an empty array": ("json", b"[]", "", "holds no record"),
    "an array in an array": ("json", b'[[{"text": "A"}]]', ": record 1", "is no record"),
    "an array of numbers": ("json", b'[{"text": "A"}, 5]', ": record 2", "is no record"),
    "an array that is cut": ("json", b'[{"text": "A"}, {"te', "", "line 1 column"),
    "an array with text after it": ("json", b'[{"text": "A"}] {}', "", "Extra data"),
    "an array that is not utf-8": ("json", b'[{"text": "\xff"}]', "", "not UTF-8"),
    "rows below a key": ("json", b'{"data": [{"text": "A"}]}', ":1", "no field 'text'"),
    "columns in place of rows": ("json", b'{"text": ["A", "B"]}', ":1", "not a text"),
    "a pointer of Git LFS": ("json", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", ":1", "Git LFS"),
    "a web page": ("jsonl", b"\n<!DOCTYPE html>\n<html>Sign in</html>", ":1", "web page"),
    "gzip that is cut": ("jsonl.gz", gzip.compress(LINE * 900)[:-20], ":", "end-of-stream"),
    "gzip that is damaged": ("jsonl.gz", gzip.compress(LINE)[:12] + b"\xff" * 20, ":1", "cannot read"),
    "gzip by name alone": ("jsonl.gz", LINE, ":1", "Not a gzipped file"),
    "nothing in gzip": ("jsonl.gz", gzip.compress(b""), "", "holds no record"),
    "zstandard by name alone": ("jsonl.zst", LINE, ":1", "cannot read"),
    "parquet by name alone": ("parquet", LINE, "", "cannot read"),
    "parquet without its end": ("parquet", b"PAR1 and nothing else", "", "cannot read"),
    "an empty parquet": ("parquet", b"", "", "cannot read"),
    "arrow without its end": ("arrow", b"ARROW1", "", "cannot read"),
    "an empty arrow": ("arrow", b"", "", "cannot read"),
    "csv with a column too few": ("csv", b"text,url\na,b\nc\n", ":3", "2 columns"),
    "csv with a column too many": ("csv", b"text\na,b\n", ":2", "1 columns"),
    "csv that is not closed": ("csv", b'text\n"a\nb\n', ":", "cannot read"),
    "csv that is not utf-8": ("csv", b"text\n\xff\n", ":", "not UTF-8"),
    "csv without the column": ("csv", b"words\na\n", ":2", "no field 'text'"),
}


@pytest.mark.parametrize("wrong", FILES)
def test_file(wrong: str, tmp_path: Path) -> None:
    ending, content, place, words = FILES[wrong]
    file = tmp_path / f"rows.{ending}"
    file.write_bytes(content)
    error = refused("c4", file)
    assert str(error.at).startswith(f"{file}{place}") and words in error.problem
    assert len(str(error).splitlines()) <= 4


@pytest.mark.parametrize("start", ["version https://git-lfs.github.com/spec/v1", "<html><body>Sign in"])
def test_what_is_no_data_is_not_taken_for_plain_text(start: str, tmp_path: Path) -> None:
    file = real.lines(tmp_path / "bio_remove_dataset.jsonl", [start, "and more"])
    assert refused("wmdp_corpora", file).at == f"{file}:1"


@pytest.mark.parametrize("kept", [0.2, 0.6, 0.95])
@pytest.mark.parametrize("ending", ["parquet", "arrow", "stream.arrow", "jsonl.zst"])
def test_truncated(ending: str, kept: float, tmp_path: Path) -> None:
    table = pa.table({"text": [f"Text {number} of many." * 9 for number in range(900)]})
    file = tmp_path / f"rows.{ending}"
    if ending == "parquet":
        pq.write_table(table, file)
    elif ending == "jsonl.zst":
        with pa.CompressedOutputStream(str(file), "zstd") as packed:
            packed.write("".join(json.dumps(row) + "\n" for row in table.to_pylist()).encode())
    else:
        opened = pa.ipc.new_stream if ending == "stream.arrow" else pa.ipc.new_file
        with opened(file, table.schema) as writer:
            writer.write_table(table, max_chunksize=100)
    assert len(supplied("calibration", source="c4", path=file, limit=900).records) == 900
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * kept)])
    assert str(refused("c4", file).at).startswith(str(file))


@pytest.mark.parametrize("column", [[1, 2], [None, "A"], [["A"], ["B"]], [b"A", b"B"]])
def test_parquet_with_a_column_of_another_type(column: list[Any], tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"text": column}), file)
    error = refused("c4", file)
    assert error.at == f"{file}: row 1" and "text is" in error.problem


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_columns_that_are_not_utf8(ending: str, tmp_path: Path) -> None:
    texts = pa.array([b"A text.", b"\xff\xfe"]).view(pa.string())
    table, file = pa.table({"text": texts}), tmp_path / f"rows.{ending}"
    if ending == "parquet":
        pq.write_table(table, file)
    else:
        with pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
    error = refused("c4", file)
    assert error.at == str(file) and "after row 1: 'utf-8'" in error.problem


@pytest.mark.parametrize("ending", ["jsonl", "json", "json.gz", "csv", "parquet", "arrow"])
def test_folder_in_place_of_a_file_is_looked_through(ending: str, tmp_path: Path) -> None:
    folder = tmp_path / f"rows.{ending}"
    folder.mkdir()
    assert "holds none of the data files" in refused("c4", folder).problem


@pytest.mark.parametrize(("ending", "start"), [("jsonl", b'{"text": "'), ("json", b'[{"text": "')])
def test_a_line_of_a_gigabyte_is_not_read_into_memory(ending: str, start: bytes, tmp_path: Path) -> None:
    endless = tmp_path / f"endless.{ending}"
    with endless.open("wb") as file:  # a hole, so that it takes no room on the disk
        file.write(start)
        file.truncate(MAX_ARRAY + 1)
    tracemalloc.start()
    try:
        error = refused("c4", endless)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "MiB" in error.problem or "GiB" in error.problem
    assert most < 4 * MAX_LINE


def test_an_array_of_one_long_line_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rayci.data.row_files.MAX_LINE", 100)
    file = real.array(tmp_path / "rows.json", [{"text": "A text."}] * 50)
    assert len(supplied("calibration", source="c4", path=file).records) == 50


@pytest.mark.parametrize("start", [b"\xef\xbb\xbf", b"\n\n", b"\xef\xbb\xbf \n"])
@pytest.mark.parametrize("array", [True, False])
def test_a_byte_order_mark_and_blanks_before_the_data_do_no_harm(start: bytes, array: bool, tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    file.write_bytes(start + (b"[" + LINE.strip() + b"]" if array else LINE))
    assert supplied("calibration", source="c4", path=file).records[0].text == "A text."


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_line_separator_inside_a_text_does_not_end_the_line(name: str, tmp_path: Path) -> None:
    _, good, paths = SCHEMAS[name]
    path = next(path for path in paths if isinstance(_at(good[0], path), str) and path[-1] not in ("subject", "level"))
    row = changed(good[0], path, lambda inner, key: inner.__setitem__(key, f"{inner[key]}\u2028\u2029\x85."))
    file = real.lines(tmp_path / "rows.jsonl", [row])
    assert len(supplied(SCHEMAS[name][0], source=name, path=file).records) == 1


class Gate(BaseHTTPRequestHandler):
    """A hub that answers as for a gated data set."""

    def do_GET(self) -> None:
        self.send_response(403)
        self.send_header("X-Error-Code", "GatedRepo")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET  # noqa: N815 - named by the standard library

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@pytest.fixture
def gated_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with HTTPServer(("127.0.0.1", 0), Gate) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.delenv("RAYCI_DATA", raising=False)
        yield
        server.shutdown()


@pytest.mark.usefixtures("gated_hub")
@pytest.mark.parametrize(("part", "name"), [("forget", "wmdp_corpora"), ("passages", "muse_news")])
def test_gated(part: str, name: str) -> None:
    with pytest.raises(DataError, match="is gated") as error:
        supply(part, PartSource.of(part, name), fetch=True)
    assert "accept its conditions" in (error.value.hint or "")


def test_nothing_that_can_be_used_is_said_with_the_reasons(tmp_path: Path) -> None:
    file = real.array(tmp_path / "zsre.json", real.ZSRE[1:])
    error = refused("zsre", file)
    assert "1 rows: the target is empty" in error.problem and error.at == str(file)
