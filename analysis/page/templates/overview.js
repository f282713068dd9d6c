// Small multiples: a row for each pair, a panel for each criterion, drawn when it comes into view.
const PAGE = 24;
let rowsShown = PAGE;
// Pairs; longer sets have a grid of their own, and stand here where there is no pair.
const isSmall = family => family.methods.length === 2 || composed.every(({methods}) => methods.length > 2);
const seen = new IntersectionObserver(entries => entries.filter(entry => entry.isIntersecting).forEach(entry => {
  seen.unobserve(entry.target);
  drawRow(entry.target);
}), {rootMargin: "300px"});
function panel(family, place) {
  const cell = cellOf(family, place), name = `${criteria[place].name} ${ARROWS[criteria[place].direction] ?? ""}`;
  return html("button", {
    type: "button", class: cell?.aside ? "panel aside" : "panel",
    "data-name": family.name, "data-place": place, "aria-pressed": isChosen(family.name, place),
    "aria-label": `${family.name}, ${name}. ${cell ? sentence(family, cell) : ""} ${summary(family, place)} Show it large.`,
    onclick: () => choose(family.name, place, true),
  },
  html("b", {}, html("span", {}, ...breakable(name))),
  curvesFigure(family, place, {width: 172, height: 104, small: true}),
  html("em", {class: isShown(cell) ? "shown" : null}, verdict(cell) || "\u00a0"));
}
// The text alternative of a figure: where each order begins and ends.
function summary(family, place) {
  const last = family.grid.length - 1;
  return family.orders.map((order, index) => {
    const values = family.curves[place].mean[index];
    return `${order}: ${last ? `from ${short(values[0])} to ${short(values[last])}` : short(values[0])}.`;
  }).join(" ");
}
const familyOf = row => byName.get(row.dataset.name);
const placesOf = family => shownCriteria().filter(place => family.curves[place]);
function drawRow(row) {
  const family = familyOf(row);
  row.lastChild.replaceChildren(...placesOf(family).map(place => panel(family, place)));
  row.lastChild.style.minHeight = "";
  if (!performance.getEntriesByName("first-figure").length) performance.mark("first-figure");
}
function rowOf(family) {
  const units = Object.values(family.curves).map(curve => curve.n > 1 ? `${curve.n} ${unitsName(curve)}` : "");
  const letters = family.orders.map((order, index) => `${goesFirst(family, index)}: ${order}`);
  const said = [
    family.axis ? `${family.axis[0]} of ${family.axis[1]}` : "no strength is swept",
    [...new Set(units)].filter(Boolean).join(" or "),
    family.axis || goesFirst(family, 0) !== "A" ? "" : letters.join(", "),
    family.unasked ? `only ${family.orders.join(", ")} ran` : "",
  ].filter(Boolean).join(" · ");
  const columns = shownCriteria().length;
  return html("div", {class: "set", "data-name": family.name},
    html("h3", {}, family.name, html("small", {class: "legend"}, ...orderLegend(family)), html("small", {}, said)),
    html("div", {class: columns > 8 ? "panels" : "panels few", style: `--columns: ${columns}`}));
}
const sample = (...drawn) => svg("svg", {viewBox: "0 0 34 12", "aria-hidden": true}, ...drawn);
const orderLegend = family => family.orders.map((order, index) => html("span", {}, swatch(index), order));
function swatch(index) {
  const {hue, marker, dash} = style(index), line = svg("path", {class: "line", d: "M1,6H33", "stroke-dasharray": dash});
  return sample(svg("g", {class: hue}, line, svg("path", {class: "mark", d: marker(17, 6, 4)})));
}
// Rows that are not drawn yet take the room that they will take, so that nothing moves below the reader's hand.
function reserve([drawn, ...rows]) {
  const panels = drawn.lastChild, look = getComputedStyle(panels), gap = parseFloat(look.rowGap);
  const columns = look.gridTemplateColumns.split(" ").length, height = panels.firstChild?.offsetHeight ?? 0;
  for (const row of rows) {
    const lines = Math.ceil(placesOf(familyOf(row)).length / columns);
    row.lastChild.style.minHeight = `${lines * (height + gap) - gap}px`;
  }
}
function drawOverview() {
  const sets = visible().filter(isSmall), rows = sets.slice(0, rowsShown).map(rowOf);
  const nothing = html("p", {class: "soft"}, "No methods suit the filters.");
  seen.disconnect();
  byId("rows").classList.toggle("long-names", shownCriteria().some(place => criteria[place].name.length > 18));
  byId("rows").replaceChildren(...(rows.length ? rows : [nothing]));
  if (rows.length) {
    drawRow(rows[0]);
    reserve(rows);
  }
  rows.slice(1).forEach(row => seen.observe(row));
  byId("more-rows").hidden = sets.length <= rowsShown;
  byId("more-rows").textContent = `Show all ${sets.length} rows (${rows.length} are shown)`;
}
function drawLegend() {
  const counts = new Set(composed.flatMap(family => Object.values(family.curves).map(curve => curve.n)));
  const curves = composed.flatMap(family => Object.values(family.curves));
  const overItems = curves.some(curve => curve.items), lost = curves.some(curve => curve.lost.length);
  const infinite = curves.some(curve => curve.mean.flat().some(value => value !== null && !finite(number(value))));
  const mark = d => svg("path", {class: "mark", d});
  const line = name => svg("path", {class: name, d: "M0,6H34"});
  const coloured = (...drawn) => svg("g", {class: "drawn i0"}, ...drawn);
  const bar = () => coloured(svg("line", {class: "whisker", x1: 17, x2: 17, y1: 0, y2: 12}), mark(MARKERS[0](17, 6, 3)));
  const entries = [
    ...(composed.every(oneOrder) ? [] : [[svg("path", {class: "between", d: "M0,2L34,0V12L0,9z"}), "between the orders"]]),
    [line("alone"), "the swept method alone"],
    [line("alone flat"), "the other alone"],
    [line("untouched"), "untouched model"],
    [line("chance"), "chance"],
    ...([...counts].some(n => n > 2) ? [[bar(), "95 % interval of the mean (Student-t)"]] : []),
    ...(counts.has(2) ? [[bar(), "both values, where there are two"]] : []),
    ...(overItems ? [[bar(), "95 % interval over items, where measured once"]] : []),
    ...(lost ? [[coloured(svg("path", {class: "lost", d: cross(17, 6, 4)})), "no value"]] : []),
    ...(infinite ? [[coloured(svg("path", {class: "lost", d: MARKERS[2](17, 6, 4)})), "infinite"]] : []),
  ];
  byId("legend").append(...entries.map(([drawn, text]) => html("span", {}, sample(drawn), text)));
}
function buildOverview() {
  drawLegend();
  byId("more-rows").addEventListener("click", () => { rowsShown = Infinity; drawOverview(); });
  onChange(part => "chosen" in part ? markChosen(byId("rows"), ".panel") : drawOverview());
  drawOverview();
}
