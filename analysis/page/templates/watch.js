// Asks the server whether the run has news, and reads the page anew where it has; what is chosen stands in the address.
// Nobody who is at work in the page has it pulled away: then it offers the news instead.
const EVERY = 5000, AT_WORK = 15000;
let touched = -Infinity;
for (const event of ["pointerdown", "keydown", "wheel"]) {
  addEventListener(event, () => { touched = Date.now(); }, {passive: true});
}
const offer = () => html("button", {type: "button", onclick: () => location.reload()}, "Show the news");
async function askForNews() {
  const news = byId("news");
  try {
    const {version, progress} = await (await fetch("/version", {cache: "no-store"})).json();
    byId("how-far").textContent = progress;
    if (version === data.version) news.replaceChildren();
    else if (Date.now() - touched > AT_WORK) { location.reload(); return; }
    else if (!news.querySelector("button")) news.replaceChildren(offer());
  } catch { news.textContent = "The server does not answer: it was stopped, or the machine is busy."; }
  setTimeout(askForNews, EVERY);
}
setTimeout(askForNews, EVERY);
