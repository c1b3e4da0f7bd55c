// @ts-check
/**
 * The start times of all frames of a video, from the container's presentation timestamps: Python sends
 * them, so that a frame has the same number here and there.
 */

/** A time this far before a frame's start (s) still belongs to it: browsers cut times to microseconds. */
const ROUNDING_S = 1e-5;
const LAST_FRAME_S = 1e-3; // into the last frame, whose end is not known

export class FrameTimes {
  /**
   * @param {Float64Array} starts_s increasing
   * @param {number} [start_s] the time at which segments begin
   */
  constructor(starts_s, start_s = 0) {
    this.starts_s = starts_s;
    this.start_s = start_s;
  }

  /** The times in a video made of segments, which begins at 0. */
  ofSegments() {
    return this.start_s ? new FrameTimes(this.starts_s.map((time_s) => time_s - this.start_s)) : this;
  }

  /**
   * From the message `frame_times`: 64-bit little-endian floats in its buffer (s), or, for a constant
   * frame rate, their number, the first one and the interval in ticks of `tick_s`, each rounded to a tick.
   * @param {{ count: number, first: number, interval: number, tick_s: number, start_s?: number }} content
   * @param {DataView[] | undefined} buffers
   */
  static fromMessage({ count, first, interval, tick_s, start_s }, buffers) {
    const starts_s = new Float64Array(count);
    const view = buffers?.[0];
    for (let n = 0; n < count; n += 1) {
      starts_s[n] = view ? view.getFloat64(8 * n, true) : Math.floor(first + n * interval + 0.5) * tick_s;
    }
    return new FrameTimes(starts_s, start_s);
  }

  get count() {
    return this.starts_s.length;
  }

  /** The number of the frame that is shown at a time (s): the last one that starts at or before it. */
  indexAt(/** @type {number} */ time_s) {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.starts_s[middle] <= time_s + ROUNDING_S) low = middle + 1;
      else high = middle;
    }
    return Math.max(0, low - 1);
  }

  /** The number of the last frame that starts before a time (s); the first one where none does. */
  lastBefore(/** @type {number} */ time_s) {
    return this.indexAt(time_s - 2 * ROUNDING_S);
  }

  /** The time to seek to in order to show a frame (s): its middle, since browsers round times. */
  seekTime(/** @type {number} */ index) {
    const n = Math.min(Math.max(index, 0), this.count - 1);
    const start_s = this.starts_s[n];
    return n + 1 < this.count ? (start_s + this.starts_s[n + 1]) / 2 : start_s + LAST_FRAME_S;
  }
}
