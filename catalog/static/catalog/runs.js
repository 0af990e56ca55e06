// What scripts add to the pages of training runs. htmx asks for what is new; this keeps the reader's place.
"use strict";

const byId = (id) => document.getElementById(id);

// The log stays at its end, or where someone has scrolled to; sections that were opened stay open.
const kept = {};

document.addEventListener("htmx:oobBeforeSwap", ({ detail: { target } }) => {
  const log = byId("run-log-text");
  kept.open = [...target.querySelectorAll("details[open]")].map((part) => part.id);
  kept.aside = [...target.querySelectorAll("[tabindex]")].map((part) => part.scrollLeft);
  kept.top = log && log.scrollTop + log.clientHeight < log.scrollHeight - 4 ? log.scrollTop : null;
});

document.addEventListener("htmx:oobAfterSwap", ({ detail: { target } }) => {
  for (const id of kept.open || []) byId(id)?.setAttribute("open", "");
  target.querySelectorAll("[tabindex]").forEach((part, number) => { part.scrollLeft = kept.aside?.[number] ?? 0; });
  if (target.id === "run-log") showEnd(kept.top);
});

function showEnd(place = null) {
  const log = byId("run-log-text");
  if (log) log.scrollTop = place ?? log.scrollHeight;
}

// Nobody looks at a hidden page; the site need not be asked for it.
const isPoll = (event) => Boolean(event.target.closest?.("#run-poll"));

document.addEventListener("htmx:beforeRequest", (event) => {
  if (isPoll(event) && document.hidden) event.preventDefault();
});

function lost(isLost) {
  const note = byId("run-lost");
  if (note && note.hidden === isLost) note.hidden = !isLost;
}

document.addEventListener("htmx:sendError", () => lost(true));

document.addEventListener("htmx:afterRequest", (event) => {
  const { xhr, successful } = event.detail;
  if (!isPoll(event) || !xhr || !xhr.status) return;
  const elsewhere = xhr.responseURL && !new URL(xhr.responseURL).pathname.endsWith("/live/"); // the login page
  if (elsewhere || xhr.status === 404 || xhr.status === 403) window.location.reload();
  else lost(!successful);
});

// The form: what the check says is read at once.
document.addEventListener("htmx:afterSwap", () => byId("run-found")?.focus());

document.addEventListener("DOMContentLoaded", () => showEnd());
