// Polls the page of an encoder while photos are embedded or an evaluation runs, and replaces the parts that changed.
"use strict";

const SECONDS = 4;
const PARTS = ["enc-state", "enc-actions"];
const part = (id, page = document) => page.getElementById(id);

async function refresh() {
  if (document.hidden) return;
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!answer.ok || answer.redirected) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const ended = !part("enc-state", page)?.hasAttribute("data-changes");
  if (ended && part("enc-against")) return location.reload(); // the comparison has finished: show its tables
  for (const id of PARTS) {
    const [old, fresh] = [part(id), part(id, page)];
    if (!old || !fresh || old.innerHTML === fresh.innerHTML || isUsed(old)) continue;
    old.replaceWith(fresh);
  }
}

// A section with the focus or an open form is not replaced, so that no input is lost.
const isUsed = (section) => section.contains(document.activeElement) || section.querySelector("details[open]");

async function poll() {
  if (!part("enc-state")?.hasAttribute("data-changes")) return;
  await refresh().catch(() => {}); // the site is unreachable: try again
  setTimeout(poll, SECONDS * 1000);
}

document.addEventListener("DOMContentLoaded", () => {
  setTimeout(poll, SECONDS * 1000);
  part("enc-upload")?.addEventListener("submit", ({ target }) => {
    part("enc-busy").hidden = false;
    target.querySelector("button").disabled = true;
  });
});
