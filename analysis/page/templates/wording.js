// What a cell of the composability table says, in words.
const SAID = {matters: "order matters", does_not_matter: "order does not matter", not_shown: "not shown", undecided: "points are missing that could tell"};
// The gap as the better order's lead: [value, low, high], all turned so that the value is positive.
function lead(cell) {
  const [value, low, high] = cell.gap.map(number);
  return value >= 0 ? [value, low, high] : [-value, -high, -low];
}
function verdict(cell) {
  if (!cell?.verdict || cell.aside) return "";
  if (cell.verdict === "does_not_matter") return "either order";
  if (cell.verdict === "undecided") return "points lost";
  const by = cell.best_order && cell.gap ? `${first(cell.best_order)} by ${short(lead(cell)[0])}` : "no difference";
  return cell.verdict === "matters" ? by : `${by}?`;
}
const MEANS = {
  matters: "the order matters", not_shown: "not shown to be more than noise",
  does_not_matter: "shown to be too small to matter", undecided: "undecided, as points are missing that could tell",
};
function sentence(family, cell) {
  if (cell.aside) return "This criterion measures what none of the methods tries to do.";
  if (!cell.gap) return cell.best_order ? `${cell.best_order} is the best of ${family.orders.length} orders${cell.verdict ? `: ${MEANS[cell.verdict]}` : ""}.` : "";
  const [value, ...ends] = lead(cell), better = cell.best_order ? `${cell.best_order} is better by ${short(value)}` : "No order is better";
  const held = [range([value, ...ends]) && `95 % interval ${range([value, ...ends])}`, cell.p !== undefined && `adjusted p ${cell.p < .001 ? "< 0.001" : `= ${Number(cell.p).toFixed(3)}`}`].filter(Boolean).join(", ");
  return `${better}${held && ` (${held})`}${cell.verdict ? `: ${MEANS[cell.verdict]}` : ""}.`;
}
const first = order => `${order.split(" > ")[0]} first`;
const isShown = cell => cell?.verdict === "matters" && !cell.aside;
const range = ([, low, high]) => finite(number(low)) && finite(number(high)) ? `${short(low)} … ${short(high)}` : "";
function stands(cell) {
  const units = cell.interval_of ?? "replicates", of = {replicates: "edit batches", seeds: "seeds", items: "items"}[units] ?? units;
  return `${cell.points[0]} of ${cell.points[1]} points, ${cell.n > 1 ? `${cell.n} ${of}` : "one value each"}`;
}
const interval = values => range(values) && `, 95 % interval ${range(values)}`;
const oneOrder = family => family.orders.length === 1;
// Everything about a cell as [name, text, wide?], for the facts beside its figures.
function facts(family, cell) {
  if (oneOrder(family)) return [["which order", `Only ${family.orders[0]} was run, so there is no order to compare.`, true]];
  if (!cell) return [["which order", "The composability table has no cell for these methods.", true]];
  const told = [], order = sentence(family, cell);
  if (order) told.push(["which order", order, true]);
  if (cell.error) told.push(["order-free error", short(cell.error[0]) + interval(cell.error)]);
  if (cell.sensitivity) told.push(["order sensitivity", short(cell.sensitivity[0]) + interval(cell.sensitivity)]);
  told.push(["stands on", `${stands(cell)}${cell.unit?.startsWith("ln ") ? `; areas of ${cell.unit}` : ""}`]);
  if (cell.at !== undefined) told.push(["read at", `γ = ${cell.at}`]);
  if (cell.reason !== undefined) told.push(["remark", data.reasons[cell.reason], true]);
  return told;
}
