// The parts of a figure of curves: levels, lines with their intervals, the strip between them, lost points, names.
const inside = (y, value) => finite(value) && value >= y.low && value <= y.high;
// Chance, the untouched model and methods alone without γ are levels; methods alone with γ are curves.
function levels({criterion, before, alone, grid, x, y, box}) {
  const level = (name, value, label) => inside(y, value)
    ? [svg("line", {class: name, x1: box.left, x2: box.right, y1: y(value), y2: y(value)}, svg("title", {}, label))]
    : [];
  return [
    ...level("chance", number(criterion.chance), "chance"),
    ...level("untouched", before, "untouched model"),
    ...alone.flatMap(own => own.means
      ? [svg("path", {class: "alone", d: path(own.means, own.grid, x, y)}, svg("title", {}, own.name))]
      : level("alone flat", own.level, own.name)),
  ];
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
// The strip between two orders, which crosses where they do; between more, from the lowest to the highest.
function between({lines, grid, x, y}) {
  const means = lines.mean;
  let d = "";
  for (let index = 0; index + 1 < grid.length; index += 1) {
    const ends = [index, index + 1].map(at => means.map(line => line[at]));
    if (means.length < 2 || !ends.flat().every(finite)) continue;
    const corners = means.length === 2 ? ends : ends.map(held => [Math.max(...held), Math.min(...held)]);
    const point = (at, side) => `${x(grid[index + at]).toFixed(1)},${y(corners[at][side]).toFixed(1)}`;
    d += `M${point(0, 0)}L${point(1, 0)}L${point(1, 1)}L${point(0, 1)}z`;
  }
  return svg("path", {class: "between", d});
}
function drawOrder({lines, grid, x, y, swept, small}, order) {
  const {hue, marker, dash} = style(order), means = lines.mean[order], group = svg("g", {class: hue});
  const shift = swept ? (order - (lines.mean.length - 1) / 2) * (small ? 2 : 4) : 0; // whiskers side by side
  const shown = value => y(Math.max(y.low, Math.min(y.high, value)));
  if (swept) group.append(svg("path", {class: "line", d: path(means, grid, x, y), "stroke-dasharray": dash}));
  means.forEach((mean, index) => {
    const at = x(swept ? grid[index] : order), low = lines.low?.[order][index], high = lines.high?.[order][index];
    if (finite(low) && finite(high)) {
      group.append(svg("line", {class: "whisker", x1: at + shift, x2: at + shift, y1: shown(low), y2: shown(high)}));
    }
    if (finite(mean)) group.append(svg("path", {class: "mark", d: marker(at, y(mean), small ? 2.6 : 4.2)}));
  });
  return group;
}
// Points without a value: a cross at the foot; infinite ones: a triangle at the top.
function lostPoints({family, lines, grid, x, box, swept, small}) {
  const radius = small ? 3 : 4.5;
  return family.orders.flatMap((_, order) => lines.mean[order].flatMap((mean, index) => {
    if (finite(mean)) return [];
    const at = x(swept ? grid[index] : order), shift = order * radius * 2.4;
    const d = Number.isNaN(mean)
      ? cross(at, box.bottom - 6 - shift, radius)
      : MARKERS[2](at, box.top + 6 + shift, radius);
    return [svg("g", {class: style(order).hue}, svg("path", {class: "lost", d}))];
  }));
}
// Names at the right end of what they name, moved apart where they would meet.
function endLabels({family, criterion, lines, alone, before, y, box, swept, width}) {
  const last = line => line.filter(finite).at(-1);
  const ends = lines.mean.map((line, order) => ({at: last(line), text: family.orders[order], hue: `hued i${order % HUES}`}));
  const wanted = [
    ...(swept ? ends : []),
    ...alone.map(own => ({at: own.means ? last(own.means) : own.level, text: own.name})),
    {at: before, text: "untouched"},
    {at: number(criterion.chance), text: "chance"},
  ].filter(({at}) => inside(y, at)).map(label => ({...label, y: y(label.at)})).sort((a, b) => a.y - b.y);
  let floor = box.top - 12;
  for (const label of wanted) floor = label.y = Math.max(label.y, floor + 13);
  let roof = Math.max(box.bottom, floor);
  for (const label of wanted.reverse()) { label.y = Math.min(label.y, roof); roof = label.y - 13; }
  const room = Math.floor((width - box.right - 8) / LETTER);
  const cut = text => text.length > room ? `${text.slice(0, room - 1)}…` : text;
  return wanted.map(({text, hue, y: at}) =>
    svg("text", {class: hue, x: box.right + 6, y: at + 4}, cut(text), svg("title", {}, text)));
}
