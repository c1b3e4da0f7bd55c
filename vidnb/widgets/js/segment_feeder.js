// @ts-check
/**
 * Feeds a video from the kernel channel by MediaSource: some way ahead of the position, and after a
 * seek from the byte that the index of the file names. Buffered media far behind the position is removed.
 *
 * @typedef {import("./kernel_channel.js").FileIndex} FileIndex
 * @typedef {{ size: number, tag: string, index: FileIndex }} FileInfo
 * @typedef {{
 *   onBusy(isBusy: boolean): void, onScan(isScanning: boolean): void, onReadError(reason: string): void,
 *   onFeedError(): void,
 * }} FeederEvents a busy kernel, reading without an index up to a position, a failed read, a browser that cannot be fed
 */

import { BusyTimer, CHANGED } from "./kernel_channel.js";
import { rangeList } from "./playhead.js";

const SEGMENT_BYTES = 1024 * 1024;
const AHEAD_S = 30;
const AHEAD_BYTES = 20 * 1024 * 1024;
const AHEAD_PAUSED_S = 10; // it may never be played
const MIN_AHEAD_S = 2; // whatever its size
const KEEP_S = 30; // behind the position
const SLACK_S = 0.25; // picture and sound of a segment start at different times, and not exactly where the index says
const GAP_S = 0.5; // a shorter gap is ignored
const MAX_UNUSED_BYTES = 64 * 1024 * 1024; // read without a result: the file cannot be fed
const MAX_MISSES = 3; // index entries that led behind the position
const MAX_EVICTIONS = 20; // to make room for one segment

/** Whether this browser supports MediaSource, and with this type. */
export function canFeed(/** @type {string | undefined} */ mime = undefined) {
  const { MediaSource } = globalThis;
  return Boolean(MediaSource) && (mime === undefined || MediaSource.isTypeSupported(mime));
}

export class SegmentFeeder {
  /**
   * @param {HTMLVideoElement} video
   * @param {import("./kernel_channel.js").KernelReader} reader
   * @param {string} resource
   * @param {FileInfo} info
   * @param {FeederEvents} events
   */
  constructor(video, reader, resource, info, events) {
    this.video = video;
    this.reader = reader;
    this.resource = resource;
    this.info = info;
    this.events = events;
    this.controller = new AbortController();
    this.busy = new BusyTimer((isBusy) => events.onBusy(isBusy));
    this.offset = 0; // the byte that is appended next
    this.bufferedTo = 0; // the end of the range that is being read (s)
    this.isScanning = false;
    this.missed = { seconds: -1, times: 0 }; // a time to which an index entry did not lead
    this.unusedBytes = 0; // read since the last segment that extended the buffer
    /** @type {{ bytes: number, until: number }[]} appended segments ahead of the position */
    this.ahead = [];
    /** @type {{ start: number, bytes: Promise<DataView> } | null} the request for the next segment */
    this.next = null;
    /** @type {() => void} */
    this.wake = () => {};
    /** @type {() => void} */
    this.settle = () => {};

    const { signal } = this.controller;
    for (const event of ["timeupdate", "seeking", "play", "waiting", "loadedmetadata"]) {
      video.addEventListener(event, () => this.wake(), { signal });
    }
    this.media = new MediaSource();
    this.media.addEventListener("sourceopen", () => this.run(), { signal, once: true });
    this.url = URL.createObjectURL(this.media);
    video.src = this.url;
  }

  end() {
    this.controller.abort();
    this.busy.stop();
    this.wake();
    this.settle();
    URL.revokeObjectURL(this.url);
  }

  async run() {
    const { events, controller, info } = this;
    try {
      const { mime, duration_s } = info.index;
      if (duration_s) this.media.duration = duration_s;
      this.buffer = this.media.addSourceBuffer(mime);
      while (!controller.signal.aborted) {
        this.aim();
        if (this.offset >= info.size) this.endOfStream();
        if (this.offset < info.size && !this.hasEnough()) {
          await this.readNext();
        } else {
          this.busy.stop();
          await this.nextEvent();
        }
      }
    } catch (error) {
      if (controller.signal.aborted) return;
      this.busy.stop();
      if (error instanceof ReadError) events.onReadError(error.message);
      else events.onFeedError();
    }
  }

