// Sets of three and more methods: orders down, strengths across. The colours are cividis, which every eye ranks alike.
const CIVIDIS = [[0, 34, 78], [53, 69, 108], [102, 105, 112], [148, 142, 119], [200, 184, 102], [254, 232, 56]];
function cividis(share) {
  const at = Math.max(0, Math.min(1, share)) * (CIVIDIS.length - 1), low = Math.min(CIVIDIS.length - 2, Math.floor(at));
  const mixed = CIVIDIS[low].map((part, index) => Math.round(part + (CIVIDIS[low + 1][index] - part) * (at - low)));
  return {background: `rgb(${mixed})`, color: (.299 * mixed[0] + .587 * mixed[1] + .114 * mixed[2]) > 120 ? "#111" : "#fff"};
}
const goodness = {higher: value => value, lower: value => -value, zero: value => -Math.abs(value)};
const chainFamilies = composed.filter(family => family.methods.length > 2);
function drawChains() {
  const family = chainFamilies.find(({name}) => name === byId("chain-methods").value), criterion = byId("chain-criterion");
  options(criterion, Object.keys(family.curves).map(place => [place, criteria[place].name]), criterion.value);
  const place = Number(criterion.value), curve = family.curves[place], good = goodness[criteria[place].direction];
  const means = curve.mean.map(line => line.map(number)), ranked = means.flat().filter(finite).map(good);
  const least = Math.min(...ranked), most = Math.max(...ranked);
  const best = family.grid.map((_, at) => Math.max(...means.map(line => finite(line[at]) ? good(line[at]) : -Infinity)));
  const head = html("tr", {}, html("th", {scope: "col"}, "order"), ...family.grid.map(gamma => html("th", {scope: "col"}, gamma === null ? criteria[place].name : `${family.axis[0]} ${plain(gamma)}`)));
  const rows = family.orders.map((order, line) => html("tr", {}, html("th", {scope: "row"}, order), ...family.grid.map((_, at) => {
    const value = means[line][at], top = finite(value) && good(value) === best[at] && family.orders.length > 1;
    const cell = html("td", {}, finite(value) ? short(value) : curve.mean[line][at] === null ? missingText(curve, line, at) : short(value), top ? " ★" : "");
    if (finite(value)) Object.assign(cell.style, cividis(most > least ? (good(value) - least) / (most - least) : 1));
    if (top) cell.setAttribute("aria-label", `${short(value)}, the best order`);
    return cell;
  })));
  byId("chain-grid").replaceChildren(html("thead", {}, head), html("tbody", {}, ...rows));
  const cell = cellOf(family, place), unasked = family.unasked ? ` ${family.unasked} of ${family.unasked + family.orders.length} orders were not run.` : "";
  const spread = cell?.sensitivity ? `Orders differ by ${short(cell.sensitivity[0])}; order-free error ${short(cell.error?.[0])}.` : "";
  byId("chain-answer").textContent = [cell?.best_order ? `Best over all strengths: ${cell.best_order}.` : "", spread, intervalName(curve).replace(/^bars: /, "Means; "), unasked].filter(Boolean).join(" ");
}
function missingText(curve, line, at) {
  const why = curve.lost.find(([order, point]) => order === line && (point === null || point === at));
  return why ? data.reasons[why[2]] : "–";
}
function buildChains() {
  if (!byId("chains")) return;
  options(byId("chain-methods"), chainFamilies.map(({name}) => [name, name]));
  for (const id of ["chain-methods", "chain-criterion"]) byId(id).addEventListener("change", drawChains);
  drawChains();
}
