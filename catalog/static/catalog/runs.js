// Training run pages: htmx loads the updates, this script keeps scroll positions and open sections.
"use strict";

const byId = (id) => document.getElementById(id);

// The log stays at its end, or where the reader scrolled to; open sections stay open.
const before = {};

document.addEventListener("htmx:oobBeforeSwap", ({ detail: { target } }) => {
  const log = byId("run-log-text");
  before.open = [...target.querySelectorAll("details[open]")].map((part) => part.id);
  before.scrollLeft = [...target.querySelectorAll("[tabindex]")].map((part) => part.scrollLeft);
  before.top = log && log.scrollTop + log.clientHeight < log.scrollHeight - 4 ? log.scrollTop : null;
});

document.addEventListener("htmx:oobAfterSwap", ({ detail: { target } }) => {
  for (const id of before.open || []) byId(id)?.setAttribute("open", "");
  target.querySelectorAll("[tabindex]").forEach((part, number) => { part.scrollLeft = before.scrollLeft?.[number] ?? 0; });
  if (target.id === "run-log") showEnd(before.top);
});

function showEnd(place = null) {
  const log = byId("run-log-text");
  if (log) log.scrollTop = place ?? log.scrollHeight;
}

// A hidden page does not poll.
const isPoll = (event) => Boolean(event.target.closest?.("#run-poll"));

document.addEventListener("htmx:beforeRequest", (event) => {
  if (isPoll(event) && document.hidden) event.preventDefault();
});

function showLost(isLost) {
  const note = byId("run-lost");
  if (note && note.hidden === isLost) note.hidden = !isLost;
}

document.addEventListener("htmx:sendError", () => showLost(true));

document.addEventListener("htmx:afterRequest", (event) => {
  const { xhr, successful } = event.detail;
  if (!isPoll(event) || !xhr || !xhr.status) return;
  const isRedirected = xhr.responseURL && !new URL(xhr.responseURL).pathname.endsWith("/live/"); // the login page
  if (isRedirected || xhr.status === 404 || xhr.status === 403) window.location.reload();
  else showLost(!successful);
});

// The form: focus the result of the preflight check, so that screen readers read it.
document.addEventListener("htmx:afterSwap", () => byId("run-preflight")?.focus());

document.addEventListener("DOMContentLoaded", () => showEnd());
