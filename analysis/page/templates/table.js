// The composability table: sortable columns, one tab stop, arrow keys between cells.
const TABLE_PAGE = 60;
let tableRows = TABLE_PAGE;
const METRICS = {error: ["error", "order-free error"], sensitivity: ["order", "order sensitivity"]};
const STEPS = {ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0]};
function half(values, shade, hue) {
  const ends = values ? range(values) : "";
  const made = html("span", {}, values ? short(values[0]) : "–", ends ? html("small", {}, ends) : null);
  if (values) made.style.background = `rgba(var(${hue}), ${(.55 * number(shade)).toFixed(3)})`;
  return made;
}
// Of one order, which has no composability: its values from the first γ to the last.
function ends(family, curve) {
  const values = curve.mean[0], last = values.length - 1;
  if (!last) return html("span", {class: "both"}, short(values[0]));
  const between = html("small", {}, `${family.axis[0]} ${plain(family.grid[0])} … ${plain(family.grid[last])}`);
  return html("span", {class: "both"}, `${short(values[0])} … ${short(values[last])}`, between);
}
function cellButton(family, place) {
  const cell = cellOf(family, place), curve = family.curves[place];
  if (!curve) return html("td", {}, html("span", {class: "soft"}, "not measured"));
  const few = cell && cell.points[0] < cell.points[1] ? `${cell.points[0]}/${cell.points[1]} points` : "";
  const text = oneOrder(family) ? "one order" : [verdict(cell), few].filter(Boolean).join(", ");
  const numbers = oneOrder(family)
    ? [ends(family, curve)]
    : [half(cell?.error, cell?.shade[0], "--error"), half(cell?.sensitivity, cell?.shade[1], "--spread")];
  const button = html("button", {
    type: "button", class: "cell", tabindex: -1,
    "data-name": family.name, "data-place": place, "aria-pressed": isChosen(family.name, place),
    "aria-label": `${family.name} on ${criteria[place].name}. ${factsText(family, cell, ". ")}`,
    onclick: () => choose(family.name, place, true),
    onpointerenter: event => showTip(factsText(family, cell, "\n"), event.clientX, event.clientY),
    onpointerleave: () => showTip(""),
  }, ...numbers, html("em", {class: isShown(cell) ? "shown" : null}, text || "\u00a0"));
  return html("td", {class: cell?.aside ? "aside" : null}, button);
}
function headOf(place) {
  const {name, better} = criteria[place], [by, metric, way] = state.sort.split(":"), own = by === String(place);
  const sorts = Object.entries(METRICS).map(([key, [brief, long]]) => {
    const on = own && metric === key, next = on && way === "down" ? "up" : "down";
    return html("button", {
      type: "button", class: on ? "on" : null,
      "aria-label": `Sort by ${name}, ${long}, ${next === "down" ? "largest" : "smallest"} first`,
      onclick: () => change({sort: `${place}:${key}:${next}`}),
    }, brief, on ? (way === "down" ? " ▾" : " ▴") : "");
  });
  const sort = own ? (way === "down" ? "descending" : "ascending") : "none";
  const sortable = composed.every(oneOrder) ? [] : [html("div", {class: "sorts"}, ...sorts)];
  const head = [...breakable(name), html("small", {}, better), ...sortable];
  return html("th", {scope: "col", "aria-sort": sort}, ...head);
}
function drawTable() {
  const families = visible(), shown = shownCriteria(), rows = families.slice(0, tableRows), grid = byId("grid");
  const sorting = grid.querySelector("thead")?.contains(document.activeElement);
  const heading = family => html("th", {scope: "row"}, family.name);
  const rowOfTable = family => html("tr", {}, heading(family), ...shown.map(place => cellButton(family, place)));
  const more = html("button", {type: "button", onclick: () => { tableRows = Infinity; drawTable(); }},
    `Show all ${families.length} rows (${rows.length} are shown)`);
  grid.replaceChildren(html("table", {class: "heat"},
    html("caption", {class: "skip"}, "Order-free error and order sensitivity of every set of methods on every criterion"),
    html("thead", {}, html("tr", {}, html("th", {scope: "col"}, "methods"), ...shown.map(headOf))),
    html("tbody", {}, ...rows.map(rowOfTable))), ...(rows.length < families.length ? [html("p", {}, more)] : []));
  const cells = [...grid.querySelectorAll(".cell")];
  (cells.find(cell => cell.getAttribute("aria-pressed") === "true") ?? cells[0])?.setAttribute("tabindex", 0);
  if (sorting) grid.querySelector("thead .on")?.focus();
}
// To the next cell in the arrow's direction that has something in it.
function walkCells(event) {
  const at = event.target.closest(".cell"), step = STEPS[event.key];
  if (!at || !step) return;
  event.preventDefault();
  const rows = [...at.closest("tbody").rows];
  let [row, column] = [rows.indexOf(at.closest("tr")), at.parentElement.cellIndex], next = null;
  while (!next) {
    [row, column] = [row + step[0], column + step[1]];
    if (!rows[row]?.cells[column]) return;
    next = rows[row].cells[column].querySelector(".cell");
  }
  at.setAttribute("tabindex", -1);
  next.setAttribute("tabindex", 0);
  next.focus();
}
function buildTable() {
  byId("grid").addEventListener("keydown", walkCells);
  onChange(part => "chosen" in part ? markChosen(byId("grid"), ".cell") : drawTable());
  drawTable();
}
