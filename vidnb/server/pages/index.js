// @ts-check
/** The page for a folder: thumbnails that are made near the viewport, a filter and arrow keys. */

import { make } from "../../widgets/js/elements.js";
import { shortTime } from "../../widgets/js/messages.js";

const CONCURRENT_LOADS = 3; // of the six connections that a browser opens to a server
const EVENT_TIMEOUT_MS = 15000;
const THUMBNAIL_WIDTH = 640; // in its own pixels

/** @type {HTMLElement[]} */
const cards = [...document.querySelectorAll("main .card")].map((card) => /** @type {HTMLElement} */ (card));
const find = (/** @type {Element} */ root, /** @type {string} */ selector) =>
  /** @type {HTMLElement} */ (root.querySelector(selector));
/** @type {Set<HTMLElement>} */
const queue = new Set(); // cards near the viewport without a thumbnail
let loads = 0;

/** Wait for an event of a video. @returns {Promise<void>} */
function nextEvent(/** @type {HTMLVideoElement} */ video, /** @type {string} */ name) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(reject, EVENT_TIMEOUT_MS);
    const settle = (/** @type {() => void} */ done) => () => { clearTimeout(timer); done(); };
    video.addEventListener(name, settle(resolve), { once: true });
    video.addEventListener("error", settle(reject), { once: true });
  });
}

/** Show the duration and a frame of the video, and release its connection in any case. */
async function showThumbnail(/** @type {HTMLElement} */ card) {
  const thumbnail = find(card, ".thumbnail");
  const video = document.createElement("video");
  video.muted = true;
  video.preload = "metadata";
  try {
    const loaded = nextEvent(video, "loadedmetadata");
    video.src = String(card.dataset.source);
    await loaded;
    if (Number.isFinite(video.duration)) thumbnail.append(make("span", "duration", shortTime(video.duration)));
    if (!video.videoWidth) return; // sound alone
    // Not the first frame, which is often black.
    const seeked = nextEvent(video, "seeked");
    video.currentTime = Math.min(10, (video.duration || 0) / 10);
    await seeked;
    const canvas = document.createElement("canvas");
    canvas.width = Math.min(THUMBNAIL_WIDTH, video.videoWidth);
    canvas.height = Math.round((canvas.width * video.videoHeight) / video.videoWidth);
    canvas.getContext("2d")?.drawImage(video, 0, 0, canvas.width, canvas.height);
    thumbnail.prepend(canvas);
  } catch {
    // A file that this browser cannot decode keeps the name of its format.
  } finally {
    video.removeAttribute("src");
    video.load();
    card.dataset.loaded = "";
  }
}

function loadNext() {
  for (const card of queue) {
    if (loads === CONCURRENT_LOADS) return;
    queue.delete(card);
    observer.unobserve(card);
    loads += 1;
    showThumbnail(card).finally(() => { loads -= 1; loadNext(); });
  }
}

const observer = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    const card = /** @type {HTMLElement} */ (target);
    if (isIntersecting) queue.add(card); else queue.delete(card);
  }
  loadNext();
}, { rootMargin: "200px" });
cards.forEach((card) => observer.observe(card));

const filter = /** @type {HTMLInputElement} */ (find(document.body, "input"));
filter.hidden = cards.length < 8;
filter.addEventListener("input", () => {
  const words = filter.value.toLowerCase().split(/\s+/);
  for (const card of cards) {
    const name = find(card, ".name").textContent?.toLowerCase() ?? "";
    /** @type {HTMLElement} */ (card.parentElement).hidden = !words.every((word) => name.includes(word));
  }
  for (const section of document.querySelectorAll("section")) {
    section.hidden = !section.querySelector("li:not([hidden])");
  }
});

/** The card to which an arrow key leads: in a row the next one, between rows the nearest one. */
function neighbour(/** @type {HTMLElement} */ card, /** @type {string} */ key) {
  const shown = cards.filter((each) => each.offsetParent);
  const place = shown.indexOf(card);
  if (key === "ArrowLeft") return shown[place - 1];
  if (key === "ArrowRight") return shown[place + 1];
  const middle = (/** @type {DOMRect} */ box) => box.left + box.width / 2;
  const from = card.getBoundingClientRect();
  const isBeyond = (/** @type {DOMRect} */ box) => (key === "ArrowDown" ? box.top > from.top + 1 : box.top < from.top - 1);
  const [nearest] = shown
    .map((each) => ({ each, box: each.getBoundingClientRect() }))
    .filter(({ box }) => isBeyond(box))
    .map(({ each, box }) => ({
      each, down: Math.abs(box.top - from.top), across: Math.abs(middle(box) - middle(from)),
    }))
    .sort((a, b) => a.down - b.down || a.across - b.across);
  return nearest?.each;
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const target = /** @type {HTMLElement} */ (event.target);
  if (event.key === "/" && target !== filter && !filter.hidden) {
    event.preventDefault();
    filter.focus();
    return;
  }
  if (!/^Arrow(Left|Right|Up|Down)$/.test(event.key)) return;
  let next;
  if (target.matches(".card")) next = neighbour(target, event.key);
  else if (event.key === "ArrowDown" || (target === document.body && event.key === "ArrowRight")) {
    next = cards.find((each) => each.offsetParent);
  }
  if (!next) return;
  event.preventDefault();
  next.focus();
});
