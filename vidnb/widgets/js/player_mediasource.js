// @ts-check
/**
 * Feeds a video piece by piece by the kernel's own channel: from where it stands some way ahead, and
 * after a seek from the place that the file's index names. What lies far behind is let go.
 *
 * @typedef {import("./player_kernel.js").Outline} Outline
 * @typedef {{ size: number, tag: string, outline: Outline }} Facts
 * @typedef {{
 *   waits(silent: boolean): void, searches(searching: boolean): void, breaks(why: string): void, fails(): void,
 * }} Hooks what is told of a silent kernel, of a long way to a position, of a road that is closed, of a browser that gave up
 */

import { Silence } from "./player_kernel.js";

const PIECE_BYTES = 1024 * 1024;
const AHEAD_S = 30;
const AHEAD_BYTES = 20 * 1024 * 1024;
const AHEAD_PAUSED_S = 10; // perhaps it is never played
const LEAST_S = 2; // so much is needed, whatever it weighs
const KEEP_S = 30; // behind the position
const SLACK_S = 0.25; // pictures and sound of one piece do not begin at the same time, nor where the index says
const TOUCH_S = 0.5; // a gap that is none
const MOST_IN_VAIN_BYTES = 64 * 1024 * 1024; // read without anything to show: not to be fed after all
const MOST_MISSES = 3; // places that led too far
const MOST_ROOMS_MADE = 20; // to make room for one piece

/** Whether this browser can be fed, and with this type. */
export function canFeed(/** @type {string | undefined} */ mime = undefined) {
  const { MediaSource } = globalThis;
  return Boolean(MediaSource) && (mime === undefined || MediaSource.isTypeSupported(mime));
}

export class Reel {
  constructor(
    /** @type {HTMLVideoElement} */ video,
    /** @type {import("./player_kernel.js").KernelFiles} */ files,
    /** @type {string} */ of,
    /** @type {Facts} */ facts,
    /** @type {Hooks} */ hooks,
  ) {
    this.video = video;
    this.files = files;
    this.of = of;
    this.facts = facts;
    this.hooks = hooks;
    this.ends = new AbortController();
    this.silence = new Silence((silent) => hooks.waits(silent));
    this.at = 0; // the byte that is appended next
    this.head = 0; // the time to which has come what is being read (s)
    this.searching = false;
    this.missed = { seconds: -1, times: 0 }; // a time to which a place did not lead
    this.inVain = 0; // bytes that were read since the last one that showed
    /** @type {{ bytes: number, until: number }[]} what was appended and lies ahead */
    this.ahead = [];
    /** @type {{ start: number, coming: Promise<DataView> } | null} asked for already */
    this.next = null;
    /** @type {() => void} */
    this.wake = () => {};
    /** @type {() => void} */
    this.settle = () => {};

    const { signal } = this.ends;
    for (const event of ["timeupdate", "seeking", "play", "waiting", "loadedmetadata"]) {
      video.addEventListener(event, () => this.wake(), { signal });
    }
    this.media = new MediaSource();
    this.media.addEventListener("sourceopen", () => this.run(), { signal, once: true });
    this.url = URL.createObjectURL(this.media);
    video.src = this.url;
  }

  end() {
    this.ends.abort();
    this.silence.end();
    this.wake();
    this.settle();
    URL.revokeObjectURL(this.url);
  }

  async run() {
    const { hooks } = this;
    try {
      const { mime, duration_s: length } = this.facts.outline;
      if (length) this.media.duration = length;
      this.buffer = this.media.addSourceBuffer(mime);
      while (!this.ends.signal.aborted) {
        this.aim();
        if (this.at >= this.facts.size) this.close();
        if (this.at < this.facts.size && !this.isEnough()) {
          await this.bring();
        } else {
          this.silence.end();
          await this.nudge();
        }
      }
    } catch (error) {
      if (this.ends.signal.aborted) return;
      this.silence.end();
      if (error instanceof Closed) hooks.breaks(error.message);
      else hooks.fails();
    }
  }

  /** Waits until something happens to the video. @returns {Promise<void>} */
  nudge() {
    return new Promise((resolve) => { this.wake = resolve; });
  }

