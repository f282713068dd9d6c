// The chosen cell: facts, curves, trade-off and stages of its methods.
let wholeRange = true;
function choose(name, place, show = false) {
  change({chosen: [name, place]});
  if (!show) return;
  byId("detail").scrollIntoView({behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth", block: "start"});
  byId("detail-title").focus({preventScroll: true});
}
function chosen() {
  const family = composed.find(held => held.name === state.chosen?.[0]) ?? visible()[0] ?? composed[0];
  const places = Object.keys(family.curves).map(Number);
  return [family, places.includes(state.chosen?.[1]) ? state.chosen[1] : places[0]];
}
function drawDetail() {
  const [family, place] = chosen();
  byId("detail-title").textContent = `${family.name} on ${criteria[place].name}`;
  options(byId("detail-methods"), composed.map(({name}) => [name, name]), family.name);
  options(byId("detail-criterion"), Object.keys(family.curves).map(at => [at, criteria[at].name]), place);
  byId("detail-facts").replaceChildren(...facts(family, cellOf(family, place)).map(([name, text, wide]) => html("div", {class: wide ? "wide" : null}, html("dt", {}, name), html("dd", {}, text))));
  drawCurves(family, place);
  drawTrade(family);
  options(byId("detail-order"), [["", "every order"], ...family.orders.map(order => [order, order])], "");
  drawStages(family, place);
}
function drawCurves(family, place) {
  const curve = family.curves[place], figure = curvesFigure(family, place, {whole: wholeRange, width: innerWidth < 640 ? 380 : 620, height: innerWidth < 640 ? 300 : 360});
  figure.setAttribute("aria-label", `${family.name} on ${criteria[place].name}. ${summary(family, place)} Arrow keys tell the values.`);
  const bounded = criteria[place].range.every(end => finite(number(end)));
  const zoom = bounded ? html("button", {type: "button", "aria-pressed": !wholeRange, onclick: () => { wholeRange = !wholeRange; drawCurves(family, place); }}, "Zoom to the values") : null;
  const [tools, numbers] = figureTools(figure, `${family.name} ${criteria[place].name}`, curveNumbers(family, curve));
  if (zoom) tools.append(zoom);
  byId("detail-curves").replaceChildren(
    html("div", {class: "legend"}, ...family.orders.map((order, index) => html("span", {}, swatch(index), order))),
    figure, html("p", {class: "note"}, intervalName(curve)), tools, numbers);
}
function curveNumbers(family, curve) {
  const points = family.axis ? family.grid.map(gamma => `${family.axis[0]} ${plain(gamma)}`) : ["value"];
  const head = ["", ...family.orders.flatMap(order => curve.low ? [order, "interval"] : [order])];
  return [head, ...points.map((point, index) => [point, ...family.orders.flatMap((_, order) => {
    const mean = short(curve.mean[order][index]);
    return curve.low ? [mean, curve.low[order][index] === null ? "–" : `${short(curve.low[order][index])} … ${short(curve.high[order][index])}`] : [mean];
  })])];
}
const walksOf = family => { const at = data.families.indexOf(family); return data.walks.filter(walk => walk.family === at); };
const stageText = value => Array.isArray(value) ? (value[0] === null ? value[2] : `${short(value[0])} (${value[1]} ${value[2]})`) : value === null ? "" : short(value);
function orderOf(family, walk) {
  const names = walk.name.split(" > ").map(step => step.split(/[@{]/)[0]);
  return family.orders.find(order => order.split(" > ").map(step => step.split(/[@{]/)[0]).join(" > ") === names.join(" > ")) ?? "";
}
// Stages of compositions, those that several share once; a line above each first step.
function stageTable(walks, place) {
  const marked = at => at === place ? "chosen" : null;
  const head = html("tr", {}, html("th", {scope: "col"}, "stage"), ...data.criteria.map(({name}, at) => html("th", {scope: "col", class: marked(at)}, ...breakable(name))));
  const stages = [...new Set(walks.flatMap(walk => walk.stages))].map(at => data.stages[at]);
  const rows = stages.map(stage => html("tr", {class: stage.again ? "again" : stage.depth === 1 ? "start" : null},
    html("th", {scope: "row"}, stage.chain, stage.again ? html("span", {class: "tag"}, stage.again) : null),
    ...stage.values.map((value, at) => html("td", {class: marked(at)}, stageText(value)))));
  return [html("thead", {}, head), html("tbody", {}, ...rows)];
}
// Items of the criterion that turned between the untouched model and the end of each composition.
function drawFlips(place, walks) {
  const turned = walks.map(walk => [walk.name, data.stages[walk.stages.at(-1)].turned[place]]).filter(([, counts]) => counts);
  const share = (count, items) => `${count} (${(100 * count / items).toFixed(1)} %)`;
  byId("detail-flips").hidden = !turned.length;
  byId("flips").replaceChildren(
    html("thead", {}, html("tr", {}, ...["composition", "right → wrong", "wrong → right", "net", "items"].map(text => html("th", {scope: "col"}, text)))),
    html("tbody", {}, ...turned.map(([name, [broken, mended, items]]) => html("tr", {}, html("th", {scope: "row"}, name), ...[share(broken, items), share(mended, items), `${mended < broken ? "−" : "+"}${Math.abs(mended - broken)}`, items].map(text => html("td", {}, text))))));
}
function drawStages(family, place) {
  const wanted = byId("detail-order").value, walks = walksOf(family).filter(walk => !wanted || orderOf(family, walk) === wanted);
  drawFlips(place, walks);
  byId("stages").replaceChildren(...stageTable(walks, place));
}
function buildDetail() {
  byId("detail-methods").addEventListener("change", event => choose(event.target.value, chosen()[1]));
  byId("detail-criterion").addEventListener("change", event => choose(chosen()[0].name, Number(event.target.value)));
  byId("detail-order").addEventListener("change", () => drawStages(...chosen()));
  onChange(part => { if ("chosen" in part || !state.chosen) drawDetail(); });
  drawDetail();
}
