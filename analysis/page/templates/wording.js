// What a cell of the composability table says, in words.
const SAID = {matters: "order matters", does_not_matter: "order does not matter", not_shown: "not shown", undecided: "points are missing that could tell"};
// The gap as the better order's lead: [value, low, high], all turned so that the value is positive.
function lead(cell) {
  const [value, low, high] = cell.gap.map(number);
  return value >= 0 ? [value, low, high] : [-value, -high, -low];
}
function verdict(cell, brief = true) {
  if (!cell?.verdict || cell.aside) return "";
  const by = cell.best_order && cell.gap ? `${brief ? first(cell.best_order) : cell.best_order} by ${short(lead(cell)[0])}` : "no order is better";
  if (cell.verdict === "does_not_matter") return brief ? "either order" : "Either order: the difference is shown to be small";
  if (cell.verdict === "undecided") return brief ? "points lost" : "Undecided: points are missing that could tell";
  if (cell.verdict === "matters") return brief ? by : `${by}: the order matters`;
  return brief ? `${by}?` : `${by}, which is not shown to be more than noise`;
}
const first = order => `${order.split(" > ")[0]} first`;
const isShown = cell => cell?.verdict === "matters" && !cell.aside;
const range = ([, low, high]) => finite(number(low)) && finite(number(high)) ? `${short(low)} … ${short(high)}` : "";
function stands(cell) {
  const units = cell.interval_of ?? "replicates", of = {replicates: "edit batches", seeds: "seeds", items: "items"}[units] ?? units;
  return `${cell.points[0]} of ${cell.points[1]} points, ${cell.n > 1 ? `${cell.n} ${of}` : "one value each"}`;
}
// Everything about a cell as [name, text, wide?], for the facts beside its figures.
function facts(family, cell) {
  if (!cell) return [["order", family.orders.length > 1 ? "the composability table has no cell for these methods" : `only ${family.orders[0]} was run, so there is no order to compare`, true]];
  const interval = values => range(values) && ` (95 % interval ${range(values)})`;
  const told = [];
  if (cell.verdict || cell.best_order) told.push(["which order", cell.aside ? "this criterion measures what none of the methods tries to do" : verdict(cell, false) || `${cell.best_order} is the best order`, true]);
  if (cell.gap) told.push(["lead of the better order", `${short(lead(cell)[0])}${interval(lead(cell))}${cell.p === undefined ? "" : `, adjusted p = ${cell.p < .001 ? "< 0.001" : Number(cell.p).toFixed(3)}`}`.replace("= <", "<")]);
  if (cell.error) told.push(["order-free error", short(cell.error[0]) + interval(cell.error)]);
  if (cell.sensitivity) told.push(["order sensitivity", short(cell.sensitivity[0]) + interval(cell.sensitivity)]);
  told.push(["stands on", stands(cell)]);
  if (cell.at !== undefined) told.push(["read at", `γ = ${cell.at}`]);
  if (cell.unit) told.push(["unit", cell.unit]);
  if (cell.reason !== undefined) told.push(["remark", data.reasons[cell.reason], true]);
  return told;
}
