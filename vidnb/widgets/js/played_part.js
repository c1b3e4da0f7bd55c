// @ts-check
/**
 * Plays one part of a video: up to `end_s`, where it pauses on the last frame that starts before that, or
 * goes back to `start_s` in a loop. Other positions can be sought and stepped to. From before the part the
 * video plays into it; from its end or later it plays from `start_s` again.
 *
 * @typedef {import("./frame_times.js").FrameTimes} FrameTimes
 * @typedef {{
 *   video: HTMLVideoElement, signal: AbortSignal, controls: import("./controls.js").Controls,
 *   readonly isSuspended: boolean, readonly isLeading: boolean,
 *   position(): number, seek(seconds: number): void, report(event: string): void,
 * }} PlayingView
 * @typedef {{ end_s: number, stop_s: number, rest_s: number }} Stop `stop_s` is when playing stops, `rest_s`
 *   the position at which the last frame is shown then
 */

const LEAD_S = 0.025; // a timer and a pause take effect late: no frame after the part is to be shown
const EDGE_S = 1e-3; // before the end, where the times of the frames are not known
const ROUNDING_S = 1e-4; // browsers round positions
const PAINT_MS = 100; // a browser may paint a frame after its seek has ended; a hidden page paints none
const LOOP_JUMP_S = 0.5; // so shortly before the end of a video a jump to its start is the browser's loop

/**
 * Where a part stops, from what is known of the video.
 * @param {number} wanted_s
 * @param {number} duration_s NaN where it is not known
 * @param {FrameTimes | null} times
 * @param {boolean} isLoop
 * @returns {Stop}
 */
export function partStop(wanted_s, duration_s, times, isLoop) {
  const end_s = Number.isFinite(duration_s) ? Math.min(wanted_s, duration_s) : wanted_s;
  if (!times?.count) return { end_s, stop_s: end_s - LEAD_S, rest_s: Math.max(0, end_s - EDGE_S) };
  const last = times.lastBefore(end_s);
  const start_s = times.starts_s[last];
  // Of a short last frame a loop shows half; otherwise it stays, and may pause at once.
  const earliest_s = isLoop ? (start_s + end_s) / 2 : start_s;
  return { end_s, stop_s: Math.max(end_s - LEAD_S, earliest_s), rest_s: times.seekTime(last) };
}

export class PlayedPart {
  /**
   * @param {PlayingView} view
   * @param {number} start_s
   * @param {number} end_s
   */
  constructor(view, start_s, end_s) {
    this.view = view;
    this.start_s = start_s;
    this.end_s = end_s;
    this.last_s = 0; // the position when it was last checked
    this.isEnding = false; // its last frame is being sought
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.paintTimer = undefined;
    view.signal.addEventListener("abort", () => {
      clearTimeout(this.timer);
      clearTimeout(this.paintTimer);
    });
  }

  /** @returns {Stop} */
  stop() {
    const { video, controls } = this.view;
    return partStop(this.end_s, video.duration, controls.stepper.times, video.loop);
  }

  /** Whether a position is on the last frame of the part, or after it. */
  isAtEnd(/** @type {number} */ position_s) {
    return position_s >= this.stop().rest_s - ROUNDING_S;
  }

  /** Whether the part has ended, as `ended` of a video (HTML, section 4.8.11.8). */
  get hasEnded() {
    const { video } = this.view;
    return video.paused && !video.loop && this.isAtEnd(this.view.position());
  }

  /** Stop now, or check again when it is time; called at each frame, position and event. */
  check() {
    clearTimeout(this.timer);
    const { view } = this;
    const { video } = view;
    if (view.isSuspended || !view.isLeading || video.paused || video.seeking || video.readyState === 0) return;
    const { end_s, stop_s } = this.stop();
    const shown_s = view.controls.stepper.media_s ?? 0;
    this.last_s = video.currentTime;
    if (this.last_s >= stop_s || shown_s >= end_s - ROUNDING_S) {
      this.finish();
    } else {
      const wait_s = (stop_s - this.last_s) / (video.playbackRate || 1);
      this.timer = setTimeout(() => this.check(), Math.max(1, 1000 * Math.min(wait_s, 60)));
    }
  }

  /** The end is reached. */
  finish() {
    const { view } = this;
    if (view.video.loop) {
      view.seek(this.start_s);
      return;
    }
    view.video.pause();
    clearTimeout(this.paintTimer);
    this.isEnding = true;
    view.seek(this.stop().rest_s);
  }

  /** Handle an event of the video. */
  handleEvent(/** @type {string} */ event) {
    const { view } = this;
    const { video } = view;
    if (view.isSuspended || !view.isLeading) return;
    if (event === "play" && this.isAtEnd(video.currentTime)) view.seek(this.start_s);
    if (event === "seeking") this.handleSeeking();
    if (event === "seeked" && this.isEnding) this.paintTimer = setTimeout(() => this.reportEnd(), PAINT_MS);
    this.check();
  }

  /** Handle a frame that is shown. */
  handleFrame() {
    if (!this.view.video.seeking) this.reportEnd();
    this.check();
  }

  /** Report the end once: its last frame is shown. */
  reportEnd() {
    clearTimeout(this.paintTimer);
    if (!this.isEnding || this.view.isSuspended) return;
    this.isEnding = false;
    this.view.report("ended");
  }

  handleSeeking() {
    const { video } = this.view;
    if (Math.abs(video.currentTime - this.stop().rest_s) > ROUNDING_S) this.isEnding = false;
    // The browser's own loop, where it was faster than the check.
    const hasLooped = video.loop && !video.paused && video.currentTime === 0 && this.end_s >= video.duration;
    if (hasLooped && this.start_s > 0 && this.last_s > video.duration - LOOP_JUMP_S) this.view.seek(this.start_s);
  }
}
