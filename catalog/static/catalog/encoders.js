// While an encoder embeds the catalogue or is measured, its page is asked for again and what changed is put in.
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
  if (ended && part("enc-against")) return location.reload(); // a comparison is there now, with all its tables
  for (const id of PARTS) {
    const [old, fresh] = [part(id), part(id, page)];
    if (!old || !fresh || old.innerHTML === fresh.innerHTML || isUsed(old)) continue;
    old.replaceWith(fresh);
  }
}

// Nobody loses what they are typing, nor a form that they have opened.
const isUsed = (section) => section.contains(document.activeElement) || section.querySelector("details[open]");

async function goOn() {
  if (!part("enc-state")?.hasAttribute("data-changes")) return;
  await refresh().catch(() => {}); // the site is away; it is asked again
  setTimeout(goOn, SECONDS * 1000);
}

document.addEventListener("DOMContentLoaded", () => {
  setTimeout(goOn, SECONDS * 1000);
  part("enc-upload")?.addEventListener("submit", ({ target }) => {
    part("enc-busy").hidden = false;
    target.querySelector("button").disabled = true;
  });
});
