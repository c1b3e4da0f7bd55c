// @ts-check
/**
 * Steps by single frames. A browser tells no frame rate, but each frame that it shows carries its
 * own time (requestVideoFrameCallback), and two that follow each other tell the rest.
 */

export const ASSUMED_FRAME_S = 1 / 30; // until two frames were seen
const LEAST_FRAME_S = 1 / 300;
const MOST_FRAME_S = 1;
const EDGE_S = 0.002; // times are rounded, so nobody should aim at the very edge of a frame
const MEAN_OF = 100; // frames; times in whole milliseconds even out
const MOST_TRIES = 6; // each doubles the distance: enough for frames of one second
const PATIENCE_MS = 1000; // a hidden page shows no frames
const PEEK_MS = 3000; // how long a copy may take to show a few frames
const PEEK_FRAMES = 6;

/** What the frames shown so far tell of the video. */
export class FrameClock {
  constructor() {
    /** @type {number | null} how long a frame lasts (s) */
    this.frame = null;
    /** @type {number | null} when the frame that is shown begins (s) */
    this.shown = null;
    this.presented = 0;
    this.mean = 0;
  }

  /** Takes a frame that was shown: when it begins (s), and which one it was since the load. */
  saw(/** @type {number} */ mediaTime, /** @type {number} */ presented) {
    const gap = this.shown === null ? 0 : mediaTime - this.shown;
    if (presented === this.presented + 1) this.learn(gap);
    this.shown = mediaTime;
    this.presented = presented;
  }

  /** Takes the time between two frames (s); the shortest counts, since some are left out. */
  learn(/** @type {number} */ gap) {
    if (!(gap >= LEAST_FRAME_S && gap <= MOST_FRAME_S)) return;
    if (this.frame === null || gap < 0.75 * this.frame) {
      this.frame = gap;
      this.mean = 1;
    } else if (gap < 1.25 * this.frame) {
      this.mean = Math.min(this.mean + 1, MEAN_OF);
      this.frame += (gap - this.frame) / this.mean;
    }
  }

  /** Where to seek from `now` (s) to show the frame that is `frames` further on. */
  target(/** @type {number} */ now, /** @type {number} */ frames) {
    const frame = this.frame ?? ASSUMED_FRAME_S;
    if (this.shown === null) {
      // Where nobody tells when this frame began, it began at a multiple of its length, most likely.
      const off = Math.abs(now - Math.round(now / frame) * frame);
      return Math.max(0, now + frames * frame + (this.frame !== null && off < EDGE_S ? EDGE_S : 0));
    }
    // After a pause the picture may be a frame ahead of the clock; further off it tells nothing.
    const into = now - this.shown;
    if (into < -frame || into > 2 * frame) return Math.max(0, now + frames * frame);
    const within = into > frame - EDGE_S ? frame / 2 : Math.max(into, EDGE_S);
    return Math.max(0, this.shown + within + frames * frame);
  }
}

/** Steps through one video. */
export class Stepper {
  constructor(/** @type {HTMLVideoElement} */ video, /** @type {AbortSignal} */ signal) {
    this.video = video;
    this.signal = signal;
    this.clock = new FrameClock();
    this.waiting = 0; // frames to go once the seek under way has arrived
    this.turn = 0; // the step that counts; a later one ends what an earlier one still tries
    // Of a frame that a seek has brought, Firefox tells where it was told to go, not when it begins.
    this.vague = "mozFrameDelay" in video;
    this.sought = -1;
    this.peeked = false;
    /** @type {(() => void) | null} */
    this.onFrame = null;
  }