  /** Wait for an event of the video. @returns {Promise<void>} */
  nextEvent() {
    return new Promise((resolve) => { this.wake = resolve; });
  }

  /** The end of the buffered range at a time (s); the time itself where nothing is buffered. */
  rangeEnd(/** @type {number} */ seconds, gap_s = 0) {
    const range = rangeList(this.video.buffered).find(([start, end]) => start - gap_s <= seconds && seconds < end);
    return range ? range[1] : seconds;
  }

  /** The starts of the buffered ranges (s). @returns {number[]} */
  rangeStarts() {
    return rangeList(this.video.buffered).map(([start]) => start);
  }

  /**
   * The last index entry from which reading leads to a time, or one before it.
   * @param {number} seconds
   * @param {number} [back] how many entries before it
   * @returns {[number, number]} its time (s), its byte
   */
  entryFor(seconds, back = 0) {
    const { index: entries, init_bytes: first } = this.info.index;
    let [low, high] = [0, entries.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (entries[middle][0] <= seconds - SLACK_S) low = middle + 1;
      else high = middle;
    }
    return low > back ? entries[low - 1 - back] : [0, first];
  }

  /** Go to where the video needs media next, unless reading leads there already. */
  aim() {
    const { currentTime } = this.video;
    if (this.offset < this.info.index.init_bytes) return;
    const needed = this.neededTime();
    const isSame = this.missed.seconds === needed;
    const [, start] = this.entryFor(needed, isSame ? this.missed.times : 0);
    if (start > this.offset || this.bufferedTo > needed + GAP_S) {
      // Reading from there began behind the needed time: start from an earlier entry.
      this.missed = { seconds: needed, times: isSame ? this.missed.times + 1 : 0 };
      if (this.missed.times > MAX_MISSES) throw new Error("no index entry leads to this position");
      this.jump(...this.entryFor(needed, this.missed.times));
    } else if (needed > currentTime) {
      this.missed.seconds = -1;
    }
    const isScanning = this.info.index.index.length === 0 && needed === currentTime && needed > this.bufferedTo + GAP_S;
    if (isScanning !== this.isScanning) this.events.onScan(isScanning);
    this.isScanning = isScanning;
  }

  /** Read on from an index entry. */
  jump(/** @type {number} */ seconds, /** @type {number} */ start) {
    if (this.media.readyState === "open") this.buffer?.abort();
    Object.assign(this, { offset: start, bufferedTo: seconds, ahead: [], next: null, unusedBytes: 0 });
  }

  /** The time of the media that the video needs next (s). */
  neededTime() {
    const { currentTime } = this.video;
    return this.rangeEnd(currentTime, currentTime === 0 ? GAP_S : 0);
  }

  /** Whether enough is buffered for now. */
  hasEnough() {
    const { currentTime, paused } = this.video;
    if (this.offset < this.info.index.init_bytes) return false;
    this.ahead = this.ahead.filter(({ until }) => until > currentTime);
    const seconds = this.neededTime() - currentTime;
    const bytes = this.ahead.reduce((sum, segment) => sum + segment.bytes, 0);
    return seconds >= (paused ? AHEAD_PAUSED_S : AHEAD_S) || (seconds >= MIN_AHEAD_S && bytes >= AHEAD_BYTES);
  }

  /** Request the segment at an offset, once. */
  request(/** @type {number} */ start) {
    const { size, tag } = this.info;
    if (this.next?.start !== start) {
      const bytes = this.reader
        .readRange(this.resource, start, this.controller.signal, Math.min(start + SEGMENT_BYTES, size))
        .then(({ content, bytes: data }) => {
          if (content.tag !== tag || data.byteLength === 0) throw new Error(CHANGED);
          return data;
        })
        .catch((error) => { throw new ReadError(error.message); });
      bytes.catch(() => {}); // it may be of no use any more
      this.next = { start, bytes };
    }
    return this.next.bytes;
  }

