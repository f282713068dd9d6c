// Small multiples: a row for each pair, a panel for each criterion, drawn when it comes into view.
const PAGE = 24;
let rowsShown = PAGE;
const pairsOnly = family => family.methods.length === 2;
const seen = new IntersectionObserver(entries => entries.filter(entry => entry.isIntersecting).forEach(entry => {
  seen.unobserve(entry.target);
  drawRow(entry.target);
}), {rootMargin: "300px"});
function panel(family, place) {
  const cell = cellOf(family, place), text = verdict(cell), chosen = state.chosen?.[0] === family.name && state.chosen?.[1] === place;
  const name = `${criteria[place].name} ${ARROWS[criteria[place].direction] ?? ""}`;
  return html("button", {
    type: "button", class: cell?.aside ? "panel aside" : "panel", "data-place": place, "aria-pressed": chosen,
    "aria-label": `${family.name}, ${name}. ${cell ? sentence(family, cell) : ""} ${summary(family, place)} Show it large.`,
    onclick: () => choose(family.name, place, true),
  }, html("b", {}, html("span", {}, ...breakable(name))), curvesFigure(family, place, {width: 172, height: 104, small: true}), html("em", {class: isShown(cell) ? "shown" : null}, text || " "));
}
// The text alternative of a small figure: where each order begins and ends.
function summary(family, place) {
  const curve = family.curves[place], swept = family.axis !== null, last = family.grid.length - 1;
  return family.orders.map((order, index) => {
    const values = curve.mean[index], ends = swept && last ? `from ${short(values[0])} to ${short(values[last])}` : short(values[0]);
    return `${order}: ${ends}.`;
  }).join(" ");
}
function drawRow(row) {
  const family = composed.find(held => held.name === row.dataset.name);
  row.lastChild.replaceChildren(...shownCriteria().filter(place => family.curves[place]).map(place => panel(family, place)));
  if (!performance.getEntriesByName("first-figure").length) performance.mark("first-figure");
}
function rowOf(family) {
  const said = [
    family.axis ? `${family.axis[0]} of ${family.axis[1]}` : "no strength is swept",
    unitsOf(family),
    ...(family.axis || letter(family, 0) !== "A" ? [] : [family.orders.map((order, index) => `${letter(family, index)}: ${order}`).join(", ")]),
    ...(family.unasked ? [`only ${family.orders.join(", ")} was run`] : []),
  ];
  const legend = family.orders.map((order, index) => html("span", {}, swatch(index), order));
  const columns = shownCriteria().length;
  return html("div", {class: "set", "data-name": family.name},
    html("h3", {}, family.name, html("small", {class: "legend"}, ...legend), html("small", {}, said.filter(Boolean).join(" · "))),
    html("div", {class: columns > 8 ? "panels" : "panels few", style: `--columns: ${columns}`}));
}
const unitsOf = family => [...new Set(Object.values(family.curves).map(curve => curve.n > 1 ? `${curve.n} ${curve.of === "seeds" ? "seeds" : "edit batches"}` : ""))].filter(Boolean).join(" or ");
function swatch(index) {
  const {hue, marker, dash} = style(index);
  return svg("svg", {viewBox: "0 0 34 12", "aria-hidden": true}, svg("g", {class: hue}, svg("path", {class: "line", d: "M1,6H33", "stroke-dasharray": dash}), svg("path", {class: "mark", d: marker(17, 6, 4)})));
}
function drawOverview() {
  const pairs = visible().filter(pairsOnly);
  seen.disconnect();
  byId("rows").classList.toggle("long-names", shownCriteria().some(place => criteria[place].name.length > 18));
  const rows = pairs.slice(0, rowsShown).map(rowOf);
  byId("rows").replaceChildren(...rows, ...(pairs.length ? [] : [html("p", {class: "soft"}, "No pair of methods suits the filters.")]));
  rows.forEach(row => seen.observe(row));
  const more = byId("more-rows");
  more.hidden = pairs.length <= rowsShown;
  more.textContent = `Show all ${pairs.length} pairs (${Math.min(rowsShown, pairs.length)} are shown)`;
}
function buildOverview() {
  const entry = (drawn, text) => html("span", {}, svg("svg", {viewBox: "0 0 34 12", "aria-hidden": true}, drawn), text);
  const counts = new Set(composed.flatMap(family => Object.values(family.curves).map(curve => curve.n)));
  const bars = [...([...counts].some(n => n > 2) ? ["95 % interval of the mean (Student-t)"] : []), ...(counts.has(2) ? ["both values, where there are two"] : [])];
  byId("legend").append(
    entry(svg("path", {class: "between", d: "M0,2L34,0V12L0,9z"}), "between the orders"),
    entry(svg("path", {class: "alone", d: "M0,6H34"}), "the swept method alone"),
    entry(svg("path", {class: "alone flat", d: "M0,6H34"}), "the other alone"),
    entry(svg("path", {class: "untouched", d: "M0,6H34"}), "untouched model"),
    entry(svg("path", {class: "chance", d: "M0,6H34"}), "chance"),
    ...bars.map(text => entry(svg("g", {class: "drawn i0"}, svg("line", {class: "whisker", x1: 17, x2: 17, y1: 0, y2: 12}), svg("path", {class: "mark", d: MARKERS[0](17, 6, 3)})), text)),
    entry(svg("g", {class: "drawn i0"}, svg("path", {class: "lost", d: cross(17, 6, 4)})), "no value"),
    entry(svg("g", {class: "drawn i0"}, svg("path", {class: "lost", d: MARKERS[2](17, 6, 4)})), "infinite"),
  );
  byId("more-rows").addEventListener("click", () => { rowsShown = Infinity; drawOverview(); });
  onChange(part => {
    if ("chosen" in part) byId("rows").querySelectorAll(".panel").forEach(button => {
      const row = button.closest(".set");
      button.setAttribute("aria-pressed", row.dataset.name === state.chosen[0] && Number(button.dataset.place) === state.chosen[1]);
    });
    else drawOverview();
  });
  drawOverview();
}
