// Compositions stage by stage, and the items that turned until their end.
const walksOf = family => data.walks.filter(walk => data.families[walk.family] === family);
const endOf = walk => data.stages[walk.stages.at(-1)];
function stageText(value) {
  if (!Array.isArray(value)) return value === null ? "" : short(value);
  const [mean, lost, why] = value;
  return mean === null ? why : `${short(mean)} (${lost} ${why})`;
}
// Stages that several compositions share stand there once; a line above each first step.
function stageTable(walks, place) {
  const marked = at => ({class: at === place ? "chosen" : null});
  const stages = [...new Set(walks.flatMap(walk => walk.stages))].map(at => data.stages[at]);
  return tableParts(
    ["stage", ...data.criteria.map(({name}, at) => [marked(at), ...breakable(name)])],
    stages.map(stage => bodyRow(
      [[{}, stage.chain, stage.again ? html("span", {class: "tag"}, stage.again) : null],
        ...stage.values.map((value, at) => [marked(at), stageText(value)])],
      {class: stage.again ? "again" : stage.depth === 1 ? "start" : null},
    )),
  );
}
// Items of the criterion that turned between the untouched model and the end of each composition.
function drawFlips(place, walks) {
  const turned = walks.map(walk => [walk.name, endOf(walk).turned[place]]).filter(([, counts]) => counts);
  const share = (count, items) => `${count} (${(100 * count / items).toFixed(1)} %)`;
  const net = (broken, mended) => `${mended < broken ? "−" : "+"}${Math.abs(mended - broken)}`;
  byId("detail-flips").hidden = !turned.length;
  byId("flips").replaceChildren(...tableParts(
    ["composition", "right → wrong", "wrong → right", "net", "items"],
    turned.map(([name, [broken, mended, items]]) =>
      bodyRow([name, share(broken, items), share(mended, items), net(broken, mended), items])),
  ));
}
function drawStages(family, place) {
  const order = byId("detail-order").value, walks = walksOf(family).filter(walk => !order || walk.order === order);
  drawFlips(place, walks);
  byId("stages").replaceChildren(...stageTable(walks, place));
}
