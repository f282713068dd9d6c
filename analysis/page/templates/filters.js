// What is shown, in which order, and which cell is chosen; kept in the address, so that a reload and a link keep it.
const KINDS = [...new Set(composed.flatMap(family => family.methods.map(method => method.kind)))];
const METHODS = [...new Set(composed.flatMap(family => family.methods.map(method => method.label)))].sort();
const initial = {search: "", hidden: [], method: "", order: "", criteria: [], sort: "", chosen: null};
const state = {...initial, ...fromAddress()};
const listeners = [];
const onChange = listener => { listeners.push(listener); };
// Only what has the type that it must have: an address may be anything.
function fromAddress() {
  const fits = ([name, value]) => name === "chosen" || Array.isArray(initial[name])
    ? Array.isArray(value)
    : typeof value === "string" && typeof initial[name] === "string";
  try { return Object.fromEntries(Object.entries(JSON.parse(decodeURIComponent(location.hash.slice(1)))).filter(fits)); }
  catch { return {}; }
}
function change(part) {
  Object.assign(state, part);
  const changed = ([name, value]) => JSON.stringify(value) !== JSON.stringify(initial[name]);
  const text = JSON.stringify(Object.fromEntries(Object.entries(state).filter(changed)));
  try { history.replaceState(null, "", `#${encodeURIComponent(text)}`); } catch { /* not in every viewer */ }
  listeners.forEach(listener => listener(part));
}
const shownCriteria = () => criteria.map((_, place) => place).filter(place => !state.criteria.includes(place));
const ORDERS = [
  ["", "any order"],
  ...Object.entries(SAID),
  ...KINDS.map(kind => [`first:${kind}`, `${kind} first is better`]),
];
function suits(family, cell) {
  if (!state.order) return true;
  if (!cell || cell.aside) return false;
  if (!state.order.startsWith("first:")) return cell.verdict === state.order;
  const label = cell.best_order?.split(" > ")[0];
  return family.methods.some(method => method.label === label && `first:${method.kind}` === state.order);
}
function isShownFamily(family) {
  const text = state.search.trim().toLowerCase();
  if (text && !`${family.name} ${family.orders.join(" ")}`.toLowerCase().includes(text)) return false;
  if (family.methods.some(method => state.hidden.includes(method.kind))) return false;
  if (state.method && !family.methods.some(method => method.label === state.method)) return false;
  return !state.order || shownCriteria().some(place => suits(family, cellOf(family, place)));
}
// By the numbers of one criterion ("3:error:down"), or as the table has them; methods without a number come last.
function sorted(families) {
  if (!state.sort) return families;
  if (state.sort === "name") return [...families].sort((a, b) => a.name.localeCompare(b.name));
  const [place, metric, way] = state.sort.split(":"), sign = way === "up" ? 1 : -1;
  const value = family => number(cellOf(family, Number(place))?.[metric]?.[0]);
  const compare = (a, b) => Number.isNaN(a) - Number.isNaN(b) || (a === b ? 0 : sign * (a - b));
  return families.map(family => [value(family), family]).sort(([a], [b]) => compare(a, b)).map(([, family]) => family);
}
const visible = () => sorted(composed.filter(isShownFamily));
function chip(text, pressed, toggle) {
  const button = html("button", {type: "button", "aria-pressed": pressed, onclick: () => {
    const now = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", now);
    toggle(now);
  }}, text);
  return button;
}
const toggled = (list, entry, shown) => shown ? list.filter(other => other !== entry) : [...list, entry];
// A row of chips, each of which hides its entry: `hidden` is the part of the state that lists those.
function chips(legend, hidden, entries) {
  const made = entries.map(([entry, text]) =>
    chip(text, !state[hidden].includes(entry), shown => change({[hidden]: toggled(state[hidden], entry, shown)})));
  return html("fieldset", {}, html("legend", {}, legend), ...made);
}
function choice(name, entries) {
  const select = html("select", {"aria-label": name, onchange: event => change({[name]: event.target.value})});
  options(select, entries, state[name]);
  onChange(() => { select.value = state[name]; });
  return html("label", {}, html("span", {}, `${name} `), select);
}
const SORTS = [["", "by kind"], ["name", "by name"], ...criteria.flatMap(({name}, place) => [
  [`${place}:sensitivity:down`, `${name}: order matters most`],
  [`${place}:sensitivity:up`, `${name}: order matters least`],
  [`${place}:error:down`, `${name}: largest error`],
  [`${place}:error:up`, `${name}: smallest error`],
])];
function buildFilters() {
  const label = "Search methods", count = html("output", {"aria-live": "polite"});
  const search = html("input", {
    type: "search", placeholder: label, "aria-label": label, oninput: event => change({search: event.target.value}),
  });
  search.value = state.search;
  byId("filters").append(
    search,
    chips("kinds", "hidden", KINDS.map(kind => [kind, kind])),
    choice("method", [["", "any"], ...METHODS.map(name => [name, name])]),
    choice("order", ORDERS),
    choice("sort", SORTS),
    chips("criteria", "criteria", criteria.map(({name}, place) => [place, name])),
    count,
  );
  byId("filter-box").open = innerWidth > 640;
  byId("filters").addEventListener("submit", event => event.preventDefault());
  const tell = () => { count.textContent = `${visible().length} of ${composed.length} sets of methods`; };
  onChange(tell);
  tell();
}
