// Sets of three and more methods: orders down, strengths across. The colours are cividis, which every eye ranks alike.
const CIVIDIS = [[0, 34, 78], [53, 69, 108], [102, 105, 112], [148, 142, 119], [200, 184, 102], [254, 232, 56]];
const GOODNESS = {higher: value => value, lower: value => -value, zero: value => -Math.abs(value)};
const longer = composed.filter(family => family.methods.length > 2);
function cividis(share) {
  const at = Math.max(0, Math.min(1, share)) * (CIVIDIS.length - 1), low = Math.min(CIVIDIS.length - 2, Math.floor(at));
  const mixed = CIVIDIS[low].map((part, index) => Math.round(part + (CIVIDIS[low + 1][index] - part) * (at - low)));
  const bright = .299 * mixed[0] + .587 * mixed[1] + .114 * mixed[2] > 120;
  return {background: `rgb(${mixed})`, color: bright ? "#111" : "#fff"};
}
function drawChains() {
  const family = byName.get(byId("chain-methods").value), select = byId("chain-criterion");
  options(select, Object.keys(family.curves).map(place => [place, criteria[place].name]), select.value);
  const place = Number(select.value), curve = family.curves[place], strength = family.axis?.[0];
  const columns = family.grid.map(gamma => gamma === null ? criteria[place].name : `${strength} ${plain(gamma)}`);
  const grid = chainCells(family, curve, GOODNESS[criteria[place].direction]);
  byId("chain-grid").replaceChildren(...tableParts(["order", ...columns],
    family.orders.map((order, line) => bodyRow([order, ...grid[line]]))));
  byId("chain-answer").textContent = chainAnswer(family, curve, cellOf(family, place));
  drawSwaps(family, place);
  drawChanges(family, place);
}
// A cell for each order and γ: shaded from the worst to the best value of all, with a star at the best of its γ.
function chainCells(family, curve, good) {
  const means = curve.mean.map(line => line.map(number)), known = means.flat().filter(finite).map(good);
  const least = Math.min(...known), most = Math.max(...known);
  const best = family.grid.map((_, at) => Math.max(...means.map(line => finite(line[at]) ? good(line[at]) : -Infinity)));
  return means.map((line, order) => line.map((value, at) => {
    if (!finite(value)) return Number.isNaN(value) ? whyMissing(curve, order, at) : short(value);
    const {background, color} = cividis(most > least ? (good(value) - least) / (most - least) : 1);
    const top = means.length > 1 && good(value) === best[at];
    const said = top ? `${short(value)}, the best order` : null;
    return [{style: `background: ${background}; color: ${color}`, "aria-label": said}, short(value), top ? " ★" : ""];
  }));
}
function whyMissing(curve, order, at) {
  const why = curve.lost.find(([which, point]) => which === order && (point === null || point === at));
  return why ? data.reasons[why[2]] : "–";
}
function chainAnswer(family, curve, cell) {
  const differ = cell?.sensitivity ? `Orders differ by ${short(cell.sensitivity[0])}${interval(cell.sensitivity)}` : "";
  return [
    cell?.best_order ? `Best over all strengths: ${cell.best_order}.` : "",
    differ && `${differ}; order-free error ${short(cell.error?.[0])}.`,
    `Means of ${curve.n} ${unitsName(curve)}.`,
    family.unasked ? `${family.unasked} of ${family.unasked + family.orders.length} orders were not run.` : "",
  ].filter(Boolean).join(" ");
}
function buildChains() {
  if (!longer.length) return;
  options(byId("chain-methods"), longer.map(({name}) => [name, name]));
  for (const id of ["chain-methods", "chain-criterion"]) byId(id).addEventListener("change", drawChains);
  drawChains();
}
