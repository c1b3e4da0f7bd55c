// @ts-check
/**
 * The position, duration and buffered ranges of a video, also while it is suspended and its element
 * is empty.
 *
 * @typedef {[number, number]} TimeRange start and end (s)
 * @typedef {{ length: number, start(index: number): number, end(index: number): number }} Ranges like TimeRanges
 * @typedef {{ currentTime: number, duration: number, buffered: TimeRange[] }} SavedPosition
 */

/** A list of ranges in the form of TimeRanges. @returns {Ranges} */
export function asTimeRanges(/** @type {TimeRange[]} */ ranges) {
  return { length: ranges.length, start: (index) => ranges[index][0], end: (index) => ranges[index][1] };
}

/** TimeRanges as a list. @returns {TimeRange[]} */
export function rangeList(/** @type {Ranges | undefined} */ ranges) {
  return Array.from({ length: ranges?.length ?? 0 }, (_, n) => /** @type {any} */ ([ranges?.start(n), ranges?.end(n)]));
}

export class Playhead {
  constructor(/** @type {HTMLVideoElement} */ video, /** @type {{ saved: SavedPosition | null }} */ suspension) {
    this.video = video;
    this.suspension = suspension;
  }

  get currentTime() {
    return this.suspension.saved?.currentTime ?? this.video.currentTime;
  }

  get duration() {
    return this.suspension.saved?.duration ?? this.video.duration;
  }

  /** @returns {Ranges} */
  get buffered() {
    const saved = this.suspension.saved?.buffered;
    return saved ? asTimeRanges(saved) : this.video.buffered;
  }

  /** Whether there is a position: the metadata were loaded. */
  get isKnown() {
    return this.suspension.saved !== null || this.video.readyState > 0;
  }

  /** Listen to the events of the video. */
  addEventListener(
    /** @type {string} */ name, /** @type {() => void} */ listener, /** @type {AddEventListenerOptions} */ options,
  ) {
    this.video.addEventListener(name, listener, options);
  }
}
