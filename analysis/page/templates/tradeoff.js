// Utility against compression: where the chosen methods end, labelled, among all compositions.
const COMPRESSION = ["avg_bits", "avg_bits_nominal", "sparsity", "flops"];
const UTILITY = ["mmlu", "utility", "perplexity", "wikitext_ppl"];
const STRENGTH = -1; // in the place of a criterion: γ, of compositions that have the same one
const preferred = names => names.map(name => data.criteria.findIndex(held => held.name === name)).find(place => place >= 0);
const endValue = (walk, place) => number([endOf(walk).values[place]].flat()[0]);
const strengthName = family => family?.axis?.[0];
const lozenge = (x, y, r) => svg("path", {class: "alone solid", d: MARKERS[3](x, y, r)});
// The compositions that have both values: the chosen methods' `own`, their methods alone, and all others.
function tradePoints(family, across, up) {
  const singles = family.methods.map(method => data.families[method.alone]);
  const along = walk => {
    if (across !== STRENGTH) return endValue(walk, across);
    return strengthName(data.families[walk.family]) === strengthName(family) ? number(walk.strength) : NaN;
  };
  return data.walks.map(walk => ({
    walk, x: along(walk), y: endValue(walk, up),
    own: data.families[walk.family] === family, single: singles.includes(data.families[walk.family]),
  })).filter(point => finite(point.x) && finite(point.y));
}
function drawTrade(family) {
  const [across, up] = ["trade-x", "trade-y"].map(id => Number(byId(id).value)), target = byId("detail-trade");
  const points = tradePoints(family, across, up), vertical = data.criteria[up];
  const strength = {name: strengthName(family) ?? "strength", range: [null, null]};
  const horizontal = across === STRENGTH ? strength : data.criteria[across];
  if (!points.length) {
    target.replaceChildren(html("p", {class: "soft"}, "No composition has both values."));
    return;
  }
  const figure = tradeFigure(family, points, horizontal, vertical);
  const legend = html("div", {class: "legend"}, ...orderLegend(family),
    html("span", {}, sample(lozenge(17, 6, 3.5)), "one method alone"),
    html("span", {}, sample(svg("circle", {class: "faint", cx: 17, cy: 6, r: 3})), "other compositions"));
  const rows = points.filter(point => point.own || point.single).map(({walk, x, y}) => [walk.name, short(x), short(y)]);
  const name = `${family.name} ${vertical.name} against ${horizontal.name}`;
  target.replaceChildren(legend, figure, html("p", {class: "note"}, "Ends of the compositions, means over replicates"),
    ...figureTools(figure, name, ["composition", horizontal.name, vertical.name], rows));
}
function tradeFigure(family, points, across, up) {
  const {width, height} = largeSize(), box = {left: 46, right: width - 14, top: 30, bottom: height - 44};
  const x = axisOf(across, points.map(point => point.x), box.left, box.right);
  const y = axisOf(up, points.map(point => point.y), box.bottom, box.top);
  const title = ({name, unit, better}) => `${name}${unit ? `, ${unit}` : ""}${better ? ` (${better})` : ""}`;
  const own = points.filter(point => point.own).length;
  const figure = svg("svg", {
    viewBox: `0 0 ${width} ${height}`, class: "large", role: "img",
    "aria-label": `${up.name} against ${across.name}: ${own} compositions of ${family.name}, among ${points.length}.`
      + " Arrow keys tell the values.",
  });
  const placed = points.map(point => ({...point, left: x(point.x), top: y(point.y)}));
  const [others, named] = [false, true].map(wanted => placed.filter(point => (point.own || point.single) === wanted));
  figure.append(
    ...frame(box, y, {title: title(up)}),
    ...x.ticks(6).map(tick => svg("text", {x: x(tick), y: box.bottom + 18, "text-anchor": "middle"}, tickText(tick))),
    svg("text", {x: (box.left + box.right) / 2, y: box.bottom + 38, "text-anchor": "middle"}, title(across)),
    ...others.map(({left, top}) => svg("circle", {class: "faint", cx: left, cy: top, r: 2.6})),
    ...named.map(point => tradeMark(family, point)),
    ...labels(named, box),
  );
  const told = ({walk, x: value, y: other}) => `${walk.name}\n${across.name} ${short(value)}\n${up.name} ${short(other)}`;
  const inOrder = [...named].sort((a, b) => a.left - b.left || a.top - b.top);
  cursor(figure, inOrder.map(point => ({x: point.left, y: point.top, text: told(point)})));
  return figure;
}
function axisOf(criterion, values, from, to) {
  const {low, high, logarithmic} = domain(criterion, values, false);
  return scale(low, high, from, to, logarithmic);
}
function tradeMark(family, {walk, single, left, top}) {
  if (single) return lozenge(left, top, 3.6);
  const {hue, marker} = style(Math.max(0, family.orders.indexOf(walk.order)));
  return svg("g", {class: hue}, svg("path", {class: "mark", d: marker(left, top, 4.4)}));
}
// Names beside their points where there is room, those of the chosen methods first; the cursor tells the others.
function labels(named, box) {
  const taken = named.map(({left, top}) => [left - 5, top - 5, left + 5, top + 5]);
  const apart = ([a, b, c, d], [e, f, g, h]) => c < e || a > g || d < f || b > h;
  const within = ([a, b, c, d]) => a >= box.left && c <= box.right && b >= box.top - 8 && d <= box.bottom;
  return [...named].sort((a, b) => b.own - a.own).flatMap(({walk, left, top, own}) => {
    const width = walk.name.length * 5.6 + 4, west = left - width, middle = left - width / 2;
    const spots = [
      [left + 8, top - 6], [west - 8, top - 6], [middle, top - 19], [middle, top + 7],
      [left + 14, top - 20], [left + 14, top + 10], [west - 14, top - 20], [west - 14, top + 10],
    ].map(([x, y]) => [x, y, x + width, y + 12]);
    const spot = spots.find(held => within(held) && taken.every(other => apart(held, other)));
    if (!spot) return [];
    taken.push(spot);
    return [svg("text", {x: spot[0] + 2, y: spot[1] + 10, class: own ? "label strong" : "label"}, walk.name)];
  });
}
function buildTrade() {
  const entries = data.criteria.map(({name}, place) => [place, name]);
  const swept = composed.some(family => family.axis) ? [[STRENGTH, "strength"]] : [];
  options(byId("trade-x"), [...swept, ...entries], preferred(COMPRESSION) ?? swept[0]?.[0] ?? 0);
  options(byId("trade-y"), entries, preferred(UTILITY) ?? Math.min(1, data.criteria.length - 1));
  for (const id of ["trade-x", "trade-y"]) byId(id).addEventListener("change", () => drawTrade(chosen()[0]));
}
