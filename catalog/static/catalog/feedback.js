// What scripts add to the answers: which items were opened, and a sentence when a thumb could not be kept.
// Without this file the thumbs still work.
"use strict";

{
  const NOT_KEPT = "That could not be kept. Please check your connection and try again.";
  const problem = () => document.getElementById("feedback-problem");
  const isOurs = (event) => event.target.closest(".thumbs, .consent") !== null && problem() !== null;

  // The link itself stays what it is. The form of the thumbs knows the address to tell, and its secret.
  const tell = (event) => {
    const link = event.target.closest("a[data-opens]");
    const form = link && document.getElementById(link.dataset.opens);
    if (!form || event.button > 1) return;
    const told = new FormData(form);
    told.set("clicked", "1");
    navigator.sendBeacon(form.action, told);
  };
  document.addEventListener("click", tell);
  document.addEventListener("auxclick", tell); // the middle button

  document.addEventListener("htmx:beforeRequest", (event) => {
    if (isOurs(event)) problem().textContent = "";
  });
  for (const name of ["htmx:responseError", "htmx:sendError"]) {
    document.addEventListener(name, (event) => {
      if (isOurs(event)) problem().textContent = NOT_KEPT;
    });
  }
}
