// The curves of every order of one set of methods for one criterion, small or large.
const finite = Number.isFinite;
const LETTER = 6.4; // pixels of a letter, about
// The methods on their own: a curve where they have the swept γ, as far as that goes here, else a level.
const references = (family, place) => family.methods.flatMap(method => {
  const alone = data.families[method.alone], curve = alone?.curves[place];
  if (!curve) return [];
  const means = curve.mean[0].map(number), name = `${method.label} alone`;
  const at = gamma => means[alone.grid.indexOf(gamma)];
  if (method.strength !== null) return [{name, level: at(method.strength)}];
  if (!alone.axis || !family.axis) return [{name, level: means[0]}];
  if (family.grid.length === 1) return [{name, level: at(family.grid[0])}];
  const grid = alone.grid.filter(gamma => gamma >= family.grid[0] && gamma <= family.grid.at(-1));
  return [{name, grid, means: grid.map(at)}];
});
const unitsName = curve => curve.of === "seeds" ? "seeds" : "edit batches";
function intervalName(curve) {
  if (curve.n > 2) return `bars: 95 % interval of the mean (Student-t, ${curve.n} ${unitsName(curve)})`;
  if (curve.items) return "bars: 95 % interval over the items of one measurement";
  return curve.n === 2 ? `bars: the values of the 2 ${unitsName(curve)}` : "one value each, no interval";
}
// The ends of an axis: the criterion's range where all of it is wanted, else what is there, on a logarithm over decades.
function domain(criterion, values, whole) {
  const [low, high] = criterion.range.map(number), held = values.filter(finite);
  if (!held.length) return {low: finite(low) ? low : 0, high: finite(high) ? high : 1};
  if (whole && finite(low) && finite(high)) return {low: low - .03 * (high - low), high: high + .03 * (high - low)};
  const least = Math.min(...held), most = Math.max(...held);
  const open = criterion.direction === "lower" && !finite(high);
  if (open && least > 0 && most / least > 30) return {low: least / 1.3, high: most * 1.3, logarithmic: true};
  const margin = .06 * (most - least || Math.abs(most) || 1);
  return {low: least - margin, high: most + margin};
}
// Where everything of a figure lies: what its parts are drawn from.
function layout(family, place, {width, height, small, whole}) {
  const curve = family.curves[place], criterion = criteria[place], swept = family.axis !== null;
  const lines = Object.fromEntries(["mean", "low", "high"].map(part => [part, curve[part]?.map(line => line.map(number))]));
  const alone = references(family, place), before = number(untouched?.values[place]);
  const names = [...(swept ? family.orders : []), ...alone.map(({name}) => name)];
  const box = small
    ? {left: 30, right: width - 8, top: 8, bottom: height - 20}
    : {left: 46, right: width - labelRoom(names, width), top: 30, bottom: height - 44};
  const levels = [...alone.flatMap(own => own.means ?? [own.level]), number(criterion.chance), before];
  const {low, high, logarithmic} = domain(criterion, [...Object.values(lines).flat(2), ...levels], whole);
  const grid = swept ? family.grid : family.orders.map((_, index) => index);
  return {
    family, curve, criterion, swept, lines, alone, before, box, grid, small, width,
    x: across(grid, swept, box, small ? 10 : 24), y: scale(low, high, box.bottom, box.top, logarithmic),
  };
}
const labelRoom = (names, width) => Math.min(.34 * width, 16 + LETTER * Math.max(9, ...names.map(name => name.length)));
function across(grid, swept, box, inset) {
  if (!swept) return scale(-.5, grid.length - .5, box.left, box.right);
  if (grid.length === 1) return scale(grid[0] - 1, grid[0] + 1, box.left, box.right);
  return scale(grid[0], grid.at(-1), box.left + inset, box.right - inset);
}
function curvesFigure(family, place, {width = 620, height = 360, small = false, whole = true} = {}) {
  const plot = layout(family, place, {width, height, small, whole}), {criterion, box, grid, x, y} = plot;
  const title = `${criterion.name}${criterion.unit ? `, ${criterion.unit}` : ""} (${criterion.better})`;
  const figure = svg("svg", {
    viewBox: `0 0 ${width} ${height}`, class: small ? "small" : "large", role: "img",
    "aria-label": `${family.name} on ${criterion.name}`,
  });
  figure.append(
    ...frame(box, y, {count: small ? 3 : 5, title: small ? "" : title}),
    ...xTicks(plot), ...levels(plot), ...(plot.swept ? [between(plot)] : []),
    ...family.orders.map((_, order) => drawOrder(plot, order)), ...lostPoints(plot),
    ...(small ? [] : endLabels(plot)),
    ...(small ? [] : [svg("line", {class: "cursor", y1: box.top, y2: box.bottom, visibility: "hidden"})]),
  );
  cursor(figure, grid.map((gamma, index) => ({x: x(gamma), text: told(plot, index)})), {keys: !small});
  return figure;
}
function xTicks({family, grid, x, box, small, swept}) {
  const middle = {"text-anchor": "middle"};
  const name = (gamma, index) => swept ? tickText(gamma) : small ? goesFirst(family, index) : family.orders[index];
  const below = box.bottom + (small ? 13 : 18);
  const ticks = grid.map((gamma, index) => svg("text", {x: x(gamma), y: below, ...middle}, name(gamma, index)));
  if (small || !swept) return ticks;
  const axis = `${family.axis[0]} of ${family.axis[1]}`;
  return [...ticks, svg("text", {x: (box.left + box.right) / 2, y: box.bottom + 38, ...middle}, axis)];
}
// Below a small panel without γ: who goes first, where that is short and tells the orders apart; else a letter.
function goesFirst(family, index) {
  const firsts = family.orders.map(order => order.split(" > ")[0]);
  const clear = new Set(firsts).size === firsts.length && firsts.every(name => name.length < 7);
  return clear ? `${firsts[index]} first` : String.fromCharCode(65 + index);
}
// What the cursor tells at each γ: every order with its interval, and why a value is missing.
function told({family, curve, grid, swept}, index) {
  const line = (order, point) => {
    const low = curve.low?.[order][point], high = curve.high?.[order][point];
    const ends = low === undefined || low === null ? "" : ` (${short(low)} … ${short(high)})`;
    const why = curve.lost
      .filter(([which, at]) => which === order && (at === null || at === point))
      .map(([, , reason, count]) => `\n  ${data.reasons[reason]} (${count} of ${curve.runs})`);
    return `${family.orders[order]}: ${short(curve.mean[order][point])}${ends}${why.join("")}`;
  };
  if (!swept) return line(index, 0);
  return [`${family.axis[0]} ${plain(grid[index])}`, ...family.orders.map((_, order) => line(order, index))].join("\n");
}
