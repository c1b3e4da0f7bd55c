// @ts-check
/**
 * The rest of a video that nobody watches: it keeps its picture and all that it said, and lets go of
 * its connection, so that fifty players in a notebook hold few. It comes back, where it was, when it
 * is seen again, pointed at, played, or sent somewhere.
 *
 * @typedef {{
 *   shown: boolean, busy: boolean, pinned: boolean, attended: boolean, seen: boolean,
 *   unseen_ms: number, still_ms: number,
 * }} Look `shown` is whether there is a picture to keep, `busy` whether it plays or is on its way,
 *   `pinned` whether it fills the screen or a window of its own, `attended` whether the pointer or
 *   the focus is on it; how long it has been out of view, and has stood still (ms)
 * @typedef {{ unseen_ms: number, still_ms: number }} Limits
 * @typedef {{
 *   currentTime: number, duration: number, ended: boolean, sought: boolean, waking: boolean,
 *   size: [number, number] | null, buffered: [number, number][], frame: number | null, mean: number,
 * }} Memory what it was when it lay down; `sought` is whether somebody has sent it elsewhere since
 * @typedef {{
 *   video: HTMLVideoElement, root: HTMLElement, wantTime: number, wantPlaying: boolean,
 *   error: string | null, ends: AbortController,
 *   deck: import("./player_deck.js").Deck, journey: import("./player_journey.js").Journey,
 *   mayRest(): boolean, meet(): void, start(): void, buffered(): [number, number][],
 * }} Sleeper
 */

import { make } from "./player_elements.js";

const LIMITS = Symbol.for("vidnb.rest"); // a page's own limits
const DEFAULTS = { unseen_ms: 5_000, still_ms: 60_000 };
const AGAIN_MS = 5_000; // where the browser gave no picture to keep
const PAINTED_MS = 500; // a page that is hidden paints no frame

/** How long until it may rest (ms): 0 now, Infinity not as it is. */
export function restsIn(/** @type {Look} */ look, /** @type {Limits} */ limits) {
  if (!look.shown || look.busy || look.pinned) return Infinity;
  const still = limits.still_ms - look.still_ms;
  if (look.seen) return look.attended ? Infinity : Math.max(0, still);
  // It stands still for as long as it is to be out of view: a pause of the page's own is no rest.
  const unseen = limits.unseen_ms - Math.min(look.unseen_ms, look.still_ms);
  return Math.max(0, Math.min(unseen, look.attended ? Infinity : still));
}

/** Whether what the browser tells is news, of a video that rests or comes back as it was. */
export function isNews(/** @type {string} */ event, /** @type {Memory | null} */ memory) {
  if (!memory || event === "ratechange" || event === "volumechange") return true;
  if (!memory.waking) return false;
  if (event === "seeking" || event === "seeked") return memory.sought;
  return ["play", "playing", "pause", "waiting"].includes(event);
}

/** The picture of a video, as large as it is shown; null where the browser gives none. */
function pictureKept(/** @type {HTMLVideoElement} */ video, /** @type {boolean} */ mark) {
  const { videoWidth, videoHeight } = video;
  const wide = Math.min(videoWidth, Math.ceil((video.clientWidth || videoWidth) * (globalThis.devicePixelRatio || 1)));
  const canvas = make("canvas", "vidnb-video vidnb-still");
  canvas.width = Math.max(1, wide);
  canvas.height = Math.max(1, Math.round((wide * videoHeight) / videoWidth));
  const context = canvas.getContext?.("2d");
  if (!context) return null;
  context.drawImage(video, 0, 0, canvas.width, canvas.height);
  try {
    // A browser that has put the video aside itself may draw nothing.
    if (context.getImageData(canvas.width >> 1, canvas.height >> 1, 1, 1).data[3] === 0) return null;
  } catch {
    // It may be shown, and not be read.
  }
  if (mark) drawPlay(context, canvas.width, canvas.height);
  return canvas;
}

