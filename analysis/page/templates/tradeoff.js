// Utility against compression: where the chosen methods end, labelled, among all compositions.
const COMPRESSION = ["avg_bits", "avg_bits_nominal", "sparsity", "flops"], UTILITY = ["mmlu", "utility", "perplexity", "wikitext_ppl"];
const preferred = names => names.map(name => data.criteria.findIndex(criterion => criterion.name === name)).find(place => place >= 0);
const STRENGTH = -1; // in the place of a criterion: γ, of compositions that have the same one
const axisName = walk => data.families[walk.family]?.axis?.[0];
const endValue = (walk, place) => { const value = data.stages[walk.stages.at(-1)].values[place]; return number(Array.isArray(value) ? value[0] : value); };
function drawTrade(family) {
  const [across, up] = ["trade-x", "trade-y"].map(id => Number(byId(id).value));
  const at = data.families.indexOf(family), singles = family.methods.map(method => method.alone);
  const along = walk => across !== STRENGTH ? endValue(walk, across) : axisName(walk) === family.axis?.[0] ? number(walk.strength) : NaN;
  const points = data.walks.map(walk => ({walk, x: along(walk), y: endValue(walk, up), own: walk.family === at, single: singles.includes(walk.family)})).filter(point => finite(point.x) && finite(point.y));
  const target = byId("detail-trade");
  if (!points.length) { target.replaceChildren(html("p", {class: "soft"}, "No composition has both values.")); return; }
  const horizontal = across === STRENGTH ? {name: family.axis?.[0] ?? "strength", range: [null, null]} : data.criteria[across];
  const figure = tradeFigure(family, points, horizontal, data.criteria[up]);
  const named = points.filter(point => point.own || point.single);
  target.replaceChildren(
    html("div", {class: "legend"}, ...family.orders.map((order, index) => html("span", {}, swatch(index), order)), html("span", {}, svg("svg", {viewBox: "0 0 34 12", "aria-hidden": true}, svg("path", {class: "alone", d: MARKERS[3](17, 6, 3.5), style: "stroke-dasharray:none"})), "one method alone"), html("span", {}, svg("svg", {viewBox: "0 0 34 12", "aria-hidden": true}, svg("circle", {class: "faint", cx: 17, cy: 6, r: 3})), "other compositions")),
    figure, html("p", {class: "note"}, "Ends of the compositions, means over replicates"),
    ...figureTools(figure, `${family.name} ${data.criteria[up].name} against ${horizontal.name}`, [["composition", horizontal.name, data.criteria[up].name], ...named.map(({walk, x, y}) => [walk.name, short(x), short(y)])]));
}
function tradeFigure(family, points, across, up) {
  const narrow = innerWidth < 640, width = narrow ? 380 : 620, height = narrow ? 300 : 360;
  const box = {left: 46, right: width - 14, top: 30, bottom: height - 44};
  const horizontal = domain(across, points.map(point => point.x), false), vertical = domain(up, points.map(point => point.y), false);
  const x = scale(horizontal.low, horizontal.high, box.left, box.right, horizontal.logarithmic), y = scale(vertical.low, vertical.high, box.bottom, box.top, vertical.logarithmic);
  const title = ({name, unit, better}) => `${name}${unit ? `, ${unit}` : ""}${better ? ` (${better})` : ""}`;
  const figure = svg("svg", {viewBox: `0 0 ${width} ${height}`, class: "large", role: "img", "aria-label": `${up.name} against ${across.name}: ${points.filter(point => point.own).length} compositions of ${family.name}, among ${points.length}. Arrow keys tell the values.`});
  figure.append(...frame(box, y, {title: title(up)}),
    ...x.ticks(6).map(tick => svg("text", {x: x(tick), y: box.bottom + 18, "text-anchor": "middle"}, tickText(tick))),
    svg("text", {x: (box.left + box.right) / 2, y: box.bottom + 38, "text-anchor": "middle"}, title(across)));
  const named = points.filter(point => point.own || point.single).map(point => ({...point, left: x(point.x), top: y(point.y)}));
  figure.append(...points.filter(point => !point.own && !point.single).map(point => svg("circle", {class: "faint", cx: x(point.x), cy: y(point.y), r: 2.6})));
  for (const point of named) {
    const order = family.orders.indexOf(orderOf(family, point.walk)), {hue, marker} = style(Math.max(0, order));
    figure.append(point.single
      ? svg("path", {class: "alone", style: "stroke-dasharray:none", d: MARKERS[3](point.left, point.top, 3.6)})
      : svg("g", {class: hue}, svg("path", {class: "mark", d: marker(point.left, point.top, 4.4)})));
  }
  figure.append(...labels(named, box));
  const placed = [...named].sort((a, b) => a.left - b.left || a.top - b.top);
  cursor(figure, placed.map(point => ({x: point.left, y: point.top, text: `${point.walk.name}\n${across.name} ${short(point.x)}\n${up.name} ${short(point.y)}`})));
  return figure;
}
// Names beside their points where there is room, in the order of the chosen methods first; the cursor tells the others.
function labels(named, box) {
  const taken = named.map(({left, top}) => [left - 5, top - 5, left + 5, top + 5]);
  const free = ([a, b, c, d]) => a >= box.left && c <= box.right && b >= box.top - 8 && d <= box.bottom && taken.every(([e, f, g, h]) => c < e || a > g || d < f || b > h);
  return [...named].sort((a, b) => b.own - a.own).flatMap(({walk, left, top, own}) => {
    const width = walk.name.length * 5.6 + 4;
    const spots = [[left + 8, top - 6], [left - 8 - width, top - 6], [left - width / 2, top - 19], [left - width / 2, top + 7], [left + 14, top - 20], [left + 14, top + 10], [left - 14 - width, top - 20], [left - 14 - width, top + 10]];
    const spot = spots.map(([x, y]) => [x, y, x + width, y + 12]).find(free);
    if (!spot) return [];
    taken.push(spot);
    return [svg("text", {x: spot[0] + 2, y: spot[1] + 10, class: own ? "strong label" : "label", style: "font-size:10.5px"}, walk.name)];
  });
}
function buildTrade() {
  const entries = data.criteria.map(({name}, place) => [place, name]);
  const swept = composed.some(family => family.axis) ? [[STRENGTH, "strength"]] : [];
  options(byId("trade-x"), [...swept, ...entries], preferred(COMPRESSION) ?? swept[0]?.[0] ?? 0);
  options(byId("trade-y"), entries, preferred(UTILITY) ?? Math.min(1, data.criteria.length - 1));
  for (const id of ["trade-x", "trade-y"]) byId(id).addEventListener("change", () => drawTrade(chosen()[0]));
}
