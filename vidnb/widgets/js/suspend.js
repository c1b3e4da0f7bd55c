// @ts-check
/**
 * Suspends a video that is not watched: it keeps showing its last frame and reporting its last state,
 * and releases its connection, so that fifty players in a notebook hold few. It is resumed, at its
 * position, when it is visible again, pointed at, played or sought.
 *
 * @typedef {{
 *   hasFrame: boolean, isBusy: boolean, isPinned: boolean, isAttended: boolean, isVisible: boolean,
 *   hidden_ms: number, idle_ms: number,
 * }} Activity `isBusy`: it plays or seeks; `isPinned`: it is in full screen or in a window of its own;
 *   `isAttended`: the pointer or the focus is on it; how long it has been out of view and idle (ms)
 * @typedef {{ hidden_ms: number, idle_ms: number }} Limits
 * @typedef {import("./playhead.js").SavedPosition & {
 *   ended: boolean, sought: boolean, isResuming: boolean, size: [number, number] | null,
 *   frame_s: number | null, samples: number,
 * }} SavedState the state of a suspended video; `sought` is whether it was sought since
 * @typedef {{
 *   video: HTMLVideoElement, root: HTMLElement, playhead: import("./playhead.js").Playhead,
 *   pendingTime: number, pendingPlay: boolean, error: string | null, signal: AbortSignal,
 *   controls: import("./controls.js").Controls, loader: import("./source_loader.js").SourceLoader,
 *   maySuspend(): boolean, syncWithLeader(): void, start(): void,
 * }} SuspendableView
 */

import { make } from "./elements.js";
import { rangeList } from "./playhead.js";

const LIMITS = Symbol.for("vidnb.suspend"); // a page may set limits of its own
const DEFAULT_LIMITS = { hidden_ms: 5_000, idle_ms: 60_000 };
const RETRY_MS = 5_000; // where the browser gave no frame to keep
const PAINT_TIMEOUT_MS = 500; // a hidden page paints no frame

/** How long until a video may be suspended (ms): 0 now, Infinity not in this state. */
export function suspendDelay(/** @type {Activity} */ activity, /** @type {Limits} */ limits) {
  const { hasFrame, isBusy, isPinned, isAttended, isVisible, hidden_ms, idle_ms } = activity;
  if (!hasFrame || isBusy || isPinned) return Infinity;
  const idle = limits.idle_ms - idle_ms;
  if (isVisible) return isAttended ? Infinity : Math.max(0, idle);
  // It must be idle for as long as it must be hidden: a short pause while scrolled away is not enough.
  const hidden = limits.hidden_ms - Math.min(hidden_ms, idle_ms);
  return Math.max(0, Math.min(hidden, isAttended ? Infinity : idle));
}

/** Whether an event of the video is reported while it is suspended or being resumed. */
export function isReported(/** @type {string} */ event, /** @type {SavedState | null} */ saved) {
  if (!saved || event === "ratechange" || event === "volumechange") return true;
  if (!saved.isResuming) return false;
  if (event === "seeking" || event === "seeked") return saved.sought;
  return ["play", "playing", "pause", "waiting"].includes(event);
}

/** Draw the current frame in the size in which it is shown; null where the browser gives none. */
function drawFrame(/** @type {HTMLVideoElement} */ video, /** @type {boolean} */ withPlayIcon) {
  const { videoWidth, videoHeight } = video;
  const width = Math.min(videoWidth, Math.ceil((video.clientWidth || videoWidth) * (globalThis.devicePixelRatio || 1)));
  const canvas = make("canvas", "vidnb-video vidnb-last-frame");
  canvas.width = Math.max(1, width);
  canvas.height = Math.max(1, Math.round((width * videoHeight) / videoWidth));
  const context = canvas.getContext?.("2d");
  if (!context) return null;
  context.drawImage(video, 0, 0, canvas.width, canvas.height);
  try {
    // A browser that has suspended the video itself may draw nothing.
    if (context.getImageData(canvas.width >> 1, canvas.height >> 1, 1, 1).data[3] === 0) return null;
  } catch {
    // A frame of another origin can be shown, but not read.
  }
  if (withPlayIcon) drawPlayIcon(context, canvas.width, canvas.height);
  return canvas;
}