  /** Listens to the frames that are shown; `tell` is called at each. */
  listen(/** @type {() => void} */ tell) {
    const { video, signal } = this;
    const forget = () => Object.assign(this, { clock: new FrameClock(), peeked: false });
    video.addEventListener("emptied", forget, { signal });
    if (!("requestVideoFrameCallback" in video)) return;
    if (this.vague) video.addEventListener("seeking", () => { this.sought = video.currentTime; }, { signal });
    /** @type {VideoFrameRequestCallback} */
    const onFrame = (_now, { mediaTime, presentedFrames }) => {
      if (signal.aborted) return;
      if (Math.abs(mediaTime - this.sought) < EDGE_S) this.clock.shown = null;
      else this.clock.saw(mediaTime, this.video.paused ? 0 : presentedFrames);
      tell();
      this.onFrame?.();
      video.requestVideoFrameCallback(onFrame);
    };
    video.requestVideoFrameCallback(onFrame);
  }

  /** Pauses, and goes `frames` on, or back where it is negative. */
  async step(/** @type {number} */ frames) {
    const { video } = this;
    if (!frames) return;
    video.pause();
    if (video.seeking) {
      await this.stepLater(frames, () => this.nextFrame());
      return;
    }
    if (this.vague && this.clock.frame === null && !this.peeked) {
      await this.stepLater(frames, () => this.peek());
      return;
    }
    this.turn += 1;
    const { turn } = this;
    const from = this.clock.shown;
    let target = this.clock.target(video.currentTime, frames);
    this.seek(target);
    if (frames !== 1 || from === null || target - from > MOST_FRAME_S) return;
    // The frame may last longer than was assumed: go on until another one is shown.
    for (let tries = 0; tries < MOST_TRIES; tries += 1) {
      if (!(await this.nextFrame()) || turn !== this.turn || this.signal.aborted || !video.paused) return;
      const { shown } = this.clock;
      if (shown !== from) {
        if (tries > 0 && shown !== null) this.clock.learn(shown - from);
        return;
      }
      target = from + 2 * (target - from) - EDGE_S;
      if (target >= video.duration) return;
      this.seek(target);
    }
  }

  /** Steps once what is under way is there; several such steps become one. */
  async stepLater(/** @type {number} */ frames, /** @type {() => Promise<unknown>} */ arrival) {
    const { video } = this;
    const first = this.waiting === 0;
    this.waiting += frames;
    if (!first) return;
    const there = video.currentTime;
    await arrival();
    const all = this.waiting;
    this.waiting = 0;
    // Whoever went somewhere else meanwhile did not mean a step from there.
    const moved = video.currentTime !== there || !video.paused;
    if (!moved && !this.signal.aborted) await this.step(all);
  }

  /** Learns how long a frame lasts from a copy that plays a few of them, unseen and unheard. */
  async peek() {
    this.peeked = true;
    const { video, clock } = this;
    const copy = document.createElement("video");
    copy.crossOrigin = video.crossOrigin;
    copy.muted = true;
    copy.src = video.currentSrc;
    copy.currentTime = video.currentTime;
    const seen = new FrameClock();
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, PEEK_MS, "late");
      /** @type {VideoFrameRequestCallback} */
      const onFrame = (_now, { mediaTime, presentedFrames }) => {
        if (Math.abs(mediaTime - video.currentTime) >= EDGE_S) seen.saw(mediaTime, presentedFrames);
        if (seen.mean < PEEK_FRAMES && !this.signal.aborted) {
          copy.requestVideoFrameCallback(onFrame);
        } else {
          clearTimeout(timer);
          resolve("seen");
        }
      };
      copy.requestVideoFrameCallback(onFrame);
      copy.play().catch(resolve);
    });
    copy.pause();
    copy.removeAttribute("src");
    copy.load();
    if (seen.frame !== null) clock.learn(seen.frame);
  }

  seek(/** @type {number} */ target) {
    const { duration } = this.video;
    this.video.currentTime = Number.isFinite(duration) ? Math.min(target, duration) : target;
  }

  /** @returns {Promise<boolean>} whether a frame was shown in time */
  nextFrame() {
    return new Promise((resolve) => {
      const timer = setTimeout(() => done(false), PATIENCE_MS);
      const done = (/** @type {boolean} */ shown) => {
        clearTimeout(timer);
        this.onFrame = null;
        resolve(shown);
      };
      this.onFrame = () => done(true);
    });
  }
}
