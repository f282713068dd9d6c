// Elements made by hand: text is always text, so that no name or reason of a table is read as markup.
const SVG_SPACE = "http://www.w3.org/2000/svg";
const byId = id => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.startsWith("aria-")) element.setAttribute(name, String(value));
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter(child => child !== null && child !== undefined));
  return element;
}
const html = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG_SPACE, tag), attributes, children);
function options(select, entries, chosen) {
  select.replaceChildren(...entries.map(([value, text]) => html("option", {value}, text)));
  if (entries.some(([value]) => String(value) === String(chosen))) select.value = chosen;
}
// A name that may break after its underscores, so that narrow columns and panels hold it whole.
const breakable = name => name.split(/(?<=_)/).flatMap((part, index) => index ? [html("wbr"), part] : [part]);
// Numbers of the data: null is none, the text "Infinity" is infinite.
const number = value => value === null || value === undefined ? NaN : Number(value);
function short(value) {
  if (value === null || value === undefined || Number.isNaN(number(value))) return "–";
  const v = number(value), size = Math.abs(v);
  if (!Number.isFinite(v)) return v > 0 ? "∞" : "−∞";
  if (size >= 1e5) return v.toExponential(1);
  const text = v.toFixed(size >= 1000 ? 0 : size >= 100 ? 1 : 2);
  return Number(text) === 0 ? "0.00" : text;
}
const plain = gamma => gamma === null ? "" : String(Number(gamma.toPrecision(6)));
// Head and body of a table; a row is [heading, ...cells], a cell a text, an element or [attributes, text].
const cellOfTable = (tag, attributes, content) => Array.isArray(content)
  ? html(tag, {...attributes, ...content[0]}, ...content.slice(1))
  : html(tag, attributes, content);
const bodyRow = ([heading, ...cells], attributes = {}) => html("tr", attributes,
  cellOfTable("th", {scope: "row"}, heading), ...cells.map(content => cellOfTable("td", {}, content)));
const tableParts = (head, rows) => [
  html("thead", {}, html("tr", {}, ...head.map(content => cellOfTable("th", {scope: "col"}, content)))),
  html("tbody", {}, ...rows),
];
// The methods, criteria and values that other files ask for.
const criteria = data.criteria.slice(0, data.judged);
const composed = data.families.filter(family => family.methods.length > 1);
const byName = new Map(composed.map(family => [family.name, family]));
const cellOf = (family, criterion) => data.cells[family.name]?.[criterion];
const untouched = data.stages.find(stage => stage.depth === 0);
const ARROWS = {higher: "↑", lower: "↓", zero: "→ 0"};