/** Draw a play button, since the browser's own controls are hidden. */
function drawPlayIcon(/** @type {CanvasRenderingContext2D} */ context, /** @type {number} */ width, /** @type {number} */ height) {
  const size = Math.min(width, height) / 9;
  const [x, y] = [width / 2, height / 2];
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

export class Suspension {
  constructor(/** @type {SuspendableView} */ view) {
    this.view = view;
    /** @type {SavedState | null} */
    this.saved = null;
    /** @type {HTMLCanvasElement | null} */
    this.lastFrame = null;
    this.hadControls = true;
    this.isVisible = true; // until the browser says otherwise
    this.isPointedAt = false;
    this.visibleSinceMs = performance.now(); // when isVisible changed
    this.activeMs = performance.now(); // the time of the last activity
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    this.isReloading = false; // the next loadeddata is no event of the player
    /** @type {(() => void)[]} */
    this.waiting = [];
    /** @type {Limits} */
    this.limits = { ...DEFAULT_LIMITS, .../** @type {any} */ (globalThis)[LIMITS] };
  }

  listen() {
    const { root, video, signal } = this.view;
    const on = (/** @type {EventTarget} */ target, /** @type {string[]} */ events, /** @type {() => void} */ act) => {
      for (const event of events) target.addEventListener(event, act, { signal });
    };
    on(video, ["pause", "seeked", "loadeddata", "playing", "ended", "ratechange", "leavepictureinpicture"], () => this.noteActivity());
    on(root, ["fullscreenchange", "focusout"], () => this.noteActivity());
    on(root, ["pointerenter"], () => { this.isPointedAt = true; });
    on(root, ["pointerleave"], () => {
      this.isPointedAt = false;
      this.noteActivity();
    });
    on(root, ["pointerenter", "pointerdown", "focusin"], () => this.resume());
    if (globalThis.IntersectionObserver) {
      const observer = new IntersectionObserver((entries) => this.setVisible(entries.at(-1)?.isIntersecting ?? true));
      observer.observe(root);
      signal.addEventListener("abort", () => observer.disconnect());
    }
    signal.addEventListener("abort", () => clearTimeout(this.timer));
  }

  setVisible(/** @type {boolean} */ isVisible) {
    if (isVisible !== this.isVisible) this.visibleSinceMs = performance.now();
    this.isVisible = isVisible;
    if (isVisible) this.resume();
    this.schedule();
  }

  noteActivity() {
    this.activeMs = performance.now();
    this.schedule();
  }

  /** Whether the video is suspended, or its frame is not back yet. */
  get isSuspended() {
    return this.saved !== null;
  }

  /** Suspend now, or check again when it may be suspended. */
  schedule() {
    clearTimeout(this.timer);
    if (this.saved || !this.view.maySuspend() || this.view.signal.aborted) return;
    const delay = suspendDelay(this.activity(), this.limits);
    if (delay === 0) this.suspend();
    else if (delay < Infinity) this.timer = setTimeout(() => this.schedule(), delay + 20);
  }

  /** @returns {Activity} */
  activity() {
    const { video, root, pendingPlay, error } = this.view;
    const now = performance.now();
    return {
      hasFrame: video.readyState >= 2 && video.videoWidth > 0 && error === null,
      isBusy: !video.paused || video.seeking || pendingPlay,
      isPinned: document.pictureInPictureElement === video || document.fullscreenElement === root,
      isAttended: this.isPointedAt || (document.activeElement ? root.contains(document.activeElement) : false),
      isVisible: this.isVisible,
      hidden_ms: this.isVisible ? 0 : now - this.visibleSinceMs,
      idle_ms: now - this.activeMs,
    };
  }

  /** Whether an event of the video is to be reported; completes a resume. */
  accepts(/** @type {string} */ event) {
    const isNew = isReported(event, this.saved) && !(event === "loadeddata" && this.isReloading);
    if (event === "loadeddata") this.isReloading = false;
    if (event === "seeked" || event === "loadeddata") this.completeResume();
    return isNew;
  }

  /** Release the connection and show the last frame. */
  suspend() {
    if (this.saveState(this.isVisible)) this.view.loader.release();
    else this.timer = setTimeout(() => this.schedule(), RETRY_MS);
  }

  /** Save the state and cover the video with its last frame. @returns {boolean} whether there is a frame */
  saveState(/** @type {boolean} */ withPlayIcon) {
    const { video, controls, root, playhead } = this.view;
    if (this.saved) return true;
    const frame = drawFrame(video, withPlayIcon);
    if (!frame) return false;
    const { frame_s, samples } = controls.stepper.clock;
    this.saved = {
      currentTime: video.currentTime, duration: video.duration, ended: video.ended, sought: false, isResuming: false,
      size: [video.videoWidth, video.videoHeight], buffered: rangeList(playhead.buffered), frame_s, samples,
    };
    this.lastFrame?.remove();
    this.lastFrame = frame;
    frame.setAttribute("aria-hidden", "true");
    frame.addEventListener("click", () => this.view.start());
    const ratio = `${video.videoWidth} / ${video.videoHeight}`;
    frame.style.aspectRatio = ratio;
    video.style.aspectRatio = ratio;
    this.hadControls = video.controls;
    video.controls = false; // they would show an empty video
    video.defaultPlaybackRate = video.playbackRate; // a load resets the rate to the default one
    root.append(frame);
    return true;
  }

  /** Load the video again, at the saved position or the one sought since. */
  resume() {
    const { saved, view } = this;
    if (!saved || saved.isResuming || view.error !== null) return;
    saved.isResuming = true;
    view.syncWithLeader();
    view.pendingTime = saved.currentTime;
    this.isReloading = true;
    view.loader.load();
  }

  /** Seek while suspended (s). */
  seek(/** @type {number} */ seconds) {
    const { saved } = this;
    if (!saved) return;
    saved.currentTime = Number.isFinite(saved.duration) ? Math.min(seconds, saved.duration) : seconds;
    Object.assign(saved, { sought: true, ended: false });
    this.view.pendingTime = saved.currentTime;
    this.resume();
  }

  /** The metadata of a video that is being resumed are loaded. */
  handleMetadata() {
    const { saved, view } = this;
    if (!saved) return;
    view.video.currentTime = saved.currentTime;
    Object.assign(view.controls.stepper.clock, { frame_s: saved.frame_s, samples: saved.samples });
  }

  /** The frame is loaded: the state of the video counts from now on. */
  completeResume() {
    const { saved, lastFrame, view } = this;
    const { video } = view;
    if (!saved?.isResuming || video.seeking || video.readyState < 2) return;
    this.saved = null;
    this.noteActivity();
    this.releaseWaiting();
    if (!lastFrame) return;
    video.controls = this.hadControls;
    const uncover = () => {
      clearTimeout(timer);
      lastFrame.remove();
      if (this.lastFrame === lastFrame && !this.saved) {
        this.lastFrame = null;
        video.style.aspectRatio = "";
      }
    };
    const timer = setTimeout(uncover, PAINT_TIMEOUT_MS);
    video.requestVideoFrameCallback?.(() => requestAnimationFrame(uncover));
  }

  /** It cannot be loaded again: the last frame stays, beside an error. */
  handleError() {
    if (this.saved) this.saved.isResuming = false;
    this.releaseWaiting();
  }

  releaseWaiting() {
    for (const resolve of this.waiting.splice(0)) resolve();
  }

  /** Resume, and wait until that is done or has failed. @returns {Promise<void>} */
  resumed() {
    if (!this.saved || this.view.error !== null) return Promise.resolve();
    this.resume();
    return new Promise((resolve) => { this.waiting.push(resolve); });
  }
}