  /** Read and append the next segment, unless a seek makes it useless. */
  async readNext() {
    const { signal } = this.controller;
    const start = this.offset;
    this.busy.start();
    const response = this.request(start);
    const received = response.then(() => true);
    for (;;) {
      // A seek does not wait for a segment that it does not need.
      const isReceived = await Promise.race([received, this.nextEvent().then(() => false)]);
      if (signal.aborted) return;
      this.aim();
      if (this.offset !== start) return;
      if (isReceived) break;
    }
    this.busy.stop();
    const bytes = await response;
    this.next = null;
    // The next one is requested while this one is appended.
    const following = start + bytes.byteLength;
    if (following < this.info.size && this.video.readyState > 0 && !this.hasEnough()) this.request(following);
    const starts = this.rangeStarts();
    if (!(await this.append(bytes))) return;
    this.offset = following;
    const before = this.bufferedTo;
    this.bufferedTo = this.rangeEnd(before, GAP_S);
    // The media may start later than the index says.
    const other = this.rangeStarts().find((seconds) => seconds > before && !starts.includes(seconds));
    if (this.bufferedTo === before && other !== undefined) this.bufferedTo = this.rangeEnd(other);
    this.ahead.push({ bytes: bytes.byteLength, until: this.bufferedTo });
    this.unusedBytes = this.bufferedTo > before ? 0 : this.unusedBytes + bytes.byteLength;
    if (this.unusedBytes > MAX_UNUSED_BYTES) throw new Error("the browser finds no media in it");
    const { currentTime, buffered } = this.video;
    if (buffered.length && buffered.start(0) < currentTime - 2 * KEEP_S) await this.removeBefore(currentTime - KEEP_S);
  }

  /**
   * Append bytes; where the buffer is full, remove media or wait.
   * @returns {Promise<boolean>} whether they are appended and no seek has made them useless
   */
  async append(/** @type {DataView} */ bytes) {
    const start = this.offset;
    let tries = 0;
    while (!this.controller.signal.aborted && this.offset === start) {
      try {
        await this.change((buffer) => buffer.appendBuffer(/** @type {any} */ (bytes)));
        return !this.controller.signal.aborted;
      } catch (error) {
        if (/** @type {Error} */ (error).name !== "QuotaExceededError") throw error;
        tries += 1;
        if (tries > MAX_EVICTIONS || !(await this.evict())) {
          const { currentTime } = this.video;
          // It can neither play on with what is buffered nor buffer more.
          if (this.rangeEnd(currentTime) - currentTime < MIN_AHEAD_S) throw error;
          await this.nextEvent();
          tries = 0;
        }
        this.aim();
      }
    }
    return false;
  }

  /** Remove the media that is needed least. @returns {Promise<boolean>} whether there was some */
  async evict() {
    const { currentTime, buffered } = this.video;
    for (const keep_s of [KEEP_S, KEEP_S / 2]) {
      if (await this.removeBefore(currentTime - keep_s)) return true;
    }
    const end_s = this.rangeEnd(currentTime);
    for (const [start, end] of rangeList(buffered)) {
      if (start > end_s + GAP_S && Math.abs(end - this.bufferedTo) > GAP_S) {
        await this.change((buffer) => buffer.remove(start, Infinity));
        return true;
      }
    }
    return this.removeBefore(currentTime - SLACK_S);
  }

  /** Remove the media before a time, in whole segments. */
  async removeBefore(/** @type {number} */ seconds) {
    // Up to the start of a segment: one that is cut is lost up to its next keyframe.
    const until = this.info.index.index.length ? this.entryFor(seconds)[0] : seconds - KEEP_S / 3;
    const { buffered } = this.video;
    if (!buffered.length || buffered.start(0) >= until - SLACK_S) return false;
    await this.change((buffer) => buffer.remove(0, until));
    return true;
  }

  /** Change the buffer and wait until it is done. */
  async change(/** @type {(buffer: SourceBuffer) => void} */ act) {
    const buffer = /** @type {SourceBuffer} */ (this.buffer);
    act(buffer);
    /** @type {Promise<void>} */
    const done = new Promise((resolve, reject) => {
      this.settle = resolve;
      buffer.onupdateend = () => resolve();
      buffer.onerror = () => reject(new Error("the browser could not parse it"));
    });
    await done;
  }

  /** The last byte is appended. */
  endOfStream() {
    const { currentTime } = this.video;
    if (this.neededTime() === currentTime && this.rangeStarts().some((start) => start > currentTime)) {
      throw new Error("the file has no media at this position");
    }
    if (this.media.readyState !== "open") return;
    this.buffer?.abort(); // so that a later segment starts a new sequence
    this.media.endOfStream();
  }
}

/** The kernel could not read the file. */
class ReadError extends Error {}
