// Keys, the heatmap's slider, live changes, drop and paste, camera, the threshold's handles.
"use strict";

const formKey = () => document.body.dataset.formKey;
const one = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

function say(text) {
  const alert = one("#alert");
  if (!alert) return;
  alert.textContent = text;
  alert.hidden = !text;
}

async function reasonOf(answer) {
  try {
    const said = await answer.json();
    const a = { good: "good", look: "one to look at", defect: "a defect" }[said.unrecorded?.verdict];
    return a ? `${said.detail}. Judged ${a}, which is in no record` : said.detail;
  } catch {
    return `the station answered ${answer.status}`;
  }
}

// ---- keys: whatever says which key it has is pressed by it

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input:not([type=range]), select, textarea");
  if (typing && event.key === "Enter" && typing.closest(".judge")) event.preventDefault();
  if (typing && event.key === "Escape") typing.blur();
  if (typing || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.target.matches("input[type=range]") && event.key.startsWith("Arrow")) return;
  if (event.key === " " && event.target.closest("button, a, summary")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const scope = one(".card.current") ?? document;
  const found = one(`[data-key="${CSS.escape(key)}"]`, scope) ?? one(`[data-key="${CSS.escape(key)}"]`);
  if (found) {
    event.preventDefault();
    found.click();
  } else if (key === "j" || key === "k") {
    step(key === "j" ? 1 : -1);
  }
});

function step(by) {
  const cards = all(".card[id]");
  const at = cards.findIndex((card) => card.classList.contains("current"));
  const next = cards[Math.min(cards.length - 1, Math.max(0, at + by))];
  if (!next) return;
  cards.forEach((card) => card.classList.toggle("current", card === next));
  next.scrollIntoView({ block: "nearest" });
}

// ---- the heatmap's slider: one value for all pages of this browser

function showOpacity() {
  const value = localStorage.getItem("heat") ?? "1";
  document.documentElement.style.setProperty("--heat", value);
  all("[data-opacity]").forEach((slider) => (slider.value = value));
}

document.addEventListener("input", (event) => {
  if (!event.target.matches("[data-opacity]")) return;
  localStorage.setItem("heat", event.target.value);
  showOpacity();
});

document.addEventListener("change", (event) => {
  const form = event.target.closest("[data-submit-on-change]");
  if (form) form.requestSubmit();
});

// ---- live changes: only the page that is seen keeps a connection

const GONE = "the station does not answer";
let events = null;
function light(text, works) {
  if (works && one("#alert")?.textContent === GONE) say("");
  const found = one("[data-live]");
  if (!found) return;
  found.textContent = text;
  found.classList.toggle("on", works);
}

function listen() {
  if (document.hidden || events || !one("[data-live]")) return;
  events = new EventSource("/events");
  events.onopen = () => light("live", true);
  events.onmessage = (event) => {
    if (event.data === document.body.dataset.state) return;
    document.body.dataset.state = event.data;
    htmx.trigger(document.body, "changed");
  };
  events.onerror = () => light("no connection, trying again", false);
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden || !events) return listen();
  events.close();
  events = null;
});

let missed = false;
const asked = new WeakSet(); // what a click is about to replace: its answer must find it there
function held(event, target) { // a live change waits while somebody writes there, or clicked
  if (event.detail.requestConfig.triggeringEvent?.type !== "changed") return false;
  return (missed = asked.has(target) || all("input:not([type=range]), textarea, select", target).some((field) =>
    field === document.activeElement || (field.defaultValue ?? field.value) !== field.value));
}
document.addEventListener("htmx:beforeRequest", (event) =>
  held(event, event.target) ? event.preventDefault() : byHand(event.detail) && asked.add(event.detail.target));
document.addEventListener("htmx:afterRequest", ({ detail }) =>
  asked.delete(detail.target) && missed && htmx.trigger(document.body, "changed"));
document.addEventListener("focusout", () => missed && htmx.trigger(document.body, "changed"));

document.addEventListener("htmx:responseError", async ({ detail: { xhr } }) =>
  say(await reasonOf(new Response(xhr.responseText, { status: xhr.status }))));
