"use strict";
const video = document.querySelector("video");
const said = document.querySelector(".said");
let frameS = 1 / 30; // until the video has shown how far apart its frames are
let hushing = 0;

function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const shown = parts[0] ? parts : parts.slice(1);
  return shown.map((part, place) => String(part).padStart(place ? 2 : 1, "0")).join(":");
}

function say(text) {
  said.textContent = text;
  said.classList.add("new");
  clearTimeout(hushing);
  hushing = setTimeout(() => said.classList.remove("new"), 700);
}

function seek(seconds, text) {
  const end = Number.isFinite(video.duration) ? video.duration : Infinity;
  video.currentTime = Math.min(Math.max(0, seconds), end);
  say(text || clock(video.currentTime));
}

function toggle() {
  // Refused where the browser cannot play it, of which the error tells.
  if (video.paused) video.play().catch(() => {}); else video.pause();
}

function step(frames) {
  video.pause();
  // Half a frame beyond its beginning, so that rounding never shows the one before.
  const at = Math.floor(video.currentTime / frameS + 0.01) + frames + 0.5;
  seek(at * frameS, `one frame ${frames > 0 ? "forward" : "back"}`);
}

function louder(by) {
  video.muted = false;
  video.volume = Math.min(1, Math.max(0, Math.round((video.volume + by) * 20) / 20));
  say(`volume ${Math.round(100 * video.volume)} %`);
}

function mute() {
  video.muted = !video.muted;
  say(video.muted ? "sound off" : "sound on");
}

function fullScreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else if (video.requestFullscreen) video.requestFullscreen().catch(() => {});
  else if (video.webkitEnterFullscreen) video.webkitEnterFullscreen();
}

const KEYS = {
  " ": toggle,
  k: toggle,
  ArrowLeft: () => seek(video.currentTime - 5),
  ArrowRight: () => seek(video.currentTime + 5),
  j: () => seek(video.currentTime - 10),
  l: () => seek(video.currentTime + 10),
  ",": () => step(-1),
  ".": () => step(1),
  ArrowUp: () => louder(0.05),
  ArrowDown: () => louder(-0.05),
  m: mute,
  f: fullScreen,
  Home: () => seek(0),
  End: () => seek(video.duration),
};
for (let tenth = 0; tenth < 10; tenth += 1) {
  KEYS[tenth] = () => { if (video.duration) seek((video.duration * tenth) / 10); };
}

// Before the browser's own keys for a video, so that none acts twice.
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  // A button has its own use for Space, also one of the browser's inside the video, which cannot
  // be told from the video itself.
  if (event.key === " " && event.target.closest("a, summary, video")) return;
  const act = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!act) return;
  event.preventDefault();
  event.stopPropagation();
  act();
}, { capture: true });

video.addEventListener("loadedmetadata", () => {
  const { duration, videoWidth, videoHeight } = video;
  document.getElementById("length").textContent = Number.isFinite(duration) ? clock(duration) : "";
  document.getElementById("picture").textContent = videoWidth ? `${videoWidth} × ${videoHeight}` : "";
});

if ("requestVideoFrameCallback" in video) {
  let last = null;
  const onFrame = (_, frame) => {
    // Two frames shown one after the other, with no seek and none dropped in between.
    if (last && frame.presentedFrames === last.presentedFrames + 1 && !video.paused) {
      const apartS = frame.mediaTime - last.mediaTime;
      if (apartS > 0.002 && apartS < 0.2) frameS = apartS;
    }
    last = frame;
    video.requestVideoFrameCallback(onFrame);
  };
  video.requestVideoFrameCallback(onFrame);
}

video.addEventListener("error", () => {
  const code = video.error ? video.error.code : 0;
  document.querySelector(".trouble").textContent = {
    2: "The connection broke: load this page again, and it goes on.",
    3: "This browser cannot decode the file from here on: it may be damaged or end early.",
    4: "This browser cannot play the file: it is gone, it is no video, or there is no decoder for it."
      + " H.264 in MP4 and VP9 in WebM play in every browser.",
  }[code] || "";
});
