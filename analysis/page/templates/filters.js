// What is shown, in which order, and which cell is chosen; kept in the address, so that a reload and a link keep it.
const KINDS = [...new Set(composed.flatMap(family => family.methods.map(method => method.kind)))];
const METHODS = [...new Set(composed.flatMap(family => family.methods.map(method => method.label)))].sort();
const initial = {search: "", hidden: [], method: "", order: "", criteria: [], sort: "", chosen: null};
const state = {...initial, ...fromAddress()};
const listeners = [];
const onChange = listener => { listeners.push(listener); };
function fromAddress() {
  try { return JSON.parse(decodeURIComponent(location.hash.slice(1))); } catch { return {}; }
}
function change(part, {quiet = false} = {}) {
  Object.assign(state, part);
  const differing = Object.fromEntries(Object.entries(state).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(initial[name])));
  try { history.replaceState(null, "", `#${encodeURIComponent(JSON.stringify(differing))}`); } catch { /* not in every viewer */ }
  if (!quiet) listeners.forEach(listener => listener(part));
}
const shownCriteria = () => criteria.map((_, place) => place).filter(place => !state.criteria.includes(place));
const ORDERS = [
  ["", "any order"],
  ...Object.entries(SAID).map(([name, text]) => [name, text]),
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
function buildFilters() {
  const search = html("input", {type: "search", placeholder: "Search methods", "aria-label": "Search methods", oninput: event => change({search: event.target.value})});
  search.value = state.search;
  const select = (name, entries) => {
    const made = html("select", {"aria-label": name, onchange: event => change({[name]: event.target.value})});
    options(made, entries, state[name]);
    return made;
  };
  const count = html("output", {"aria-live": "polite"});
  byId("filters").append(
    search,
    html("fieldset", {}, html("legend", {}, "kinds"), ...KINDS.map(kind => chip(kind, !state.hidden.includes(kind), on => change({hidden: toggled(state.hidden, kind, on)})))),
    html("label", {}, "method ", select("method", [["", "any"], ...METHODS.map(name => [name, name])])),
    html("label", {}, "order ", select("order", ORDERS)),
    html("label", {}, "sort ", select("sort", [["", "by kind"], ["name", "by name"], ...criteria.flatMap(({name}, place) => [[`${place}:sensitivity:down`, `${name}: most order-sensitive`], [`${place}:error:down`, `${name}: largest error`], [`${place}:error:up`, `${name}: smallest error`]])])),
    html("fieldset", {}, html("legend", {}, "criteria"), ...criteria.map(({name}, place) => chip(name, !state.criteria.includes(place), on => change({criteria: toggled(state.criteria, place, on)})))),
    count,
  );
  byId("filter-box").open = innerWidth > 640;
  byId("filters").addEventListener("submit", event => event.preventDefault());
  const tell = () => { count.textContent = `${visible().length} of ${composed.length} sets of methods`; };
  onChange(tell);
  tell();
}
