// Axes and scales of a figure, and the cursor that mouse and arrow keys move along it.
const MARKERS = [
  (x, y, r) => `M${x - r},${y}a${r},${r} 0 1 0 ${2 * r},0a${r},${r} 0 1 0 ${-2 * r},0`,
  (x, y, r) => `M${x - r},${y - r}h${2 * r}v${2 * r}h${-2 * r}z`,
  (x, y, r) => `M${x},${y - 1.25 * r}l${1.2 * r},${2.1 * r}h${-2.4 * r}z`,
  (x, y, r) => `M${x},${y - 1.35 * r}l${1.35 * r},${1.35 * r}l${-1.35 * r},${1.35 * r}l${-1.35 * r},${-1.35 * r}z`,
];
const DASHES = ["", "7 3", "2 2.5", "9 3 2 3"];
const HUES = 6;
// The look of an order: hue, marker and dash, of which any tells the orders of a pair apart.
const style = index => ({
  hue: `drawn i${index % HUES}`,
  marker: MARKERS[index % 4],
  dash: DASHES[(index + Math.floor(index / 12)) % 4],
});
const cross = (x, y, r) => `M${x - r},${y - r}l${2 * r},${2 * r}M${x - r},${y + r}l${2 * r},${-2 * r}`;

function steps(low, high, count) {
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map(factor => factor * power).find(size => size >= rough * .999);
  const ticks = [];
  for (let tick = Math.ceil(low / step - 1e-9) * step; tick <= high + step * 1e-9; tick += step) {
    ticks.push(Number(tick.toPrecision(10)));
  }
  return ticks;
}
function decades(low, high, count) {
  const first = Math.ceil(Math.log10(low) - 1e-9), last = Math.floor(Math.log10(high) + 1e-9);
  const step = Math.max(1, Math.ceil((last - first) / count));
  const ticks = [];
  for (let power = first; power <= last; power += step) ticks.push(10 ** power);
  return ticks.length > 1 ? ticks : [low, high];
}
// A scale from values to pixels; logarithmic where values span decades.
function scale(low, high, from, to, logarithmic = false) {
  const along = logarithmic ? Math.log : value => value, width = along(high) - along(low) || 1;
  const map = value => from + (along(value) - along(low)) / width * (to - from);
  return Object.assign(map, {low, high, ticks: count => logarithmic ? decades(low, high, count) : steps(low, high, count)});
}
function tickText(tick) {
  const size = Math.abs(tick);
  if (size >= 1e5 || (size > 0 && size < 1e-3)) return tick.toExponential(0);
  return String(Number(tick.toPrecision(4))).replace(/^(-?)0\./, "$1.");
}
// Frame with gridlines and ticks of y; `box` is {left, right, top, bottom} in pixels.
function frame(box, y, {count = 5, title = ""} = {}) {
  const parts = y.ticks(count).flatMap(tick => [
    svg("line", {class: "gridline", x1: box.left, x2: box.right, y1: y(tick), y2: y(tick)}),
    svg("text", {x: box.left - 6, y: y(tick) + 3.5, "text-anchor": "end"}, tickText(tick)),
  ]);
  if (title) parts.push(svg("text", {x: 2, y: box.top - 10}, title));
  parts.push(svg("line", {class: "axis", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom}));
  return parts;
}
const tip = byId("tip");
function showTip(text, x, y) {
  tip.textContent = text;
  tip.hidden = !text;
  if (!text) return;
  const {width, height} = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - width - 4))}px`;
  tip.style.top = `${Math.max(4, y + 16 + height > innerHeight ? y - height - 12 : y + 16)}px`;
}
// Tells the nearest of `places` ([{x, text}] in the figure's own units), by mouse, touch and arrow keys.
function cursor(figure, places, {keys = true} = {}) {
  if (!places.length) return;
  const line = figure.querySelector(".cursor");
  let at = -1;
  const tell = (index, left, top) => {
    at = index;
    line?.setAttribute("transform", `translate(${places[index].x},0)`);
    line?.removeAttribute("visibility");
    showTip(places[index].text, left, top);
  };
  const leave = () => { line?.setAttribute("visibility", "hidden"); showTip(""); };
  figure.addEventListener("pointermove", event => {
    const box = figure.getBoundingClientRect(), ratio = figure.viewBox.baseVal.width / box.width;
    const x = (event.clientX - box.left) * ratio, y = (event.clientY - box.top) * ratio;
    const far = place => (place.x - x) ** 2 + (place.y === undefined ? 0 : (place.y - y) ** 2);
    const nearest = places.reduce((best, place, index) => far(place) < far(places[best]) ? index : best, 0);
    tell(nearest, event.clientX, event.clientY);
  });
  figure.addEventListener("pointerleave", leave);
  if (!keys) return;
  figure.setAttribute("tabindex", "0");
  figure.addEventListener("blur", leave);
  figure.addEventListener("keydown", event => {
    const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
    if (event.key === "Escape") leave();
    if (!step) return;
    event.preventDefault();
    const next = Math.max(0, Math.min(places.length - 1, at + step)), box = figure.getBoundingClientRect();
    tell(next, box.left + places[next].x * box.width / figure.viewBox.baseVal.width, box.top + 30);
  });
}
