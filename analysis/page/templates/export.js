// Figures and tables leave the page: SVG with the colours of the theme, and the files that travel in the page.
const CARRIED = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "opacity", "font-family", "font-size", "text-anchor"];
function standalone(figure) {
  const copy = figure.cloneNode(true), {width, height} = figure.viewBox.baseVal;
  const pairs = [...figure.querySelectorAll("*")].map((element, index) => [element, copy.querySelectorAll("*")[index]]);
  for (const [element, twin] of pairs) {
    const look = getComputedStyle(element);
    for (const name of CARRIED) if (look.getPropertyValue(name)) twin.setAttribute(name, look.getPropertyValue(name));
    twin.removeAttribute("class");
  }
  copy.querySelectorAll("[visibility=hidden]").forEach(element => element.remove());
  copy.prepend(svg("rect", {width, height, fill: getComputedStyle(figure.parentElement).getPropertyValue("--card").trim()}));
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
// Buttons below a figure, and its numbers as a table: [header, ...rows].
function figureTools(figure, name, numbers) {
  const copied = html("button", {type: "button", onclick: async () => {
    await copyText(standalone(figure));
    copied.textContent = "Copied";
    setTimeout(() => { copied.textContent = "Copy SVG"; }, 1500);
  }}, "Copy SVG");
  const saved = html("button", {type: "button", onclick: () => save(standalone(figure), `${name.replace(/[^\w.-]+/g, "-")}.svg`, "image/svg+xml")}, "Download SVG");
  const [head, ...rows] = numbers;
  return [
    html("div", {class: "tools"}, copied, saved),
    html("details", {}, html("summary", {}, "Numbers of this figure"), html("div", {class: "scroll tall", tabindex: 0, role: "region", "aria-label": `Numbers: ${name}`},
      html("table", {class: "numbers"}, html("thead", {}, html("tr", {}, ...head.map(text => html("th", {scope: "col"}, text)))),
        html("tbody", {}, ...rows.map(([first, ...rest]) => html("tr", {}, html("th", {scope: "row"}, first), ...rest.map(text => html("td", {}, text)))))))),
  ];
}
async function bytes(file) {
  const raw = Uint8Array.from(atob(file.data), char => char.charCodeAt(0));
  if (!file.packed) return raw;
  return new Response(new Blob([raw]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}
function offerFiles() {
  byId("files").append(...data.files.map(file => html("button", {type: "button", onclick: async () => save(await bytes(file), file.name, file.type)}, file.label)));
}
