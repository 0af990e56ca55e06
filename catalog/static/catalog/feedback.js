// Feedback on matches: reports opened items, and shows an error when a verdict could not be saved.
// Without this file the thumbs still work.
"use strict";

{
  const NOT_SAVED = "That could not be saved. Please check your connection and try again.";
  const problem = () => document.getElementById("feedback-problem");
  const isOurs = (event) => event.target.closest(".thumbs, .consent") !== null && problem() !== null;

  // The link opens as usual. The form of the thumbs has the URL and the CSRF token.
  const reportOpened = (event) => {
    const link = event.target.closest("a[data-opens]");
    const form = link && document.getElementById(link.dataset.opens);
    if (!form || event.button > 1) return;
    const data = new FormData(form);
    data.set("clicked", "1");
    navigator.sendBeacon(form.action, data);
  };
  document.addEventListener("click", reportOpened);
  document.addEventListener("auxclick", reportOpened); // the middle button

  document.addEventListener("htmx:beforeRequest", (event) => {
    if (isOurs(event)) problem().textContent = "";
  });
  for (const name of ["htmx:responseError", "htmx:sendError"]) {
    document.addEventListener(name, (event) => {
      if (isOurs(event)) problem().textContent = NOT_SAVED;
    });
  }
}