const byHand = (detail) => ["click", "submit", "input"].includes(detail.requestConfig.triggeringEvent?.type);
document.addEventListener("htmx:afterOnLoad", ({ detail }) => detail.successful && byHand(detail) && say(""));
document.addEventListener("htmx:sendError", () => (say(GONE), light("no connection, trying again", false)));
document.addEventListener("htmx:afterSwap", showOpacity);
document.addEventListener("htmx:beforeSwap", (event) => {
  if (held(event, event.detail.target)) event.detail.shouldSwap = false;
  if (event.detail.target.matches(".card.current")) step(1);
});

// ---- pictures that are chosen, dropped, pasted or taken go one by one to where #send says

const queue = [];
let sent = 0, total = 0, working = 0;

function add(files) {
  const pictures = [...files].filter((file) => file.size > 0);
  queue.push(...pictures);
  total += pictures.length;
  showProgress();
  while (working < 3 && queue.length) work();
}

function showProgress() {
  const bar = one("#progress");
  bar.hidden = total === 0;
  Object.assign(one("progress", bar), { max: total, value: sent });
  one("output", bar).textContent = `${sent} of ${total} ${one("#send").dataset.done}`;
}

async function work() {
  working += 1;
  while (queue.length) {
    const file = queue.shift(), why = await send(file);
    if (why) failed(file, why);
    sent += 1;
    showProgress();
  }
  working -= 1;
  if (!working) htmx.trigger(document.body, "brought");
}

async function send(file) {
  const form = one("#send"), body = new FormData(form);
  body.set("files", file, file.name);
  for (;;) {
    let answer;
    try {
      answer = await fetch(form.dataset.send, {
        method: "POST", body, headers: { "X-Form-Key": formKey() },
      });
    } catch {
      return GONE;
    }
    const wait = Number(answer.headers.get("Retry-After"));
    if (answer.status === 503 && wait) {
      await new Promise((done) => setTimeout(done, 1000 * wait));
      continue;
    }
    if (!answer.ok) return reasonOf(answer);
    one("#cards").insertAdjacentHTML("afterbegin", await answer.text());
    if (one("#cards").firstElementChild) htmx.process(one("#cards").firstElementChild);
    return null;
  }
}

addEventListener("beforeunload", (event) => working && event.preventDefault()); // not sent yet

function failed(file, why) {
  const card = one("#failed").content.cloneNode(true);
  one("strong", card).textContent = file.name;
  one("span", card).textContent = why;
  one("#cards").prepend(card);
}

async function toggleCamera(button) {
  const video = one("video"), shoot = one("[data-shoot]");
  const on = video.srcObject !== null;
  if (on) {
    video.srcObject.getTracks().forEach((track) => track.stop());
    video.srcObject = null;
  } else {
    try {
      video.srcObject = await navigator.mediaDevices.getUserMedia({
        video: { width: { ideal: 4096 }, facingMode: "environment" },
      });
      await video.play();
    } catch (error) {
      return say(`the camera cannot be used: ${error.message}`);
    }
  }
  video.hidden = shoot.hidden = on;
  if (!on) shoot.focus();
  button.textContent = on ? "Use the camera" : "Camera off";
}

function shoot() {
  const video = one("video"), canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  const name = `camera-${new Date().toISOString().replace(/[:.]/g, "-")}.png`;
  canvas.toBlob((blob) => add([new File([blob], name, { type: "image/png" })]), "image/png");
}

function startSending() {
  if (!one("#drop")) return;
  one("#drop input").addEventListener("change", (event) => {
    add(event.target.files);
    event.target.value = "";
  });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    add(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => add(event.clipboardData.files));
  one("[data-camera]").addEventListener("click", (event) => toggleCamera(event.target));
  one("[data-shoot]").addEventListener("click", shoot);
}

// ---- Threshold: a handle's line follows it at once; what it means comes from the server

document.addEventListener("input", (event) => {
  const handle = event.target.closest("[data-handle]");
  if (!handle) return;
  const share = (handle.value - handle.min) / (handle.max - handle.min);
  const mark = one(`#mark-${handle.dataset.handle}`);
  mark.setAttribute("transform", `translate(${share * mark.dataset.width} 0)`);
});

showOpacity();
startSending();
one(".card[id]")?.classList.add("current");
listen();
