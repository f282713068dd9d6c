// Of three and more methods: which of two goes first whatever else is applied, and whose loss or gain it is.
const chainFacts = (family, place) => data.chains[family.name]?.[place] ?? {};
const spread = ([low, high]) => finite(number(low)) && finite(number(high)) ? `${short(low)} … ${short(high)}` : "–";
const signed = value => `${number(value) > 0 ? "+" : ""}${short(value)}`;
function drawSwaps(family, place) {
  const {swaps} = chainFacts(family, place);
  byId("chain-swaps").hidden = !swaps;
  if (!swaps) return;
  const row = ([ahead, behind, lead, low, high, shown]) => bodyRow(
    [`${ahead} before ${behind}`, short(lead), spread([low, high]), shown ? "matters" : "not shown"],
    {class: shown ? null : "faint"});
  byId("chain-swaps").querySelector("table").replaceChildren(...tableParts(
    ["better", `${unitOf(family, place)} better by`, "95 % interval", "order"],
    [...swaps].sort((one, other) => other[5] - one[5] || number(other[2]) - number(one[2])).map(row)));
}
function drawChanges(family, place) {
  const {changes} = chainFacts(family, place);
  byId("chain-changes").hidden = !changes;
  if (!changes) return;
  const row = ([method, ...change]) => bodyRow(
    [method, signed(change[0]), spread(change.slice(1)), changeMeans(change, criteria[place].direction)]);
  byId("chain-changes").querySelector("table").replaceChildren(...tableParts(
    ["", unitOf(family, place), "95 % interval", "which is"],
    [bodyRow(["untouched model", short(changes.from), "", ""]), ...changes.of.map(row),
      bodyRow(["all applied, mean of orders", short(changes.to), "", ""], {class: "start"})]));
}
// What is read of a criterion: its name, or the logarithm of a perplexity where that is an area.
const unitOf = (family, place) => {
  const unit = chainFacts(family, place).changes?.unit ?? "";
  return unit.startsWith("ln ") ? unit : criteria[place].name;
};
function changeMeans([value, low, high], direction) {
  if (direction === "zero") return "–";
  const ends = [low, high].map(number), unclear = ends.every(finite) && ends[0] <= 0 && ends[1] >= 0;
  if (unclear || number(value) === 0) return "not shown";
  return (number(value) > 0) === (direction === "higher") ? "gain" : "loss";
}
