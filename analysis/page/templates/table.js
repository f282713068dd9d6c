// The composability table: sortable columns, one tab stop, arrow keys between cells.
const TABLE_PAGE = 60;
let tableRows = TABLE_PAGE;
function half(values, shade, hue) {
  const interval = values ? range(values) : "";
  const made = html("span", {}, values ? short(values[0]) : "–", interval ? html("small", {}, interval) : null);
  if (values) made.style.background = `rgba(var(${hue}), ${(.55 * number(shade)).toFixed(3)})`;
  return made;
}
// Of one order, which has no composability: its values from the first γ to the last.
function ends(family, curve) {
  const values = curve.mean[0], last = values.length - 1;
  return html("span", {class: "both"}, last ? `${short(values[0])} … ${short(values[last])}` : short(values[0]), last ? html("small", {}, `${family.axis[0]} ${plain(family.grid[0])} … ${plain(family.grid[last])}`) : null);
}
function cellButton(family, place) {
  const cell = cellOf(family, place), curve = family.curves[place];
  if (!cell && !curve) return html("td", {}, html("span", {class: "soft"}, "not measured"));
  const chosen = state.chosen?.[0] === family.name && state.chosen?.[1] === place;
  const few = cell && cell.points[0] < cell.points[1] ? `${cell.points[0]}/${cell.points[1]} points` : "";
  const text = [verdict(cell), few].filter(Boolean).join(", ");
  const label = cell ? facts(family, cell).map(([name, said]) => `${name}: ${said}`).join(". ") : `only ${family.orders.join(", ")}`;
  const button = html("button", {
    type: "button", class: "cell", tabindex: -1, "aria-pressed": chosen, "data-name": family.name, "data-place": place,
    "aria-label": `${family.name} on ${criteria[place].name}. ${label}`, onclick: () => choose(family.name, place, true),
  }, ...(oneOrder(family) && curve ? [ends(family, curve)] : [half(cell?.error, cell?.shade[0], "--error"), half(cell?.sensitivity, cell?.shade[1], "--spread")]), html("em", {class: isShown(cell) ? "shown" : null}, oneOrder(family) ? "one order" : text || " "));
  button.addEventListener("pointerenter", event => cell && showTip(facts(family, cell).map(([name, said]) => `${name}: ${said}`).join("\n"), event.clientX, event.clientY));
  button.addEventListener("pointerleave", () => showTip(""));
  return html("td", {class: cell?.aside ? "aside" : null}, button);
}
function headOf(place) {
  const {name, better} = criteria[place], [by, metric, way] = state.sort.split(":");
  const sorts = [["error", "error"], ["sensitivity", "order"]].map(([key, text]) => {
    const on = Number(by) === place && by !== "" && metric === key, next = on && way === "down" ? "up" : "down";
    return html("button", {type: "button", class: on ? "on" : null, "aria-label": `Sort by ${name}, ${key === "error" ? "order-free error" : "order sensitivity"}, ${next === "down" ? "largest" : "smallest"} first`,
      onclick: () => { change({sort: `${place}:${key}:${next}`}); }}, text, on ? (way === "down" ? " ▾" : " ▴") : "");
  });
  const sort = Number(by) === place && by !== "" ? (way === "down" ? "descending" : "ascending") : "none";
  return html("th", {scope: "col", "aria-sort": sort}, ...breakable(name), html("small", {}, better), html("div", {class: "sorts"}, ...sorts));
}
function drawTable() {
  const families = visible(), shown = shownCriteria(), rows = families.slice(0, tableRows);
  const more = families.length > rows.length ? html("p", {}, html("button", {type: "button", onclick: () => { tableRows = Infinity; drawTable(); }}, `Show all ${families.length} rows (${rows.length} are shown)`)) : null;
  const kept = byId("grid").contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
  byId("grid").replaceChildren(html("table", {class: "heat"},
    html("caption", {class: "skip"}, "Composability: order-free error and order sensitivity of every set of methods on every criterion"),
    html("thead", {}, html("tr", {}, html("th", {scope: "col"}, "methods"), ...shown.map(headOf))),
    html("tbody", {}, ...rows.map(family => html("tr", {}, html("th", {scope: "row"}, family.name), ...shown.map(place => cellButton(family, place)))))), ...(more ? [more] : []));
  const cells = byId("grid").querySelectorAll(".cell");
  ([...cells].find(cell => cell.getAttribute("aria-pressed") === "true") ?? cells[0])?.setAttribute("tabindex", 0);
  if (kept) [...byId("grid").querySelectorAll("button")].find(button => button.closest("th")?.getAttribute("aria-sort") !== "none" && button.classList.contains("on"))?.focus();
}
function walkCells(event) {
  const at = event.target.closest(".cell"), step = {ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0]}[event.key];
  if (!at || !step) return;
  event.preventDefault();
  const row = at.closest("tr"), column = [...row.children].indexOf(at.parentElement);
  const rows = [...row.parentElement.children], next = rows[rows.indexOf(row) + step[0]]?.children[column + step[1]]?.querySelector(".cell");
  if (!next) return;
  at.setAttribute("tabindex", -1);
  next.setAttribute("tabindex", 0);
  next.focus();
}
function buildTable() {
  byId("grid").addEventListener("keydown", walkCells);
  onChange(part => {
    if (!("chosen" in part)) { drawTable(); return; }
    byId("grid").querySelectorAll(".cell").forEach(cell => {
      const chosen = cell.dataset.name === state.chosen[0] && Number(cell.dataset.place) === state.chosen[1];
      cell.setAttribute("aria-pressed", chosen);
    });
  });
  drawTable();
}