/** The sign that it can be played, where the browser's own buttons are away. */
function drawPlay(/** @type {CanvasRenderingContext2D} */ context, /** @type {number} */ wide, /** @type {number} */ high) {
  const size = Math.min(wide, high) / 9;
  const [x, y] = [wide / 2, high / 2];
  context.fillStyle = "rgb(0 0 0 / 55%)";
  context.beginPath();
  context.arc(x, y, size, 0, 7);
  context.fill();
  context.fillStyle = "#fff";
  context.beginPath();
  context.moveTo(x - 0.32 * size, y - 0.5 * size);
  context.lineTo(x + 0.54 * size, y);
  context.lineTo(x - 0.32 * size, y + 0.5 * size);
  context.fill();
}

export class Rest {
  constructor(/** @type {Sleeper} */ view) {
    this.view = view;
    /** @type {Memory | null} */
    this.memory = null;
    /** @type {HTMLCanvasElement | null} */
    this.still = null;
    this.controls = true;
    this.seen = true; // until the browser says otherwise
    this.over = false;
    this.seenMs = performance.now(); // when that has changed
    this.movedMs = performance.now(); // when it did something last
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    this.loads = false; // data come that were there before
    /** @type {(() => void)[]} */
    this.waiting = [];
    /** @type {Limits} */
    this.limits = { ...DEFAULTS, .../** @type {any} */ (globalThis)[LIMITS] };
  }

  listen() {
    const { root, video, ends } = this.view;
    const { signal } = ends;
    const on = (/** @type {EventTarget} */ target, /** @type {string[]} */ events, /** @type {() => void} */ act) => {
      for (const event of events) target.addEventListener(event, act, { signal });
    };
    on(video, ["pause", "seeked", "loadeddata", "playing", "ended", "ratechange"], () => this.moved());
    on(video, ["leavepictureinpicture"], () => this.moved());
    on(root, ["fullscreenchange", "focusout"], () => this.moved());
    on(root, ["pointerenter"], () => { this.over = true; });
    on(root, ["pointerleave"], () => {
      this.over = false;
      this.moved();
    });
    on(root, ["pointerenter", "pointerdown", "focusin"], () => this.wake());
    if (globalThis.IntersectionObserver) {
      const observer = new IntersectionObserver((entries) => this.look(entries.at(-1)?.isIntersecting ?? true));
      observer.observe(root);
      signal.addEventListener("abort", () => observer.disconnect());
    }
    signal.addEventListener("abort", () => clearTimeout(this.timer));
  }

  look(/** @type {boolean} */ seen) {
    if (seen !== this.seen) this.seenMs = performance.now();
    this.seen = seen;
    if (seen) this.wake();
    this.plan();
  }

  /** Something happened to it: from here on it stands still, if it does. */
  moved() {
    this.movedMs = performance.now();
    this.plan();
  }

  /** Whether the video rests, or its picture is not back yet. */
  get away() {
    return this.memory !== null;
  }

  /** Looks again at the time when it may rest. */
  plan() {
    clearTimeout(this.timer);
    if (this.memory || !this.view.mayRest() || this.view.ends.signal.aborted) return;
    const wait = restsIn(this.state(), this.limits);
    if (wait === 0) this.lie();
    else if (wait < Infinity) this.timer = setTimeout(() => this.plan(), wait + 20);
  }

  /** @returns {Look} */
  state() {
    const { video, root, wantPlaying, error } = this.view;
    const now = performance.now();
    return {
      shown: video.readyState >= 2 && video.videoWidth > 0 && error === null,
      busy: !video.paused || video.seeking || wantPlaying,
      pinned: document.pictureInPictureElement === video || document.fullscreenElement === root,
      attended: this.over || (document.activeElement ? root.contains(document.activeElement) : false),
      seen: this.seen,
      unseen_ms: this.seen ? 0 : now - this.seenMs,
      still_ms: now - this.movedMs,
    };
  }

  /** Whether what the video tells is news; takes note of its return. */
  hears(/** @type {string} */ event) {
    const isNew = isNews(event, this.memory) && !(event === "loadeddata" && this.loads);
    if (event === "loadeddata") this.loads = false;
    if (event === "seeked" || event === "loadeddata") this.back();
    return isNew;
  }

  /** Lets the connection go, behind the picture. */
  lie() {
    const { view } = this;
    if (this.keep(this.seen)) view.journey.release();
    else this.timer = setTimeout(() => this.plan(), AGAIN_MS);
  }

