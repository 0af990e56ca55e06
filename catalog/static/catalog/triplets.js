// Keyboard shortcuts of the review page: each key presses its button. Without this script the buttons still work.
"use strict";

{
  let busy = false; // a request is running; a second answer would be for the same triplet
  const lost = (isLost) => { document.getElementById("review-lost").hidden = !isLost; };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
    if (event.target.closest("input, textarea, select, [contenteditable]")) return;
    const key = event.key.toLowerCase();
    const button = [...document.querySelectorAll("#review [data-key]")].find((candidate) => candidate.dataset.key.split(" ").includes(key));
    if (!button) return;
    event.preventDefault();
    if (!busy) button.click();
  });

  document.addEventListener("htmx:beforeRequest", (event) => {
    if (busy) event.preventDefault();
    else busy = true;
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    busy = false;
    lost(!event.detail.successful);
  });
}
