"use strict";
const AT_ONCE = 3; // of the six connections that a browser has for a server
const PATIENCE_MS = 15000;
const WIDTH = 640; // of a poster, in its own pixels
const cards = [...document.querySelectorAll(".card")];
const wanted = new Set(); // near the screen, and not looked at yet
let busy = 0;

function clock(seconds) {
  const whole = Math.round(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const shown = parts[0] ? parts : parts.slice(1);
  return shown.map((part, place) => String(part).padStart(place ? 2 : 1, "0")).join(":");
}

function happens(video, name) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(reject, PATIENCE_MS);
    const settle = (how) => () => { clearTimeout(timer); how(); };
    video.addEventListener(name, settle(resolve), { once: true });
    video.addEventListener("error", settle(reject), { once: true });
  });
}

/** Show a frame from within the video, and let go of its connection whatever happens. */
async function show(card) {
  const picture = card.querySelector(".picture");
  const video = document.createElement("video");
  video.muted = true;
  video.preload = "metadata";
  try {
    const known = happens(video, "loadedmetadata");
    video.src = card.dataset.source;
    await known;
    if (Number.isFinite(video.duration)) {
      const length = document.createElement("span");
      length.className = "length";
      length.textContent = clock(video.duration);
      picture.append(length);
    }
    if (!video.videoWidth) return; // sound alone
    // Not the first frame, which is often black.
    const seeked = happens(video, "seeked");
    video.currentTime = Math.min(10, (video.duration || 0) / 10);
    await seeked;
    const canvas = document.createElement("canvas");
    canvas.width = Math.min(WIDTH, video.videoWidth);
    canvas.height = Math.round((canvas.width * video.videoHeight) / video.videoWidth);
    canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
    picture.prepend(canvas);
  } catch {
    // What this browser cannot show keeps the name of its format.
  } finally {
    video.removeAttribute("src");
    video.load();
    card.dataset.looked = "";
  }
}

function next() {
  for (const card of wanted) {
    if (busy === AT_ONCE) return;
    wanted.delete(card);
    near.unobserve(card);
    busy += 1;
    show(card).finally(() => { busy -= 1; next(); });
  }
}

const near = new IntersectionObserver((changes) => {
  for (const { target, isIntersecting } of changes) {
    if (isIntersecting) wanted.add(target); else wanted.delete(target);
  }
  next();
}, { rootMargin: "200px" });
cards.forEach((card) => near.observe(card));

const filter = document.querySelector("input");
filter.hidden = cards.length < 8;
filter.addEventListener("input", () => {
  const words = filter.value.toLowerCase().split(/\s+/);
  for (const card of cards) {
    const name = card.querySelector(".name").textContent.toLowerCase();
    card.parentElement.hidden = !words.every((word) => name.includes(word));
  }
  for (const section of document.querySelectorAll("section")) {
    section.hidden = !section.querySelector("li:not([hidden])");
  }
});

/** The card that an arrow leads to: in a row the next one, between rows the nearest one. */
function towards(card, key) {
  const shown = cards.filter((each) => each.offsetParent);
  const place = shown.indexOf(card);
  if (key === "ArrowLeft") return shown[place - 1];
  if (key === "ArrowRight") return shown[place + 1];
  const middle = (box) => box.left + box.width / 2;
  const here = card.getBoundingClientRect();
  const down = key === "ArrowDown";
  const rows = shown
    .map((each) => ({ each, box: each.getBoundingClientRect() }))
    .filter(({ box }) => (down ? box.top > here.top + 1 : box.top < here.top - 1))
    .map(({ each, box }) => ({
      each, rows: Math.abs(box.top - here.top), aside: Math.abs(middle(box) - middle(here)),
    }))
    .sort((a, b) => a.rows - b.rows || a.aside - b.aside);
  return rows.length ? rows[0].each : undefined;
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key === "/" && event.target !== filter && !filter.hidden) {
    event.preventDefault();
    filter.focus();
    return;
  }
  if (!/^Arrow(Left|Right|Up|Down)$/.test(event.key)) return;
  let goal;
  if (event.target.matches(".card")) goal = towards(event.target, event.key);
  else if (event.key === "ArrowDown" || event.target === document.body) {
    goal = event.key === "ArrowDown" || event.key === "ArrowRight"
      ? cards.find((each) => each.offsetParent) : undefined;
  }
  if (!goal) return;
  event.preventDefault();
  goal.focus();
});
