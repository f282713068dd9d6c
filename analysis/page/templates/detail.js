// The chosen cell: facts, curves, trade-off and stages of its methods.
let wholeRange = true;
const isChosen = (name, place) => state.chosen?.[0] === name && state.chosen?.[1] === place;
function markChosen(within, selector) {
  within.querySelectorAll(selector).forEach(button => {
    button.setAttribute("aria-pressed", isChosen(button.dataset.name, Number(button.dataset.place)));
  });
}
function choose(name, place, show = false) {
  change({chosen: [name, place]});
  if (!show) return;
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  byId("detail").scrollIntoView({behavior: still ? "auto" : "smooth", block: "start"});
  byId("detail-title").focus({preventScroll: true});
}
function chosen() {
  const family = byName.get(state.chosen?.[0]) ?? visible()[0] ?? composed[0];
  const places = Object.keys(family.curves).map(Number);
  return [family, places.includes(state.chosen?.[1]) ? state.chosen[1] : places[0]];
}
const largeSize = () => innerWidth < 640 ? {width: 380, height: 300} : {width: 620, height: 360};
function drawDetail() {
  const [family, place] = chosen();
  byId("detail-title").textContent = `${family.name} on ${criteria[place].name}`;
  options(byId("detail-methods"), composed.map(({name}) => [name, name]), family.name);
  options(byId("detail-criterion"), Object.keys(family.curves).map(at => [at, criteria[at].name]), place);
  byId("detail-facts").replaceChildren(...facts(family, cellOf(family, place)).map(([name, text, wide]) =>
    html("div", {class: wide ? "wide" : null}, html("dt", {}, name), html("dd", {}, text))));
  drawCurves(family, place);
  drawTrade(family);
  options(byId("detail-order"), [["", "every order"], ...family.orders.map(order => [order, order])], "");
  drawStages(family, place);
}
function drawCurves(family, place) {
  const curve = family.curves[place], criterion = criteria[place];
  const figure = curvesFigure(family, place, {whole: wholeRange, ...largeSize()});
  const label = `${family.name} on ${criterion.name}. ${summary(family, place)} Arrow keys tell the values.`;
  figure.setAttribute("aria-label", label);
  const [tools, numbers] = figureTools(figure, `${family.name} ${criterion.name}`, ...curveNumbers(family, curve));
  if (criterion.range.every(end => finite(number(end)))) {
    tools.append(html("button", {
      type: "button", "aria-pressed": !wholeRange,
      onclick: () => { wholeRange = !wholeRange; drawCurves(family, place); },
    }, "Zoom to the values"));
  }
  const legend = html("div", {class: "legend"}, ...orderLegend(family));
  const note = html("p", {class: "note"}, intervalName(curve));
  byId("detail-curves").replaceChildren(legend, figure, note, tools, numbers);
}
function curveNumbers(family, curve) {
  const points = family.axis ? family.grid.map(gamma => `${family.axis[0]} ${plain(gamma)}`) : ["value"];
  const ends = (order, index) => range([0, curve.low[order][index], curve.high[order][index]]) || "–";
  const values = index => family.orders.flatMap((_, order) => {
    const mean = short(curve.mean[order][index]);
    return curve.low ? [mean, ends(order, index)] : [mean];
  });
  return [
    ["", ...family.orders.flatMap(order => curve.low ? [order, "interval"] : [order])],
    points.map((point, index) => [point, ...values(index)]),
  ];
}
function buildDetail() {
  byId("detail-methods").addEventListener("change", event => choose(event.target.value, chosen()[1]));
  byId("detail-criterion").addEventListener("change", event => choose(chosen()[0].name, Number(event.target.value)));
  byId("detail-order").addEventListener("change", () => drawStages(...chosen()));
  onChange(part => { if ("chosen" in part || !state.chosen) drawDetail(); });
  drawDetail();
}
