"""What the report of a large sweep costs: CPU of making it, its size, and when its first figure stands in a browser.

    OMP_NUM_THREADS=1 pytest tests/benchmarks/bench_report.py -m bench --capture=no

840 pairs of 21 editors or unlearners with 40 compressors, both orders, six criteria, one γ: 10 080 rows beside those of
the untouched model. CPU is of a process of its own, imports included. The browser's clock runs from its navigation to
the first panel drawn, with the curves in its window.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rayci.table import ResultTable
from tests.analysis.synthetic_table import row, step, table
from tests.chromium import CHROMIUM, opened

pytestmark = pytest.mark.bench

CRITERIA = ("edit_success", "edit_locality", "mmlu", "wmdp", "perplexity", "privleak")
MADE = """
import json, sys, time
from pathlib import Path
from rayci import analysis
page = analysis.report(analysis.load(sys.argv[1]), sys.argv[2])
print(json.dumps({"cpu": time.process_time(), "bytes": page.stat().st_size}))
"""


def sweep() -> ResultTable:
    """The sweep above; no two values are equal, so that nothing is short by chance."""
    rows = [row("", criterion, 0.9) for criterion in CRITERIA]
    for place in range(21 * 40):
        first, second = divmod(place, 40)
        method = step("ft" if first < 14 else "gd", {"steps": first}), step("wanda@0.5", {"samples": second})
        for order in (method, method[::-1]):
            rows += [row(order, criterion, 1 / (2 + len(rows))) for criterion in CRITERIA]
    return table(rows)


def test_a_report_of_840_pairs(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    results = sweep()
    results.write(tmp_path / "rows.parquet")
    command = [sys.executable, "-c", MADE, str(tmp_path / "rows.parquet"), str(tmp_path)]
    made = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    print(f"\n{len(results):,} rows, 840 pairs: {made['cpu']:.1f} s of CPU, {made['bytes'] / 1e6:.1f} MB", end="")
    if CHROMIUM is None:
        print("; no Chromium is installed to look at it in")
        return
    held = opened(request.getfixturevalue("chromium"), tmp_path / "report.html")
    held.page.evaluate("document.getElementById('rows').scrollIntoView()")
    held.page.locator("#rows .panel").first.wait_for()
    first = held.page.evaluate("performance.getEntriesByName('first-figure')[0].startTime")
    ready = held.page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
    print(f"; in the browser scripts end after {ready / 1e3:.2f} s, the first figure stands after {first / 1e3:.2f} s")
    assert held.complaints == []
