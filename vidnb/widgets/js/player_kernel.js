// @ts-check
/**
 * The last road: the bytes come by the kernel's own channel, span after span, as binary messages.
 * What cannot be fed to the browser in pieces is collected as a whole before it plays, since the
 * browser can only seek in what it holds.
 *
 * @typedef {{ mime: string, init_bytes: number, duration_s: number | null, index: [number, number][] }} Outline
 */

const SPAN_BYTES = 2 * 1024 * 1024;
const AT_ONCE = 3; // spans under way: one is read, one travels, one is received
const MOST_BYTES = 256 * 1024 * 1024;
const SILENT_MS = 20000; // a kernel that runs a cell answers when it has ended

/** Tells when the kernel owes an answer for long, and when it speaks again. */
export class Silence {
  constructor(/** @type {(silent: boolean) => void} */ tell) {
    this.tell = tell;
    this.told = false;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
  }

  /** An answer is owed from now on. */
  begin() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.told = true;
      this.tell(true);
    }, SILENT_MS);
  }

  /** It has come, and no other is owed. */
  end() {
    clearTimeout(this.timer);
    if (this.told) this.tell(false);
    this.told = false;
  }
}

export class KernelFiles {
  constructor(/** @type {(letter: object) => void} */ ask) {
    this.ask = ask;
    this.number = 0;
    /** @type {Map<number, (content: any, bytes: DataView | undefined) => void>} */
    this.open = new Map();
  }

  /** Takes an answer of Python's. */
  heard(/** @type {any} */ content, /** @type {DataView[] | undefined} */ buffers) {
    const take = this.open.get(content.number);
    this.open.delete(content.number);
    take?.(content, buffers?.[0]);
  }

  /**
   * Asks, and waits for the answer; an Error's message says why there is none.
   * @param {object} letter
   * @param {AbortSignal} signal
   * @returns {Promise<{ content: any, bytes: DataView | undefined }>}
   */
  answer(letter, signal) {
    this.number += 1;
    const number = this.number;
    return new Promise((resolve, reject) => {
      const stop = () => {
        this.open.delete(number);
        reject(new Error("the player was closed"));
      };
      if (signal.aborted) {
        stop();
        return;
      }
      signal.addEventListener("abort", stop, { once: true });
      this.open.set(number, (content, bytes) => {
        signal.removeEventListener("abort", stop);
        if (content.reason) reject(new Error(content.reason));
        else resolve({ content, bytes });
      });
      this.ask({ ...letter, number });
    });
  }

  /**
   * @param {string} of
   * @param {number} start
   * @param {AbortSignal} signal
   * @param {number} [stop] where it ends, at most as far from the start as one message carries
   * @returns {Promise<{ content: any, bytes: DataView }>}
   */
  async span(of, start, signal, stop = start + SPAN_BYTES) {
    const { content, bytes } = await this.answer({ kind: "span", of, start, stop }, signal);
    if (!bytes) throw new Error("the kernel sent no bytes");
    return { content, bytes };
  }

  /**
   * How a file can be played piece by piece; null where it has to come as a whole.
   * @param {string} of
   * @param {AbortSignal} signal
   * @returns {Promise<{ size: number, tag: string, outline: Outline | null }>}
   */
  async outline(of, signal) {
    const { content } = await this.answer({ kind: "outline", of }, signal);
    return { size: content.size_bytes, tag: content.tag, outline: content.outline ?? null };
  }

  /**
   * The whole file; an Error's message says why not.
   * @param {string} of the name by which the kernel knows it
   * @param {(share: number) => void} progress called with the share that has come, 0 to 1
   * @param {(silent: boolean) => void} waits called when the kernel falls silent, and when it speaks
   * @param {AbortSignal} signal
   * @returns {Promise<Blob>}
   */
  async fetch(of, progress, waits, signal) {
    const silence = new Silence(waits);
    silence.begin();
    const spoke = () => {
      silence.end();
      silence.begin();
    };
    try {
      const first = await this.span(of, 0, signal);
      spoke();
      const { size_bytes: size, tag, media_type: type } = first.content;
      if (size > MOST_BYTES) {
        throw new Error(`it is larger than the ${MOST_BYTES / 2 ** 20} MiB that may come this way`);
      }
      /** @type {DataView[]} */
      const parts = [first.bytes];
      let come = first.bytes.byteLength;
      let next = SPAN_BYTES;
      const worker = async () => {
        while (next < size) {
          const start = next;
          next += SPAN_BYTES;
          const { content, bytes } = await this.span(of, start, signal);
          spoke();
          if (content.tag !== tag) throw new Error("it changed while it was fetched");
          parts[start / SPAN_BYTES] = bytes;
          come += bytes.byteLength;
          progress(come / size);
        }
      };
      progress(come / size);
      await Promise.all(Array.from({ length: AT_ONCE }, worker));
      return new Blob(/** @type {any[]} */ (parts), { type });
    } finally {
      silence.end();
    }
  }
}
