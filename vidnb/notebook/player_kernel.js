// @ts-check
/**
 * The last road: the bytes come by the kernel's own channel, span after span, as binary messages.
 * The whole file is collected before it plays, since the browser can only seek in what it holds.
 */

const SPAN_BYTES = 2 * 1024 * 1024;
const AT_ONCE = 3; // spans under way: one is read, one travels, one is received
const MOST_BYTES = 256 * 1024 * 1024;
const SILENT_MS = 20000; // a kernel that runs a cell answers when it has ended

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

  /** @returns {Promise<{ content: any, bytes: DataView }>} */
  span(/** @type {string} */ of, /** @type {number} */ start, /** @type {AbortSignal} */ signal) {
    this.number += 1;
    const number = this.number;
    return new Promise((resolve, reject) => {
      const stop = () => reject(new Error("the player was closed"));
      signal.addEventListener("abort", stop, { once: true });
      this.open.set(number, (content, bytes) => {
        signal.removeEventListener("abort", stop);
        if (bytes && !content.reason) resolve({ content, bytes });
        else reject(new Error(content.reason ?? "the kernel sent no bytes"));
      });
      this.ask({ kind: "span", number, of, start, stop: start + SPAN_BYTES });
    });
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
    let timer = setTimeout(() => waits(true), SILENT_MS);
    const spoke = () => {
      clearTimeout(timer);
      waits(false);
      timer = setTimeout(() => waits(true), SILENT_MS);
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
      clearTimeout(timer);
    }
  }
}
