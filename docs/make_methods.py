"""Write the table of methods into the README, of what each says of itself: `.venv/bin/python docs/make_methods.py`."""

from __future__ import annotations

import re
from pathlib import Path

from rayci import registry
from rayci.commands import describe

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- methods -->\n", "<!-- /methods -->\n"
_ARXIV = re.compile(r"arXiv (\d{4}\.\d{5})")


def table() -> str:
    """A line for every built-in method, kind by kind, in Markdown; papers are links."""
    lines = ["| kind | method | paper | what it does |", "| --- | --- | --- | --- |"]
    kind = ""
    for row in describe.methods():
        if row["name"] in registry.INTERVENTIONS:
            shown, kind = "" if row["kind"] == kind else row["kind"], row["kind"]
            name = f"`{row['name']}`" + (f" @{row['strength']}" if row["strength"] else "")
            paper = _ARXIV.sub(r"[\1](https://arxiv.org/abs/\1)", row["paper"])
            lines.append(f"| {shown} | {name} | {paper} | {row['what'].rstrip('.')} |")
    return "\n".join(lines) + "\n"


def with_table(text: str) -> str:
    """The README with the table of today between its marks."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + table() + END + rest.partition(END)[2]


if __name__ == "__main__":
    README.write_text(with_table(README.read_text()))