  /** The end of what is there without a gap from a time on (s); the time itself where nothing is. */
  heldTo(/** @type {number} */ seconds, touch = 0) {
    const { buffered } = this.video;
    for (let index = 0; index < buffered.length; index += 1) {
      if (buffered.start(index) - touch <= seconds && seconds < buffered.end(index)) return buffered.end(index);
    }
    return seconds;
  }

  /** Where the spans that are there begin (s). @returns {number[]} */
  starts() {
    const { buffered } = this.video;
    return Array.from({ length: buffered.length }, (_, index) => buffered.start(index));
  }

  /**
   * The last place from which reading leads to a time, or one before it.
   * @param {number} seconds
   * @param {number} [back] how many places before it
   * @returns {[number, number]} its time (s), its byte
   */
  placeFor(seconds, back = 0) {
    const { index, init_bytes: first } = this.facts.outline;
    let [low, high] = [0, index.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (index[middle][0] <= seconds - SLACK_S) low = middle + 1;
      else high = middle;
    }
    return low > back ? index[low - 1 - back] : [0, first];
  }

  /** Goes where the video needs what comes next, unless it is on the way there. */
  aim() {
    const { currentTime } = this.video;
    if (this.at < this.facts.outline.init_bytes) return;
    const needed = this.needed();
    const isSame = this.missed.seconds === needed;
    const [, start] = this.placeFor(needed, isSame ? this.missed.times : 0);
    if (start > this.at || this.head > needed + TOUCH_S) {
      // Read from there already, and what came is behind it: so from further back.
      this.missed = { seconds: needed, times: isSame ? this.missed.times + 1 : 0 };
      if (this.missed.times > MOST_MISSES) throw new Error("nothing in it leads to this position");
      this.jump(...this.placeFor(needed, this.missed.times));
    } else if (needed > currentTime) {
      this.missed.seconds = -1;
    }
    const searching = this.facts.outline.index.length === 0 && needed === currentTime && needed > this.head + TOUCH_S;
    if (searching !== this.searching) this.hooks.searches(searching);
    this.searching = searching;
  }

  /** Reads on from a place. */
  jump(/** @type {number} */ seconds, /** @type {number} */ start) {
    if (this.media.readyState === "open") this.buffer?.abort();
    Object.assign(this, { at: start, head: seconds, ahead: [], next: null, inVain: 0 });
  }

  /** The time of what the video needs next (s). */
  needed() {
    const { currentTime } = this.video;
    return this.heldTo(currentTime, currentTime === 0 ? TOUCH_S : 0);
  }

  /** Whether it has enough for now. */
  isEnough() {
    const { currentTime, paused } = this.video;
    if (this.at < this.facts.outline.init_bytes) return false;
    this.ahead = this.ahead.filter(({ until }) => until > currentTime);
    const seconds = this.needed() - currentTime;
    const bytes = this.ahead.reduce((sum, piece) => sum + piece.bytes, 0);
    return seconds >= (paused ? AHEAD_PAUSED_S : AHEAD_S) || (seconds >= LEAST_S && bytes >= AHEAD_BYTES);
  }

  /** Asks for the bytes at a place, once. */
  ask(/** @type {number} */ start) {
    const { size, tag } = this.facts;
    if (this.next?.start !== start) {
      const coming = this.files
        .span(this.of, start, this.ends.signal, Math.min(start + PIECE_BYTES, size))
        .then(({ content, bytes }) => {
          if (content.tag !== tag || bytes.byteLength === 0) throw new Error("it changed while it was fetched");
          return bytes;
        })
        .catch((error) => { throw new Closed(error.message); });
      coming.catch(() => {}); // one that nobody waits for any more
      this.next = { start, coming };
    }
    return this.next.coming;
  }

