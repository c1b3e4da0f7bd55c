// @ts-check
/**
 * Stepping by single frames. Browsers report no frame rate, but requestVideoFrameCallback reports the
 * media time of each frame shown, and two consecutive frames give the duration of a frame.
 */

export const DEFAULT_FRAME_S = 1 / 30; // until two frames were seen
const MIN_FRAME_S = 1 / 300;
const MAX_FRAME_S = 1;
const EDGE_S = 0.002; // times are rounded, so a seek to the very edge of a frame may show the one before
const MEAN_OF_FRAMES = 100; // averages out times in whole milliseconds
const MAX_WIDENINGS = 6; // each doubles the distance: enough for frames of one second
const FRAME_TIMEOUT_MS = 1000; // a hidden page shows no frames
const MEASURE_TIMEOUT_MS = 3000;
const MEASURED_FRAMES = 6;

/** The frame timing of a video, learnt from the frames it has shown. */
export class FrameClock {
  constructor() {
    /** @type {number | null} the duration of a frame (s) */
    this.frame_s = null;
    /** @type {number | null} the start of the frame that is shown (s) */
    this.shown_s = null;
    this.presented = 0;
    this.samples = 0;
  }

  /** Add a frame that was shown: its start (s) and its number since the load. */
  addFrame(/** @type {number} */ mediaTime, /** @type {number} */ presented) {
    const interval_s = this.shown_s === null ? 0 : mediaTime - this.shown_s;
    if (presented === this.presented + 1) this.addInterval(interval_s);
    this.shown_s = mediaTime;
    this.presented = presented;
  }

  /** Add the time between two frames (s); the shortest counts, since a browser skips frames. */
  addInterval(/** @type {number} */ interval_s) {
    if (!(interval_s >= MIN_FRAME_S && interval_s <= MAX_FRAME_S)) return;
    if (this.frame_s === null || interval_s < 0.75 * this.frame_s) {
      this.frame_s = interval_s;
      this.samples = 1;
    } else if (interval_s < 1.25 * this.frame_s) {
      this.samples = Math.min(this.samples + 1, MEAN_OF_FRAMES);
      this.frame_s += (interval_s - this.frame_s) / this.samples;
    }
  }

  /** The time to seek to from `now_s` in order to show the frame `frames` further on (s). */
  seekTarget(/** @type {number} */ now_s, /** @type {number} */ frames) {
    const frame_s = this.frame_s ?? DEFAULT_FRAME_S;
    if (this.shown_s === null) {
      // The start of this frame is unknown: it is most likely a multiple of the frame duration.
      const off_s = Math.abs(now_s - Math.round(now_s / frame_s) * frame_s);
      return Math.max(0, now_s + frames * frame_s + (this.frame_s !== null && off_s < EDGE_S ? EDGE_S : 0));
    }
    // After a pause the frame may be one ahead of currentTime; one further off says nothing about it.
    const into_s = now_s - this.shown_s;
    if (into_s < -frame_s || into_s > 2 * frame_s) return Math.max(0, now_s + frames * frame_s);
    const within_s = into_s > frame_s - EDGE_S ? frame_s / 2 : Math.max(into_s, EDGE_S);
    return Math.max(0, this.shown_s + within_s + frames * frame_s);
  }
}

const SHOWN_MS = 500; // to the frame after a seek; a page that is hidden shows none

/** Steps through one video. */
export class Stepper {
  constructor(/** @type {HTMLVideoElement} */ video, /** @type {AbortSignal} */ signal) {
    this.video = video;
    this.signal = signal;
    this.clock = new FrameClock();
    this.pendingFrames = 0; // to step once the current seek is done
    this.turn = 0; // number of the current step; a later step ends an earlier one
    // For a frame shown after a seek, Firefox reports the seek target instead of the start of the frame.
    this.reportsSeekTarget = "mozFrameDelay" in video;
    this.sought_s = -1;
    this.measured = false;
    /** @type {number | null} the media time of the frame that is shown (s); null from a seek to its frame */
    this.media_s = null;
    /** @type {import("./frame_times.js").FrameTimes | null} */
    this.times = null;
    /** @type {(() => void) | null} */
    this.onFrame = null;
  }

  /** The number of the frame that is shown at `now_s`, null while the times of the frames are not known. */
  frameIndex(/** @type {number} */ now_s) {
    return this.times?.indexAt(this.media_s ?? now_s) ?? null;
  }

  /** Observe the frames that are shown; `onFrame` is called at each. */
  listen(/** @type {() => void} */ onFrame) {
    const { video, signal } = this;
    const reset = () => Object.assign(this, { clock: new FrameClock(), measured: false, media_s: null });
    video.addEventListener("emptied", reset, { signal });
    video.addEventListener("seeking", () => { this.media_s = null; }, { signal });
    video.addEventListener("pause", () => this.settle(), { signal });
    if (!("requestVideoFrameCallback" in video)) return;
    if (this.reportsSeekTarget) video.addEventListener("seeking", () => { this.sought_s = video.currentTime; }, { signal });
    /** @type {VideoFrameRequestCallback} */
    const observe = (_now, { mediaTime, presentedFrames }) => {
      if (signal.aborted) return;
      if (!video.seeking) this.media_s = mediaTime;
      if (Math.abs(mediaTime - this.sought_s) < EDGE_S) this.clock.shown_s = null;
      else this.clock.addFrame(mediaTime, video.paused ? 0 : presentedFrames);
      onFrame();
      this.onFrame?.();
      video.requestVideoFrameCallback(observe);
    };
    video.requestVideoFrameCallback(observe);
  }

