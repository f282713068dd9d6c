"""Run the cells of docs/example.py and write docs/example.md: texts, code, and what the code prints and ends with.

    .venv/bin/python docs/run_example.py

Cells begin with `# %%`; those marked `[markdown]` are text. Needs nothing but rayci; runs in a folder of its own.
"""

from __future__ import annotations

import ast
import contextlib
import io
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
_TEXT = " [markdown]"


@dataclass(frozen=True)
class Cell:
    """One cell; of text, without the signs of a comment."""

    is_text: bool
    source: str


def cells(file: Path = HERE / "example.py") -> Iterator[Cell]:
    """The cells of a file in percent format."""
    for part in file.read_text(encoding="utf-8").split("# %%")[1:]:
        head, _, body = part.partition("\n")
        lines = body.strip("\n").splitlines()
        is_text = head == _TEXT
        text = [line.removeprefix("#").removeprefix(" ") for line in lines] if is_text else lines
        yield Cell(is_text, "\n".join(text).strip("\n"))


def page(outputs: bool = True) -> str:
    """The page in Markdown; without `outputs` nothing is run."""
    import pandas as pd

    names: dict[str, Any] = {"__name__": "example"}
    pd.set_option("display.width", 120, "display.max_columns", None)
    parts = []
    for cell in cells():
        parts.append(cell.source if cell.is_text else f"```python\n{cell.source}\n```")
        shown = "" if cell.is_text or not outputs else _run(cell.source, names)
        parts += [f"```text\n{shown}\n```"] if shown else []
    return "\n\n".join(parts) + "\n"


def _run(source: str, names: dict[str, Any]) -> str:
    """What a cell prints, and the value of its last line if that is an expression."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(tree, "example.py", "exec"), names)
        value = eval(compile(ast.Expression(last.value), "example.py", "eval"), names) if last else None  # noqa: S307 - ours
    said = [printed.getvalue().rstrip()] + ([] if value is None else [repr(value)])
    return "\n".join(filter(None, said)).replace(f"{Path.cwd()}/", "")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        text = page()
    (HERE / "example.md").write_text(text, encoding="utf-8")
    print(HERE / "example.md")
