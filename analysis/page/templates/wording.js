// What a cell of the composability table says, in words.
const SAID = {
  matters: "order matters",
  does_not_matter: "order does not matter",
  not_shown: "not shown",
  undecided: "points are missing that could tell",
};
const MEANS = {
  matters: "the order matters",
  does_not_matter: "shown to be too small to matter",
  not_shown: "not shown to be more than noise",
  undecided: "undecided, as points are missing that could tell",
};
const UNITS = {replicates: "edit batches", seeds: "seeds"};
const first = order => `${order.split(" > ")[0]} first`;
const isShown = cell => cell?.verdict === "matters" && !cell.aside;
const oneOrder = family => family.orders.length === 1;
const range = ([, low, high]) => finite(number(low)) && finite(number(high)) ? `${short(low)} … ${short(high)}` : "";
const interval = values => range(values) && `, 95 % interval ${range(values)}`;
// The gap as the better order's lead: [value, low, high], all turned so that the value is positive.
function lead(cell) {
  const [value, low, high] = cell.gap.map(number);
  return value >= 0 ? [value, low, high] : [-value, -high, -low];
}
// In a few words, for a panel and a cell.
function verdict(cell) {
  if (!cell?.verdict || cell.aside) return "";
  if (cell.verdict === "does_not_matter") return "either order";
  if (cell.verdict === "undecided") return "points lost";
  if (!cell.gap) return cell.verdict === "matters" ? "order matters" : "order matters?";
  const logarithm = cell.unit?.startsWith("ln ") ? " ln" : "";
  const by = cell.best_order ? `${first(cell.best_order)} by ${short(lead(cell)[0])}${logarithm}` : "no difference";
  return cell.verdict === "matters" ? by : `${by}?`;
}
// In a sentence, with what it stands on.
function sentence(family, cell) {
  if (cell.aside) return "This criterion measures what none of the methods tries to do.";
  const shown = cell.verdict ? `: ${MEANS[cell.verdict]}` : "";
  if (!cell.gap) return cell.best_order ? `${cell.best_order} is the best of ${family.orders.length} orders${shown}.` : "";
  const ahead = lead(cell), p = cell.p < .001 ? "< 0.001" : `= ${Number(cell.p).toFixed(3)}`;
  const better = cell.best_order ? `${cell.best_order} is better by ${short(ahead[0])}` : "No order is better";
  const held = [
    ...(range(ahead) ? [`95 % interval ${range(ahead)}`] : []),
    ...(cell.p === undefined ? [] : [`adjusted p ${p}`]),
  ].join(", ");
  return `${better}${held && ` (${held})`}${shown}.`;
}
function stands(cell) {
  const alone = cell.interval_of === "items" ? "one value each, intervals over items" : "one value each";
  const units = cell.n > 1 ? `${cell.n} ${UNITS[cell.interval_of] ?? "replicates"}` : alone;
  const logarithm = cell.unit?.startsWith("ln ") ? `; areas of ${cell.unit}` : "";
  return `${cell.points[0]} of ${cell.points[1]} points, ${units}${logarithm}`;
}
// Everything about a cell as [name, text, wide?], for the facts beside its figures.
function facts(family, cell) {
  const order = text => ["which order", text, true];
  if (oneOrder(family)) return [order(`Only ${family.orders[0]} was run, so there is no order to compare.`)];
  if (!cell) return [order("The composability table has no cell for these methods.")];
  return [
    ...(sentence(family, cell) ? [order(sentence(family, cell))] : []),
    ...(cell.error ? [["order-free error", short(cell.error[0]) + interval(cell.error)]] : []),
    ...(cell.sensitivity ? [["order sensitivity", short(cell.sensitivity[0]) + interval(cell.sensitivity)]] : []),
    ["stands on", stands(cell)],
    ...(cell.at === undefined ? [] : [["read at", `γ = ${cell.at}`]]),
    ...(cell.reason === undefined ? [] : [["remark", data.reasons[cell.reason], true]]),
  ];
}
const factsText = (family, cell, between) => facts(family, cell).map(([name, said]) => `${name}: ${said}`).join(between);