  /** Keeps the picture and what the video says, whatever becomes of it. @returns {boolean} whether that worked */
  keep(/** @type {boolean} */ mark) {
    const { video, deck, root } = this.view;
    if (this.memory) return true;
    const still = pictureKept(video, mark);
    if (!still) return false;
    const { frame, mean } = deck.stepper.clock;
    this.memory = {
      currentTime: video.currentTime, duration: video.duration, ended: video.ended, sought: false, waking: false,
      size: [video.videoWidth, video.videoHeight], buffered: this.view.buffered(), frame, mean,
    };
    this.still?.remove();
    this.still = still;
    still.setAttribute("aria-hidden", "true");
    still.addEventListener("click", () => this.view.start());
    const shape = `${video.videoWidth} / ${video.videoHeight}`;
    still.style.aspectRatio = shape;
    video.style.aspectRatio = shape;
    this.controls = video.controls;
    video.controls = false; // without a source they would say that there is nothing
    video.defaultPlaybackRate = video.playbackRate; // a load sets the rate to that one
    root.append(still);
    return true;
  }

  /** Comes back, at the position where it was or is wanted. */
  wake() {
    const { memory, view } = this;
    if (!memory || memory.waking || view.error !== null) return;
    memory.waking = true;
    view.meet();
    view.wantTime = memory.currentTime;
    this.loads = true;
    view.journey.load();
  }

  /** Is sent somewhere while it is away (s). */
  seek(/** @type {number} */ seconds) {
    const { memory } = this;
    if (!memory) return;
    memory.currentTime = Number.isFinite(memory.duration) ? Math.min(seconds, memory.duration) : seconds;
    Object.assign(memory, { sought: true, ended: false });
    this.view.wantTime = memory.currentTime;
    this.wake();
  }

  /** The metadata of a video that comes back are there. */
  arrived() {
    const { memory, view } = this;
    if (!memory) return;
    view.video.currentTime = memory.currentTime;
    Object.assign(view.deck.stepper.clock, { frame: memory.frame, mean: memory.mean });
  }

  /** Its picture is there again: what it says counts from here on. */
  back() {
    const { memory, still, view } = this;
    const { video } = view;
    if (!memory?.waking || video.seeking || video.readyState < 2) return;
    this.memory = null;
    this.moved();
    for (const tell of this.waiting.splice(0)) tell();
    if (!still) return;
    video.controls = this.controls;
    const uncover = () => {
      clearTimeout(timer);
      still.remove();
      if (this.still === still && !this.memory) {
        this.still = null;
        video.style.aspectRatio = "";
      }
    };
    const timer = setTimeout(uncover, PAINTED_MS);
    video.requestVideoFrameCallback?.(() => requestAnimationFrame(uncover));
  }

  /** It cannot come back: there is its picture, and a sentence. */
  failed() {
    if (this.memory) this.memory.waking = false;
    for (const tell of this.waiting.splice(0)) tell();
  }

  /** Waits until it is there, or cannot come. @returns {Promise<void>} */
  awake() {
    if (!this.memory || this.view.error !== null) return Promise.resolve();
    this.wake();
    return new Promise((resolve) => { this.waiting.push(resolve); });
  }
}

/** The video as the timeline and the keys see it: also while it rests. */
export class Moment {
  constructor(/** @type {HTMLVideoElement} */ video, /** @type {{ memory: Memory | null }} */ rest) {
    this.video = video;
    this.rest = rest;
  }

  get currentTime() {
    return this.rest.memory?.currentTime ?? this.video.currentTime;
  }

  get duration() {
    return this.rest.memory?.duration ?? this.video.duration;
  }

  get buffered() {
    const spans = this.rest.memory?.buffered;
    if (!spans) return this.video.buffered;
    return {
      length: spans.length,
      start: (/** @type {number} */ index) => spans[index][0],
      end: (/** @type {number} */ index) => spans[index][1],
    };
  }

  /** Whether there is a time at all. */
  get known() {
    return this.rest.memory !== null || this.video.readyState > 0;
  }

  /**
   * @param {string} name
   * @param {() => void} listener
   * @param {AddEventListenerOptions} options
   */
  addEventListener(name, listener, options) {
    this.video.addEventListener(name, listener, options);
  }
}
