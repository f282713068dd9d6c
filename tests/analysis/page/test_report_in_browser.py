"""The report in a real browser: figures are drawn, choices work, nothing is cut off, nobody complains."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rayci import analysis
from tests.analysis.page.report_table import EVIL, report_table, three_methods
from tests.analysis.synthetic_table import table
from tests.chromium import Opened, opened

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    failed = [(f"ft: {EVIL}", "Traceback …")]
    return analysis.report(report_table(), tmp_path_factory.mktemp("report"), tracebacks=failed)


@pytest.fixture
def report(chromium: Browser, path: Path) -> Iterator[Opened]:
    held = opened(chromium, path)
    yield held
    assert held.complaints == []
    held.page.context.close()


@pytest.mark.parametrize(("width", "theme"), [(1400, "light"), (390, "dark")])
def test_everything_is_drawn_and_nothing_is_cut_off(chromium: Browser, path: Path, width: int, theme: str) -> None:
    held = opened(chromium, path, width, theme)
    held.through()
    page = held.page
    assert page.locator("#rows .panel svg").count() == 5  # three pairs on the criteria that they were measured on
    assert page.locator("#detail svg.large").count() == 2
    assert page.locator("#chain-grid tbody tr").count() == 3
    assert page.locator("#chain-swaps tbody th").all_inner_texts() == ["ft before wanda", "wanda before gd"]
    assert page.locator("#chain-changes").is_hidden()  # three of the six orders did not run
    assert held.overflow() == []
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (theme == "light")
    assert held.complaints == []
    page.context.close()


def test_a_chosen_cell_drives_everything(report: Opened) -> None:
    page = report.page
    page.get_by_role("button", name="ft × gd on mmlu").click()
    assert page.locator("#detail-title").inner_text() == "ft × gd on mmlu"
    assert "ft > gd is better by 0.10 (95 % interval" in page.locator("#detail-facts").inner_text()
    assert page.locator("#stages tbody").inner_text().split("\n")[0].startswith("untouched model")
    assert "ft > gd" in page.locator("#stages").inner_text()
    assert page.locator("#detail-curves svg.large").get_attribute("aria-label").startswith("ft × gd on mmlu")  # type: ignore[union-attr]
    page.reload()
    assert page.locator("#detail-title").inner_text() == "ft × gd on mmlu"


def test_filters_and_sorting(report: Opened) -> None:
    page = report.page
    names = page.locator("#grid tbody th")
    assert names.count() == 4
    page.get_by_label("Search methods").fill("gd > wanda")
    assert names.all_inner_texts() == ["wanda × gd"]
    assert page.locator("#filters output").inner_text() == "1 of 4 sets of methods"
    page.get_by_label("Search methods").fill("")
    page.get_by_role("button", name="unlearn", exact=True).click()
    assert names.all_inner_texts() == ["ft × wanda"]
    page.get_by_role("button", name="unlearn", exact=True).click()
    page.locator("#filters").get_by_label("order", exact=True).select_option("matters")
    assert "wanda × gd" not in names.all_inner_texts()
    page.locator("#filters").get_by_label("order", exact=True).select_option("")
    page.get_by_role("button", name="Sort by mmlu, order-free error, largest first").click()
    assert page.locator("#grid [aria-sort=descending]").inner_text().startswith("mmlu")
    assert names.all_inner_texts()[0] == "ft × gd"
    page.get_by_role("button", name="mmlu", exact=True).click()
    assert (
        page.locator("#grid thead th").all_inner_texts()[1:]
        == page.locator("#grid thead th:not(:has-text('mmlu'))").all_inner_texts()[1:]
    )


def test_the_keyboard_reaches_cells_and_values(report: Opened) -> None:
    page = report.page
    page.locator("#grid .cell[tabindex='0']").focus()
    page.keyboard.press("ArrowRight")  # over wmdp, which was not measured
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "detail-title"
    assert page.locator("#detail-title").inner_text() == "ft × gd on mmlu"
    page.locator("#detail-curves svg.large").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#tip").inner_text() == "ft > gd: 0.50 (0.50 … 0.50)"


def test_theme_figures_and_tables_leave_the_page(report: Opened) -> None:
    page = report.page
    page.locator("#theme").click()
    page.locator("#theme").click()
    assert page.locator("html").get_attribute("data-theme") == "dark"
    with page.expect_download() as saved:
        page.locator("#detail-curves").get_by_role("button", name="Download SVG").click()
    text = Path(saved.value.path()).read_text(encoding="utf-8")
    parsed = "text => new DOMParser().parseFromString(text, 'image/svg+xml').documentElement.tagName"
    assert page.evaluate(parsed, text) == "svg"
    assert 'stroke="rgb(86, 180, 233)"' in text
    with page.expect_download() as saved:
        page.get_by_role("button", name="CSV", exact=True).click()
    assert Path(saved.value.path()).read_text(encoding="utf-8").startswith("criterion,method_i,method_j")


def test_three_methods_say_which_goes_first_and_what_each_changes(chromium: Browser, tmp_path: Path) -> None:
    held = opened(chromium, analysis.report(table(three_methods("edit_success", -0.2)), tmp_path))
    page = held.page
    assert (
        page.get_by_role("button", name="ft × rtn × gd on edit_success").locator("em").inner_text() == "order matters"
    )
    first = page.locator("#chain-swaps tbody tr").first.inner_text().split()
    assert first == ["rtn", "before", "ft", "0.20", "0.20", "…", "0.20", "matters"]
    assert [text.split()[0] for text in page.locator("#chain-changes tbody tr").all_inner_texts()] == [
        "untouched", "ft", "rtn", "gd", "all",
    ]  # fmt: skip
    assert page.locator("#chain-changes tbody td:last-child").all_inner_texts() == ["", "gain", "loss", "not shown", ""]
    assert held.complaints == []
    page.context.close()
