// @ts-check
/** Reading by the kernel channel: byte ranges and segments as binary messages. It is the last route. */

const RANGE_BYTES = 2 * 1024 * 1024;
const CONCURRENT_REQUESTS = 3; // one is read, one travels, one is received
const MAX_FILE_BYTES = 256 * 1024 * 1024;
const BUSY_AFTER_MS = 20000; // a kernel that runs a cell responds when the cell has ended
const NO_BYTES = "the kernel sent no bytes";
const CHANGED = "it changed while it was loaded";

/** No segments can be made of a file: the message is a sentence of Python for the reader. */
export class FileError extends Error {}

/** Reports when a response of the kernel is late, and when it has come. */
export class BusyTimer {
  constructor(/** @type {(isBusy: boolean) => void} */ report) {
    this.report = report;
    this.isBusy = false;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
  }

  start() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.isBusy = true;
      this.report(true);
    }, BUSY_AFTER_MS);
  }

  stop() {
    clearTimeout(this.timer);
    if (this.isBusy) this.report(false);
    this.isBusy = false;
  }
}

export class KernelReader {
  constructor(/** @type {(message: object) => void} */ send) {
    this.send = send;
    this.number = 0;
    /** @type {Map<number, (content: any, bytes: DataView | undefined) => void>} */
    this.requests = new Map();
  }

  /** Handle a response of Python. */
  handleResponse(/** @type {any} */ content, /** @type {DataView[] | undefined} */ buffers) {
    const settle = this.requests.get(content.number);
    this.requests.delete(content.number);
    settle?.(content, buffers?.[0]);
  }

  /**
   * Send a request and wait for the response.
   * @param {object} message
   * @param {AbortSignal} signal
   * @returns {Promise<{ content: any, bytes: DataView | undefined }>}
   * @throws {Error} whose message is the reason why there is none
   */
  request(message, signal) {
    this.number += 1;
    const number = this.number;
    return new Promise((resolve, reject) => {
      const abort = () => {
        this.requests.delete(number);
        reject(new Error("the player was closed"));
      };
      if (signal.aborted) {
        abort();
        return;
      }
      signal.addEventListener("abort", abort, { once: true });
      this.requests.set(number, (content, bytes) => {
        signal.removeEventListener("abort", abort);
        if (content.problem) reject(new FileError(content.problem));
        else if (content.reason) reject(new Error(content.reason));
        else resolve({ content, bytes });
      });
      this.send({ ...message, number });
    });
  }

  /**
   * Read a byte range.
   * @param {string} resource
   * @param {number} start
   * @param {AbortSignal} signal
   * @returns {Promise<{ content: any, bytes: DataView }>}
   */
  async readRange(resource, start, signal) {
    const stop = start + RANGE_BYTES;
    const { content, bytes } = await this.request({ kind: "byte_range", resource, start, stop }, signal);
    if (!bytes) throw new Error(NO_BYTES);
    return { content, bytes };
  }

  /**
   * Read the playlist or a segment of a file in a variant.
   * @param {string} resource
   * @param {string} variant
   * @param {string} name
   * @param {AbortSignal} signal
   */
  async readSegment(resource, variant, name, signal) {
    const { bytes } = await this.request({ kind: "segment", resource, variant, name }, signal);
    if (!bytes) throw new Error(NO_BYTES);
    return bytes;
  }

  /**
   * Read a whole file.
   * @param {string} resource
   * @param {(fraction: number) => void} onProgress
   * @param {(isBusy: boolean) => void} onBusy called when the kernel does not respond, and when it does again
   * @param {AbortSignal} signal
   * @returns {Promise<Blob>}
   * @throws {Error} whose message is the reason why not
   */
  async readFile(resource, onProgress, onBusy, signal) {
    const busy = new BusyTimer(onBusy);
    busy.start();
    const read = async (/** @type {number} */ start) => {
      const response = await this.readRange(resource, start, signal);
      busy.stop();
      busy.start();
      return response;
    };
    try {
      const first = await read(0);
      const { size_bytes: size, tag, media_type: type } = first.content;
      if (size > MAX_FILE_BYTES) {
        throw new Error(`it is larger than the ${MAX_FILE_BYTES / 2 ** 20} MiB that can be loaded through the kernel`);
      }
      /** @type {DataView[]} */
      const parts = [first.bytes];
      let received = first.bytes.byteLength;
      let next = RANGE_BYTES;
      const worker = async () => {
        while (next < size) {
          const start = next;
          next += RANGE_BYTES;
          const { content, bytes } = await read(start);
          if (content.tag !== tag) throw new Error(CHANGED);
          parts[start / RANGE_BYTES] = bytes;
          received += bytes.byteLength;
          onProgress(received / size);
        }
      };
      onProgress(received / size);
      await Promise.all(Array.from({ length: CONCURRENT_REQUESTS }, worker));
      return new Blob(/** @type {any[]} */ (parts), { type });
    } finally {
      busy.stop();
    }
  }
}
