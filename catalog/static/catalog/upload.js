// Upload form: drag and drop, preview, progress bar. Without this file the form still works.
// Listeners are on the document, so they also serve elements that htmx inserts later.
"use strict";

const LOST = "The photo could not be sent. Please check your connection and try again.";
const byId = (id) => document.getElementById(id);

function showRefusal(sentence) {
  const place = byId("refusal");
  if (place) place.textContent = sentence;
}

function enableDrop() {
  const field = byId("drop");
  if (!field || field.classList.contains("scripted")) return;
  field.classList.add("scripted");
  field.querySelectorAll(".with-scripts").forEach((part) => { part.hidden = false; });
}

function showPreview(file) {
  const form = byId("upload"), preview = byId("preview"), hanger = form.querySelector(".hanger");
  URL.revokeObjectURL(preview.src);
  preview.hidden = true;
  hanger.toggleAttribute("hidden", false);
  byId("photo-label").textContent = file ? file.name : "Choose a photo";
  const large = file && file.size > Number(form.dataset.maxBytes);
  showRefusal(large ? `The picture is larger than ${form.dataset.maxMb} MB, the maximum size.` : "");
  form.querySelector("button").disabled = Boolean(large);
  if (!file) return;
  // Some browsers cannot show HEIC, which they can send: then only the file name is shown.
  preview.onload = () => { preview.hidden = false; hanger.toggleAttribute("hidden", true); };
  preview.src = URL.createObjectURL(file);
}

document.addEventListener("change", (event) => {
  if (event.target.id === "photo") showPreview(event.target.files[0]);
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
    showPreview(input.files[0]);
    byId("upload").querySelector("button").focus();
  });
}

document.addEventListener("htmx:beforeRequest", (event) => {
  if (event.target.id === "upload") showRefusal("");
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
  // The site's own errors name their target element; any other (a proxy, a crash) gets a sentence from here.
  const isOurs = xhr.getResponseHeader("HX-Retarget") !== null;
  event.detail.shouldSwap = isOurs;
  event.detail.isError = !isOurs;
  if (!isOurs) showRefusal(LOST);
});

document.addEventListener("htmx:sendError", () => showRefusal(LOST));

document.addEventListener("htmx:afterRequest", (event) => {
  const bar = byId("sent");
  if (event.target.id === "upload" && bar) bar.hidden = true;
});

// Announce a new part of the page to screen readers, and move the focus to its heading.
document.addEventListener("htmx:afterSwap", (event) => {
  enableDrop();
  const heading = event.target.querySelector("[data-announce]");
  if (!heading) return;
  byId("announce").textContent = heading.dataset.announce;
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
});

document.addEventListener("DOMContentLoaded", enableDrop);
