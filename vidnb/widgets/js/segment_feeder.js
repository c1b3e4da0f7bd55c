// @ts-check
/**
 * Feeds a video with fMP4 segments by MediaSource: the one at the position and some way ahead of it.
 * Buffered media far behind the position is removed. Segments carry the times of the container, which
 * are shifted by the playlist's start alone, so that frames keep their times.
 *
 * @typedef {import("./deliveries.js").Delivery} Delivery
 * @typedef {import("./segment_reader.js").Playlist} Playlist
 * @typedef {import("./segment_reader.js").ReadPart} ReadPart
 */

import { rangeList } from "./playhead.js";
import { httpReader, parsePlaylist, segmentUrl } from "./segment_reader.js";

const HLS = "application/vnd.apple.mpegurl";
const AHEAD_S = 30;
const AHEAD_PAUSED_S = 10; // it may never be played
const MIN_AHEAD_S = 2; // to play on where the buffer is full
const KEEP_S = 30; // behind the position
const SLACK_S = 0.1; // picture and sound of a segment start and end at different times
const EDGE_S = 0.001; // browsers round times
const ROUNDING_S = 1e-6; // of the start in the playlist: a first frame before 0 would be dropped
const MAX_BACK = 3; // segments before the position that are tried where its own does not lead to it
const MAX_EVICTIONS = 20; // to make room for one segment
const POLL_MS = 500; // of a playlist that grows, while more is needed
const SLOW_POLL_MS = 3000; // and otherwise
const GAP_MS = 500; // without a picture at the position, before it goes on behind the gap

/** Whether this browser can be fed, and with this type. */
export function canFeed(/** @type {string | undefined} */ type = undefined) {
  const { MediaSource } = globalThis;
  return Boolean(MediaSource) && (type === undefined || MediaSource.isTypeSupported(type));
}

/** Whether a video plays segments of a type by HTTP: fed, or by itself where that is impossible (iPhone). */
export function playsSegments(/** @type {HTMLVideoElement} */ video, /** @type {string} */ type) {
  return canFeed() ? canFeed(type) : video.canPlayType(HLS) !== "" && video.canPlayType(type) !== "";
}

/**
 * Play the segments beside the file at a URL.
 * @param {HTMLVideoElement} video
 * @param {string} url
 * @param {Delivery} delivery
 * @param {(error: Error) => void} onError
 * @returns {SegmentFeeder | null} null where the browser reads the playlist itself
 */
export function playSegments(video, url, { variant, type }, onError) {
  if (canFeed()) return new SegmentFeeder(video, httpReader(url, variant), type, onError);
  video.src = segmentUrl(url, variant, "index.m3u8");
  return null;
}

export class SegmentFeeder {
  /**
   * @param {HTMLVideoElement} video
   * @param {ReadPart} read
   * @param {string} type
   * @param {(error: Error) => void} onError called with a `ReadError` where the route failed, a `FileError`
   *   where no segments can be made of the file, any other where the browser cannot be fed
   */
  constructor(video, read, type, onError) {
    this.video = video;
    this.read = read;
    this.onError = onError;
    this.controller = new AbortController();
    this.request = new AbortController(); // of the segment in flight
    /** @type {Playlist} */
    this.playlist = { start_s: 0, init: "", segments: [], duration_s: 0, isComplete: false };
    this.readMs = 0; // when the playlist was read
    /** @type {Set<number>} segments that were appended since the last seek and did not fill their time */
    this.holes = new Set();
    /** @type {{ time_s: number, resolve: () => void } | null} a time that a growing video does not reach yet */
    this.awaited = null;
    /** @type {() => void} */
    this.wake = () => {};

    const { signal } = this.controller;
    video.addEventListener("seeking", () => {
      this.holes.clear();
      this.awaited = null; // another position is wanted
    }, { signal });
    for (const event of ["timeupdate", "seeking", "play", "waiting", "loadedmetadata"]) {
      video.addEventListener(event, () => this.wake(), { signal });
    }
    this.media = new MediaSource();
    this.media.addEventListener("sourceopen", () => this.run(type), { signal, once: true });
    this.url = URL.createObjectURL(this.media);
    video.src = this.url;
  }

  end() {
    this.controller.abort();
    this.request.abort();
    this.wake();
    URL.revokeObjectURL(this.url);
  }