  /** Wait until the frame that a seek led to is shown: the event `seeked` may come before it. */
  async shown() {
    const { video } = this;
    const isKnown = this.media_s !== null || !("requestVideoFrameCallback" in video);
    if (isKnown || video.seeking || video.readyState < 2) return;
    await Promise.race([
      new Promise((resolve) => video.requestVideoFrameCallback(resolve)),
      new Promise((resolve) => setTimeout(resolve, SHOWN_MS)),
    ]);
  }

  /**
   * After a pause Firefox 153 may show the frame after the one at `currentTime`, and reports neither: seek
   * to the middle of that frame.
   */
  settle() {
    const { video, times } = this;
    if (!this.reportsSeekTarget || !times || video.seeking || video.ended) return;
    video.currentTime = times.seekTime(times.indexAt(video.currentTime));
  }

  /** Pause, and go `frames` on, or back where it is negative. */
  async step(/** @type {number} */ frames) {
    const { video, clock } = this;
    if (!frames) return;
    video.pause();
    if (video.seeking) {
      await this.stepAfter(frames, () => this.nextFrame());
      return;
    }
    if (this.reportsSeekTarget && clock.frame_s === null && !this.measured) {
      await this.stepAfter(frames, () => this.measure());
      return;
    }
    this.turn += 1;
    const { turn } = this;
    const seek = (/** @type {number} */ target_s) => {
      video.currentTime = Number.isFinite(video.duration) ? Math.min(target_s, video.duration) : target_s;
    };
    const index = this.frameIndex(video.currentTime);
    if (this.times && index !== null) {
      seek(this.times.seekTime(index + frames));
      return;
    }
    await this.stepFrom(video.currentTime, frames, seek, () => turn === this.turn && video.paused);
  }

  /**
   * Seek `frames` on from a time. A step of one frame goes on until another frame is shown, since a
   * frame may last longer than was assumed.
   * @param {number} now_s
   * @param {number} frames
   * @param {(target_s: number) => void} seek
   * @param {() => boolean} isCurrent whether nothing else was asked for meanwhile
   */
  async stepFrom(now_s, frames, seek, isCurrent) {
    const { clock } = this;
    const from_s = clock.shown_s;
    let target_s = clock.seekTarget(now_s, frames);
    seek(target_s);
    if (frames !== 1 || from_s === null || target_s - from_s > MAX_FRAME_S) return;
    for (let tries = 0; tries < MAX_WIDENINGS; tries += 1) {
      if (!(await this.nextFrame()) || this.signal.aborted || !isCurrent()) return;
      const { shown_s } = clock;
      if (shown_s !== from_s) {
        if (tries > 0 && shown_s !== null) clock.addInterval(shown_s - from_s);
        return;
      }
      target_s = from_s + 2 * (target_s - from_s) - EDGE_S;
      if (target_s >= this.video.duration) return;
      seek(target_s);
    }
  }

  /** Step once `ready` resolves; several such steps become one. */
  async stepAfter(/** @type {number} */ frames, /** @type {() => Promise<unknown>} */ ready) {
    const { video } = this;
    const isFirst = this.pendingFrames === 0;
    this.pendingFrames += frames;
    if (!isFirst) return;
    const at_s = video.currentTime;
    await ready();
    const all = this.pendingFrames;
    this.pendingFrames = 0;
    // A seek or a play meanwhile cancels the step.
    if (video.currentTime === at_s && video.paused && !this.signal.aborted) await this.step(all);
  }

  /** Measure the frame duration on a muted copy of the video that is not in the page. */
  async measure() {
    this.measured = true;
    const { video, clock } = this;
    const copy = document.createElement("video");
    copy.crossOrigin = video.crossOrigin;
    copy.muted = true;
    copy.src = video.currentSrc;
    copy.currentTime = video.currentTime;
    const seen = new FrameClock();
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, MEASURE_TIMEOUT_MS, "late");
      /** @type {VideoFrameRequestCallback} */
      const observe = (_now, { mediaTime, presentedFrames }) => {
        if (Math.abs(mediaTime - video.currentTime) >= EDGE_S) seen.addFrame(mediaTime, presentedFrames);
        if (seen.samples < MEASURED_FRAMES && !this.signal.aborted) {
          copy.requestVideoFrameCallback(observe);
        } else {
          clearTimeout(timer);
          resolve("measured");
        }
      };
      copy.requestVideoFrameCallback(observe);
      copy.play().catch(resolve);
    });
    copy.pause();
    copy.removeAttribute("src");
    copy.load();
    if (seen.frame_s !== null) clock.addInterval(seen.frame_s);
  }

  /** Wait for the next frame. @returns {Promise<boolean>} whether one was shown in time */
  nextFrame() {
    return new Promise((resolve) => {
      const timer = setTimeout(() => done(false), FRAME_TIMEOUT_MS);
      const done = (/** @type {boolean} */ shown) => {
        clearTimeout(timer);
        this.onFrame = null;
        resolve(shown);
      };
      this.onFrame = () => done(true);
    });
  }
}