  /** Fetches the next piece and hands it over, unless the video went elsewhere meanwhile. */
  async bring() {
    const { signal } = this.ends;
    const start = this.at;
    this.silence.begin();
    const coming = this.ask(start);
    const arrived = coming.then(() => true);
    for (;;) {
      // A seek does not wait for what it has no use for.
      const came = await Promise.race([arrived, this.nudge().then(() => false)]);
      if (signal.aborted) return;
      this.aim();
      if (this.at !== start) return;
      if (came) break;
    }
    this.silence.end();
    const bytes = await coming;
    this.next = null;
    // While this one is taken in, the next is on its way.
    const follows = start + bytes.byteLength;
    if (follows < this.facts.size && this.video.readyState > 0 && !this.isEnough()) this.ask(follows);
    const starts = this.starts();
    if (!(await this.append(bytes))) return;
    this.at = follows;
    const before = this.head;
    this.head = this.heldTo(before, TOUCH_S);
    // It began later than the place said: there it is.
    const other = this.starts().find((seconds) => seconds > before && !starts.includes(seconds));
    if (this.head === before && other !== undefined) this.head = this.heldTo(other);
    this.ahead.push({ bytes: bytes.byteLength, until: this.head });
    this.inVain = this.head > before ? 0 : this.inVain + bytes.byteLength;
    if (this.inVain > MOST_IN_VAIN_BYTES) throw new Error("the browser finds nothing in it");
    const { currentTime, buffered } = this.video;
    if (buffered.length && buffered.start(0) < currentTime - 2 * KEEP_S) await this.letGo(currentTime - KEEP_S);
  }

  /**
   * Hands bytes to the browser; where it has no room, makes some, or waits until there is.
   * @returns {Promise<boolean>} whether they are there, and the video has not gone elsewhere meanwhile
   */
  async append(/** @type {DataView} */ bytes) {
    const start = this.at;
    let tries = 0;
    while (!this.ends.signal.aborted && this.at === start) {
      try {
        await this.change((buffer) => buffer.appendBuffer(/** @type {any} */ (bytes)));
        return !this.ends.signal.aborted;
      } catch (error) {
        if (/** @type {Error} */ (error).name !== "QuotaExceededError") throw error;
        tries += 1;
        if (tries > MOST_ROOMS_MADE || !(await this.makeRoom())) {
          const { currentTime } = this.video;
          // It cannot go on with what it holds, nor take more.
          if (this.heldTo(currentTime) - currentTime < LEAST_S) throw error;
          await this.nudge();
          tries = 0;
        }
        this.aim();
      }
    }
    return false;
  }

  /** Lets go of what is least needed. @returns {Promise<boolean>} whether there was something */
  async makeRoom() {
    const { currentTime, buffered } = this.video;
    const held = this.heldTo(currentTime);
    for (const keep of [KEEP_S, KEEP_S / 2]) {
      if (await this.letGo(currentTime - keep)) return true;
    }
    for (let index = 0; index < buffered.length; index += 1) {
      const start = buffered.start(index);
      if (start > held + TOUCH_S && Math.abs(buffered.end(index) - this.head) > TOUCH_S) {
        await this.change((buffer) => buffer.remove(start, Infinity));
        return true;
      }
    }
    return this.letGo(currentTime - SLACK_S);
  }

  /** Lets go of what lies before a time, as far as whole pieces do. */
  async letGo(/** @type {number} */ seconds) {
    // Up to where a piece begins: what is cut in the middle is gone up to the next one.
    const until = this.facts.outline.index.length ? this.placeFor(seconds)[0] : seconds - KEEP_S / 3;
    const { buffered } = this.video;
    if (!buffered.length || buffered.start(0) >= until - SLACK_S) return false;
    await this.change((buffer) => buffer.remove(0, until));
    return true;
  }

  /** Does something to the buffer and waits for its end. */
  async change(/** @type {(buffer: SourceBuffer) => void} */ act) {
    const buffer = /** @type {SourceBuffer} */ (this.buffer);
    act(buffer);
    /** @type {Promise<void>} */
    const done = new Promise((resolve, reject) => {
      this.settle = resolve;
      buffer.onupdateend = () => resolve();
      buffer.onerror = () => reject(new Error("the browser could not take it in"));
    });
    await done;
  }

  /** All has come that follows. */
  close() {
    const { currentTime } = this.video;
    if (this.needed() === currentTime && this.starts().some((start) => start > currentTime)) {
      throw new Error("this position is in none of it");
    }
    if (this.media.readyState !== "open") return;
    this.buffer?.abort(); // whatever is read after this begins anew
    this.media.endOfStream();
  }
}

/** The kernel has no more of this file. */
class Closed extends Error {}
