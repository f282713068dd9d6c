// Asks the server whether the run has news, and reads the page anew where it has; what is chosen stands in the address.
async function askForNews() {
  try {
    const answer = await fetch("/version", {cache: "no-store"});
    const {version, progress} = await answer.json();
    byId("how-far").textContent = progress;
    if (version !== data.version) { location.reload(); return; }
    byId("news").textContent = "";
  } catch { byId("news").textContent = "The server does not answer: it was stopped, or the machine is busy."; }
  setTimeout(askForNews, 3000);
}
setTimeout(askForNews, 3000);