  async run(/** @type {string} */ type) {
    const { signal } = this.controller;
    try {
      await this.readPlaylist();
      while (!this.playlist.segments.length && !this.playlist.isComplete && !signal.aborted) {
        await this.nextEvent(POLL_MS);
        await this.readPlaylist();
      }
      const { init, start_s } = this.playlist;
      const first = await this.read(init, signal);
      this.buffer = this.media.addSourceBuffer(type);
      if (start_s) this.buffer.timestampOffset = ROUNDING_S - start_s;
      await this.change((buffer) => buffer.appendBuffer(/** @type {any} */ (first)));
      while (!signal.aborted) await this.advance();
    } catch (error) {
      if (!signal.aborted) this.onError(/** @type {Error} */ (error));
    }
  }

  async readPlaylist() {
    const bytes = await this.read("index.m3u8", this.controller.signal);
    this.playlist = parsePlaylist(new TextDecoder().decode(bytes));
    this.readMs = performance.now();
    const { duration_s } = this.playlist;
    // It only grows here: a shorter one is set by the browser when all is appended.
    if (duration_s && !(this.media.duration >= duration_s)) this.media.duration = duration_s;
    if (this.awaited && !this.isShorterThan(this.awaited.time_s)) {
      this.awaited.resolve();
      this.awaited = null;
    }
  }

  /** Whether the video grows and does not reach a time yet, as far as is known. */
  isShorterThan(/** @type {number} */ time_s) {
    return !this.playlist.isComplete && this.playlist.duration_s < time_s;
  }

  /** Wait until the video reaches a time or is complete; for the last time that was asked, until another seek. */
  reach(/** @type {number} */ time_s) {
    this.readMs = -Infinity; // it may have grown since
    return /** @type {Promise<void>} */ (new Promise((resolve) => {
      this.awaited = { time_s, resolve };
      this.wake();
    }));
  }

  /** Wait for an event of the video, or so long. @returns {Promise<boolean>} whether there was none */
  nextEvent(/** @type {number | undefined} */ timeoutMs = undefined) {
    return new Promise((resolve) => {
      const timer = timeoutMs === undefined ? undefined : setTimeout(resolve, timeoutMs, true);
      this.wake = () => {
        clearTimeout(timer);
        resolve(false);
      };
    });
  }

  /** Load the segment that is needed next, or wait. */
  async advance() {
    const { media, video } = this;
    if (this.awaited && performance.now() - this.readMs >= POLL_MS) await this.readPlaylist();
    // Before the metadata are loaded the position is not known.
    const number = video.readyState > 0 ? this.nextSegment() : -1;
    if (number >= 0) {
      await this.load(number);
      return;
    }
    const { isComplete } = this.playlist;
    const isAtEnd = video.readyState > 0 && this.readsTo() >= this.playlist.duration_s;
    if (isComplete && isAtEnd && media.readyState === "open") media.endOfStream();
    const pollMs = isAtEnd || this.awaited ? POLL_MS : SLOW_POLL_MS;
    const at_s = video.currentTime;
    const isGap = video.readyState > 0 && !this.isBuffered(at_s, at_s, EDGE_S);
    const isIdle = await this.nextEvent(isGap ? GAP_MS : isComplete ? undefined : pollMs);
    if (isGap && isIdle && video.currentTime === at_s) this.leaveGap();
    if (!this.playlist.isComplete && performance.now() - this.readMs >= pollMs) await this.readPlaylist();
  }

  /** The time up to which segments are needed now (s). */
  readsTo() {
    const { currentTime, paused } = this.video;
    return currentTime + (paused ? AHEAD_PAUSED_S : AHEAD_S);
  }

  /** Whether a time range is buffered, except so much at its start and its end (s). */
  isBuffered(/** @type {number} */ start_s, /** @type {number} */ end_s, slack_s = Math.min(SLACK_S, (end_s - start_s) / 3)) {
    return rangeList(this.video.buffered).some(([from, to]) => from <= start_s + slack_s && to >= end_s - slack_s);
  }

  /** The number of the segment at a time (s). */
  segmentAt(/** @type {number} */ time_s) {
    const { segments } = this.playlist;
    let [low, high] = [0, segments.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (segments[middle].start_s <= time_s) low = middle + 1;
      else high = middle;
    }
    return Math.max(0, low - 1);
  }

  /** Whether a segment has to be appended; of the one at the position only what follows it is needed. */
  isMissing(/** @type {number} */ number) {
    const segment = this.playlist.segments[number];
    if (!segment || this.holes.has(number)) return false;
    const { start_s, end_s } = segment;
    const { currentTime } = this.video;
    return !this.isBuffered(currentTime > start_s && currentTime < end_s ? currentTime : start_s, end_s);
  }

