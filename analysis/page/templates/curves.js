// The curves of every order of one set of methods for one criterion, small or large.
const finite = Number.isFinite;
const reference = (family, criterion) => family.methods.flatMap(method => {
  const alone = data.families[method.alone], curve = alone?.curves[criterion];
  if (!curve) return [];
  const means = curve.mean[0].map(number), name = `${method.label} alone`;
  if (method.strength !== null) return [{name, flat: means[alone.grid.indexOf(method.strength)]}];
  return alone.axis ? [{name, grid: alone.grid, means}] : [{name, flat: means[0]}];
});
const LETTER = 6.4; // pixels of a letter, about
// Room at the right of a large figure for the names of its lines.
const labelRoom = (names, width) => Math.min(.34 * width, 16 + LETTER * Math.max(9, ...names.map(name => name.length)));
// Below a small panel without γ: who goes first, where that is short and tells the orders apart.
function letter(family, index) {
  const firsts = family.orders.map(order => order.split(" > ")[0]);
  return new Set(firsts).size === firsts.length && firsts.every(name => name.length < 7) ? `${firsts[index]} first` : String.fromCharCode(65 + index);
}
const intervalName = curve => {
  const units = curve.of === "seeds" ? "seeds" : "edit batches";
  if (curve.n > 2) return `bars: 95 % interval of the mean (Student-t, ${curve.n} ${units})`;
  return curve.n === 2 ? `bars: the values of the 2 ${units}` : "one value each, no interval";
};
function domain(criterion, values, whole) {
  const [low, high] = criterion.range.map(number);
  const held = values.filter(finite);
  if (!held.length) return {low: finite(low) ? low : 0, high: finite(high) ? high : 1};
  const least = Math.min(...held), most = Math.max(...held);
  if (whole && finite(low) && finite(high)) return {low: low - .03 * (high - low), high: high + .03 * (high - low)};
  if (criterion.direction === "lower" && !finite(high) && least > 0 && most / least > 30) return {low: least / 1.3, high: most * 1.3, logarithmic: true};
  const margin = .06 * (most - least || Math.abs(most) || 1);
  return {low: least - margin, high: most + margin};
}
function curvesFigure(family, place, {width = 620, height = 360, small = false, whole = true} = {}) {
  const curve = family.curves[place], criterion = criteria[place];
  const box = small ? {left: 30, right: width - 8, top: 8, bottom: height - 20} : {left: 46, right: width - labelRoom([...(family.axis ? family.orders : []), ...family.methods.map(method => `${method.label} alone`)], width), top: 30, bottom: height - 44};
  const lines = ["mean", "low", "high"].map(part => curve[part]?.map(line => line.map(number)));
  const references = reference(family, place), before = number(untouched?.values[place]);
  const values = [...lines.filter(Boolean).flat(2), ...references.flatMap(r => r.means ?? [r.flat]), criterion.chance ?? NaN, before];
  const {low, high, logarithmic} = domain(criterion, values, whole);
  const y = scale(low, high, box.bottom, box.top, logarithmic);
  const swept = family.axis !== null, grid = swept ? family.grid : family.orders.map((_, index) => index);
  const inset = small ? 10 : 24;
  const x = !swept ? scale(-.5, grid.length - .5, box.left, box.right)
    : grid.length > 1 ? scale(grid[0], grid.at(-1), box.left + inset, box.right - inset) : scale(grid[0] - 1, grid[0] + 1, box.left, box.right);
  const figure = svg("svg", {viewBox: `0 0 ${width} ${height}`, class: small ? "small" : "large", role: "img", "aria-label": `${family.name} on ${criterion.name}`});
  figure.append(...frame(box, y, {count: small ? 3 : 5, title: small ? "" : `${criterion.name}${criterion.unit ? `, ${criterion.unit}` : ""} (${criterion.better})`}));
  figure.append(...xTicks(family, grid, x, box, small), ...flats(criterion, before, references, y, x, box));
  if (swept) figure.append(between(lines[0], grid, x, y));
  figure.append(...family.orders.map((_, order) => drawOrder(order, lines, grid, x, y, swept, small)));
  figure.append(...lost(curve, family, grid, x, box, swept, small));
  if (!small) figure.append(...endLabels(family, criterion, lines[0], references, before, y, box, swept, width));
  if (!small) figure.append(svg("line", {class: "cursor", y1: box.top, y2: box.bottom, visibility: "hidden"}));
  cursor(figure, told(family, curve, grid, swept).map((text, index) => ({x: x(grid[index]), text})), {keys: !small});
  return figure;
}
function xTicks(family, grid, x, box, small) {
  const swept = family.axis !== null;
  const parts = grid.map((gamma, index) => svg("text", {x: x(gamma), y: box.bottom + (small ? 13 : 18), "text-anchor": "middle"},
    swept ? tickText(gamma) : small ? letter(family, index) : family.orders[index]));
  if (!small && swept) parts.push(svg("text", {x: (box.left + box.right) / 2, y: box.bottom + 38, "text-anchor": "middle"}, `${family.axis[0]} of ${family.axis[1]}`));
  return parts;
}
// Horizontal lines: chance, the untouched model, methods alone that have no γ; and those that have one, as curves.
const inside = (y, value) => finite(value) && value >= y.low && value <= y.high;
function flats(criterion, before, references, y, x, box) {
  const rule = (name, value, label) => inside(y, value) ? [svg("line", {class: name, x1: box.left, x2: box.right, y1: y(value), y2: y(value)}, svg("title", {}, label))] : [];
  const parts = [...rule("chance", criterion.chance ?? NaN, "chance"), ...rule("untouched", before, "untouched model")];
  for (const {name, flat, grid, means} of references) {
    if (grid) parts.push(svg("path", {class: "alone", d: path(means, grid, x, y)}, svg("title", {}, name)));
    else parts.push(...rule("alone flat", flat, name));
  }
  return parts;
}
// Names at the right end of what they name, moved apart where they would meet.
function endLabels(family, criterion, means, references, before, y, box, swept, width) {
  const last = line => line.filter(finite).at(-1);
  const wanted = [
    ...(swept ? means.map((line, order) => ({at: last(line), text: family.orders[order], hue: `hued i${order % HUES}`})) : []),
    ...references.map(({name, flat, means: own}) => ({at: own ? last(own) : flat, text: name})),
    {at: before, text: "untouched"}, {at: criterion.chance ?? NaN, text: "chance"},
  ].filter(({at}) => inside(y, at)).map(label => ({...label, y: y(label.at)})).sort((a, b) => a.y - b.y);
  let floor = box.top - 12;
  for (const label of wanted) floor = label.y = Math.max(label.y, floor + 13);
  let roof = Math.max(box.bottom, floor);
  for (const label of wanted.reverse()) { label.y = Math.min(label.y, roof); roof = label.y - 13; }
  const room = Math.floor((width - box.right - 8) / LETTER), cut = text => text.length > room ? `${text.slice(0, room - 1)}…` : text;
  return wanted.map(({text, hue, y: at}) => svg("text", {class: hue, x: box.right + 6, y: at + 4}, cut(text), svg("title", {}, text)));
}
// A line that breaks where a value is missing: drawing through it would fill it in.
function path(values, grid, x, y) {
  let pen = "M";
  return values.map((value, index) => {
    if (!finite(value)) { pen = "M"; return ""; }
    const step = `${pen}${x(grid[index]).toFixed(1)},${y(value).toFixed(1)}`;
    pen = "L";
    return step;
  }).join("");
}
function between(means, grid, x, y) {
  let d = "";
  for (let index = 0; index + 1 < grid.length; index += 1) {
    const ends = [index, index + 1].map(at => means.map(line => line[at]));
    if (means.length < 2 || !ends.flat().every(finite)) continue;
    // Of two orders the strip itself, which crosses where they do; of more, from the lowest to the highest.
    const corners = means.length === 2 ? ends : ends.map(held => [Math.max(...held), Math.min(...held)]);
    const point = (at, side) => `${x(grid[index + at]).toFixed(1)},${y(corners[at][side]).toFixed(1)}`;
    d += `M${point(0, 0)}L${point(1, 0)}L${point(1, 1)}L${point(0, 1)}z`;
  }
  return svg("path", {class: "between", d});
}
function drawOrder(order, [means, lows, highs], grid, x, y, swept, small) {
  const {hue, marker, dash} = style(order), group = svg("g", {class: hue}), radius = small ? 2.6 : 4.2;
  const shift = swept ? (order - (means.length - 1) / 2) * (small ? 2 : 4) : 0;
  if (swept) group.append(svg("path", {class: "line", d: path(means[order], grid, x, y), "stroke-dasharray": dash}));
  means[order].forEach((mean, index) => {
    const at = swept ? x(grid[index]) : x(order), low = lows?.[order][index], high = highs?.[order][index];
    const shown = value => Math.max(y.low, Math.min(y.high, value));
    if (finite(low) && finite(high)) group.append(svg("line", {class: "whisker", x1: at + shift, x2: at + shift, y1: y(shown(low)), y2: y(shown(high))}));
    if (finite(mean)) group.append(svg("path", {class: "mark", d: marker(at, y(mean), radius)}));
  });
  return group;
}
// Points without a value: a cross at the foot; infinite ones: a triangle at the top.
function lost(curve, family, grid, x, box, swept, small) {
  const radius = small ? 3 : 4.5;
  return family.orders.flatMap((_, order) => curve.mean[order].flatMap((value, index) => {
    const mean = number(value), at = swept ? x(grid[index]) : x(order), shift = order * radius * 2.4;
    if (finite(mean)) return [];
    const d = Number.isNaN(mean) ? cross(at, box.bottom - 6 - shift, radius) : MARKERS[2](at, box.top + 6 + shift, radius);
    return [svg("g", {class: style(order).hue}, svg("path", {class: "lost", d}))];
  }));
}
// What the cursor tells at each γ: every order with its interval, and why a value is missing.
function told(family, curve, grid, swept) {
  const line = (order, index) => {
    const why = curve.lost.filter(([which, point]) => which === order && (point === null || point === index));
    const interval = curve.low && curve.low[order][index] !== null ? ` (${short(curve.low[order][index])} … ${short(curve.high[order][index])})` : "";
    return [`${family.orders[order]}: ${short(curve.mean[order][index])}${interval}`, ...why.map(([, , reason, count]) => `  ${data.reasons[reason]} (${count} of ${curve.runs})`)].join("\n");
  };
  if (!swept) return grid.map(order => line(order, 0));
  return grid.map((gamma, index) => [`${family.axis[0]} ${plain(gamma)}`, ...family.orders.map((_, order) => line(order, index))].join("\n"));
}
