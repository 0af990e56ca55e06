// What scripts add to the upload form: drop, preview, progress. Without this file everything still works.
// Listeners sit on the document, so they hold for whatever htmx puts into the page.
"use strict";

const LOST = "The photo could not be sent. Please check your connection and try again.";
const byId = (id) => document.getElementById(id);

function refuse(sentence) {
  const place = byId("refusal");
  if (place) place.textContent = sentence;
}

function dress() {
  const field = byId("drop");
  if (!field || field.classList.contains("scripted")) return;
  field.classList.add("scripted");
  field.querySelectorAll(".with-scripts").forEach((part) => { part.hidden = false; });
}

function show(file) {
  const form = byId("upload"), preview = byId("preview"), hanger = form.querySelector(".hanger");
  URL.revokeObjectURL(preview.src);
  preview.hidden = true;
  hanger.toggleAttribute("hidden", false);
  byId("photo-label").textContent = file ? file.name : "Choose a photo";
  const large = file && file.size > Number(form.dataset.maxBytes);
  refuse(large ? `The picture is larger than ${form.dataset.maxMb} MB, the most we take.` : "");
  form.querySelector("button").disabled = Boolean(large);
  if (!file) return;
  // Some browsers cannot show what they can send (HEIC): then the file's name has to do.
  preview.onload = () => { preview.hidden = false; hanger.toggleAttribute("hidden", true); };
  preview.src = URL.createObjectURL(file);
}

document.addEventListener("change", (event) => {
  if (event.target.id === "photo") show(event.target.files[0]);
});

for (const [name, over] of [["dragenter", true], ["dragover", true], ["dragleave", false], ["drop", false]]) {
  document.addEventListener(name, (event) => {
    const field = byId("drop");
    if (!field) return;
    event.preventDefault(); // a photo dropped beside the field must not replace the page
    field.classList.toggle("over", over);
    if (name !== "drop" || !event.dataTransfer.files.length) return;
    const input = byId("photo");
    input.files = event.dataTransfer.files;
    show(input.files[0]);
    byId("upload").querySelector("button").focus();
  });
}

document.addEventListener("htmx:beforeRequest", (event) => {
  if (event.target.id === "upload") refuse("");
});

document.addEventListener("htmx:xhr:progress", (event) => {
  const bar = byId("sent");
  if (!bar || !event.detail.lengthComputable) return;
  bar.hidden = false;
  bar.value = (100 * event.detail.loaded) / event.detail.total;
});

document.addEventListener("htmx:beforeSwap", (event) => {
  const { xhr } = event.detail;
  if (xhr.status < 400) return;
  // Ours say where their sentence belongs; anything else (a proxy, a crash) gets a sentence from here.
  const meant = xhr.getResponseHeader("HX-Retarget") !== null;
  event.detail.shouldSwap = meant;
  event.detail.isError = !meant;
  if (!meant) refuse(LOST);
});

document.addEventListener("htmx:sendError", () => refuse(LOST));

document.addEventListener("htmx:afterRequest", (event) => {
  const bar = byId("sent");
  if (event.target.id === "upload" && bar) bar.hidden = true;
});

// A new part of the page is announced, and read from its heading on.
document.addEventListener("htmx:afterSwap", (event) => {
  dress();
  const heading = event.target.querySelector("[data-announce]");
  if (!heading) return;
  byId("announce").textContent = heading.dataset.announce;
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
});

document.addEventListener("DOMContentLoaded", dress);