  /** The number of the segment that is needed next; -1 for none. */
  nextSegment() {
    const { playlist: { segments }, video: { currentTime } } = this;
    const at = this.segmentAt(currentTime);
    if (this.isMissing(at)) return at;
    if (!this.isBuffered(currentTime, currentTime, EDGE_S)) {
      // A frame shown at the end of a segment may be stored in the next one, and the other way round.
      for (let number = at + 1; number >= at - MAX_BACK; number -= 1) if (this.isMissing(number)) return number;
    }
    const until_s = this.readsTo();
    for (let number = at + 1; segments[number]?.start_s < until_s; number += 1) {
      if (this.isMissing(number)) return number;
    }
    return -1;
  }

  /** Read and append a segment, unless another one is needed meanwhile. */
  async load(/** @type {number} */ number) {
    const { start_s, end_s, name } = this.playlist.segments[number];
    this.request = new AbortController();
    /** @type {ArrayBuffer | DataView | undefined} */
    let bytes;
    const received = this.read(name, this.request.signal).then((data) => { bytes = data; });
    received.catch(() => {}); // it may be of no use any more
    while (!bytes) {
      await Promise.race([received, this.nextEvent()]);
      if (this.controller.signal.aborted) return;
      const needed = this.nextSegment();
      if (needed >= 0 && needed !== number) {
        this.request.abort();
        return;
      }
    }
    if (!(await this.append(bytes, number))) return;
    if (this.isBuffered(start_s, end_s)) this.holes.delete(number);
    else this.holes.add(number);
    const { buffered, currentTime } = this.video;
    if (buffered.length && buffered.start(0) < currentTime - 2 * KEEP_S) await this.removeBefore(currentTime - KEEP_S);
  }

  /**
   * Append a segment; where the buffer is full, remove media or wait.
   * @returns {Promise<boolean>} whether it is appended and not made useless by a seek
   */
  async append(/** @type {ArrayBuffer | DataView} */ bytes, /** @type {number} */ number) {
    for (let tries = 1; ; tries += 1) {
      try {
        await this.change((buffer) => buffer.appendBuffer(/** @type {any} */ (bytes)));
        return true;
      } catch (error) {
        if (/** @type {Error} */ (error).name !== "QuotaExceededError") throw error;
        if (tries > MAX_EVICTIONS || !(await this.evict())) {
          const { currentTime } = this.video;
          // It can neither play on with what is buffered nor buffer more.
          if (!this.isBuffered(currentTime, currentTime + MIN_AHEAD_S)) throw error;
          await this.nextEvent();
          tries = 0;
        }
        if (this.controller.signal.aborted || this.nextSegment() !== number) return false;
      }
    }
  }

  /** Remove the media that is needed least. @returns {Promise<boolean>} whether there was some */
  async evict() {
    const { currentTime } = this.video;
    for (const keep_s of [KEEP_S, KEEP_S / 2]) {
      if (await this.removeBefore(currentTime - keep_s)) return true;
    }
    const far = rangeList(this.video.buffered).find(([from]) => from > this.readsTo());
    if (far) await this.change((buffer) => buffer.remove(far[0], Infinity));
    return Boolean(far) || this.removeBefore(currentTime - SLACK_S);
  }

  /** Remove the media before a time, in whole segments: one that is cut is lost up to its next key frame. */
  async removeBefore(/** @type {number} */ time_s) {
    const until_s = time_s > 0 ? this.playlist.segments[this.segmentAt(time_s)].start_s : 0;
    const { buffered } = this.video;
    if (!buffered.length || buffered.start(0) >= until_s - SLACK_S) return false;
    await this.change((buffer) => buffer.remove(0, until_s));
    return true;
  }

  /** Change the buffer and wait until it is done. */
  async change(/** @type {(buffer: SourceBuffer) => void} */ act) {
    const buffer = /** @type {SourceBuffer} */ (this.buffer);
    act(buffer);
    /** @type {Promise<void>} */
    const done = new Promise((resolve, reject) => {
      buffer.onupdateend = () => resolve();
      buffer.onerror = () => reject(new Error("the browser could not parse it"));
    });
    await done;
  }

  /** The file has no picture at the position: continue at the next one. */
  leaveGap() {
    const { video } = this;
    if (video.readyState > 2 || (video.paused && !video.seeking)) return;
    const next = rangeList(video.buffered).find(([from]) => from > video.currentTime);
    if (next) [video.currentTime] = next;
  }
}
