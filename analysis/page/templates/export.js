// Figures and tables leave the page: SVG with the colours of the theme, and the files that travel in the page.
const CARRIED = [
  "fill", "stroke", "stroke-width", "stroke-dasharray", "opacity", "paint-order", "font-family", "font-size", "font-weight",
  "text-anchor",
];
function standalone(figure) {
  const copy = figure.cloneNode(true), {width, height} = figure.viewBox.baseVal;
  const twins = copy.querySelectorAll("*");
  figure.querySelectorAll("*").forEach((element, index) => {
    const look = getComputedStyle(element);
    for (const name of CARRIED) twins[index].setAttribute(name, look.getPropertyValue(name));
    twins[index].removeAttribute("class");
  });
  copy.querySelectorAll("[visibility=hidden]").forEach(element => element.remove());
  copy.prepend(svg("rect", {width, height, fill: getComputedStyle(figure).getPropertyValue("--card").trim()}));
  for (const [name, value] of Object.entries({width, height})) copy.setAttribute(name, value);
  copy.removeAttribute("tabindex");
  return new XMLSerializer().serializeToString(copy);
}
function save(content, name, type) {
  const link = html("a", {href: URL.createObjectURL(new Blob([content], {type})), download: name});
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
async function copyText(text) {
  try { await navigator.clipboard.writeText(text); }
  catch { // without leave to use the clipboard: the old way
    const area = html("textarea", {});
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}
// Buttons below a figure, and its numbers as a table.
function figureTools(figure, name, head, rows) {
  const copied = html("button", {type: "button", onclick: async () => {
    await copyText(standalone(figure));
    copied.textContent = "Copied";
    setTimeout(() => { copied.textContent = "Copy SVG"; }, 1500);
  }}, "Copy SVG");
  const file = `${name.replace(/[^\w.-]+/g, "-")}.svg`;
  const keep = () => save(standalone(figure), file, "image/svg+xml");
  const saved = html("button", {type: "button", onclick: keep}, "Download SVG");
  const scroller = {class: "scroll tall", tabindex: 0, role: "region", "aria-label": `Numbers: ${name}`};
  const numbers = html("table", {class: "numbers"}, ...tableParts(head, rows.map(row => bodyRow(row))));
  return [
    html("div", {class: "tools"}, copied, saved),
    html("details", {}, html("summary", {}, "Numbers of this figure"), html("div", scroller, numbers)),
  ];
}
async function bytes(file) {
  const raw = Uint8Array.from(atob(file.data), char => char.charCodeAt(0));
  if (!file.packed) return raw;
  return new Response(new Blob([raw]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}
function offerFiles() {
  const offer = async file => save(await bytes(file), file.name, file.type);
  byId("files").append(...data.files.map(file => html("button", {type: "button", onclick: () => offer(file)}, file.label)));
}
