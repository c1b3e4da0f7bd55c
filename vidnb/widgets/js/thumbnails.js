// @ts-check
/**
 * The thumbnails of the timeline: small pictures of key frames, which Python makes when they are needed.
 * One question at a time is under way; of those that arise meanwhile the newest is asked next.
 *
 * The keys of the slider show no thumbnail: they seek, so the video itself shows the frame.
 *
 * @typedef {{ from_s: number, until_s: number, url: string }} Thumbnail the picture for a range of times;
 *   `url` is empty where the key frame cannot be decoded
 */

export const MAX_KEPT = 200;
const TIMEOUT_MS = 30_000; // an answer may be lost with the connection; a busy kernel answers later

/** A JPEG as a URL; a blob's would need an end, and some hosts do not allow it. */
function dataUrl(/** @type {DataView} */ data) {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return `data:image/jpeg;base64,${btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""))}`;
}

export class Thumbnails {
  /**
   * @param {(t_s: number) => void} ask send a question to Python
   * @param {() => void} onAnswer
   * @param {AbortSignal} signal
   */
  constructor(ask, onAnswer, signal) {
    this.ask = ask;
    this.onAnswer = onAnswer;
    this.signal = signal;
    this.isOn = false; // until it is known that Python can read the frames
    /** @type {Thumbnail[]} the most recently used last */
    this.kept = [];
    /** @type {number | null} the time to ask for next (s) */
    this.wanted_s = null;
    this.isAsking = false;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    signal.addEventListener("abort", () => this.clear());
  }

  /**
   * The picture for a time, which is asked for if it is not here.
   * @returns {Thumbnail | null} null while there is none
   */
  get(/** @type {number} */ t_s) {
    if (!this.isOn || this.signal.aborted) return null;
    const place = this.kept.findIndex(({ from_s, until_s }) => t_s >= from_s && t_s < until_s);
    this.wanted_s = place < 0 ? t_s : null;
    if (place < 0) {
      this.askNext();
      return null;
    }
    const [found] = this.kept.splice(place, 1);
    this.kept.push(found);
    return found;
  }

  /** Ask for nothing more: the pointer has left. */
  cancel() {
    this.wanted_s = null;
  }

  askNext() {
    if (this.isAsking || this.wanted_s === null) return;
    this.isAsking = true;
    this.timer = setTimeout(() => { this.isAsking = false; }, TIMEOUT_MS);
    this.ask(this.wanted_s);
    this.wanted_s = null;
  }

  /**
   * @param {{ from_s?: number, until_s?: number | null, is_off: boolean }} answer
   * @param {DataView[] | undefined} buffers
   * @param {number} [shift_s] how much later the times of the answer are than those here
   */
  handleAnswer({ from_s: start_s, until_s, is_off }, buffers, shift_s = 0) {
    clearTimeout(this.timer);
    this.isAsking = false;
    if (is_off) this.isOn = false;
    if (!this.isOn || this.signal.aborted) {
      this.clear();
    } else if (typeof start_s === "number") {
      const from_s = start_s - shift_s;
      const url = buffers?.length ? dataUrl(buffers[0]) : "";
      this.kept = this.kept.filter((one) => one.from_s !== from_s).slice(1 - MAX_KEPT);
      this.kept.push({ from_s, until_s: (until_s ?? Infinity) - shift_s, url });
    }
    this.onAnswer();
    this.askNext();
  }

  /** Forget all pictures, as after a change of the file. */
  clear() {
    clearTimeout(this.timer);
    this.kept = [];
    this.wanted_s = null;
    this.isAsking = false;
  }
}
