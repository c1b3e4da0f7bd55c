// @ts-check
/** Reading the playlist and the segments of a video, by HTTP or by the kernel channel. */

import { BusyTimer, FileError } from "./kernel_channel.js";
import { NO_RESPONSE } from "./routes.js";

const RETRY_MS = 500;
const PROBLEM_STATUS = 422; // vidnb's own, with a sentence about the file

/**
 * @typedef {(name: string, signal: AbortSignal) => Promise<ArrayBuffer | DataView>} ReadPart
 * @typedef {{ name: string, start_s: number, end_s: number }} Segment its times are those of the player
 * @typedef {{ start_s: number, init: string, segments: Segment[], duration_s: number, isComplete: boolean }} Playlist
 *   `start_s` is the time of the container's clock at which the player's time is 0
 */

/** A route failed; `status` is that of the response, null for none. */
export class ReadError extends Error {
  constructor(/** @type {string} */ reason, /** @type {number | null} */ status = null) {
    super(reason);
    this.status = status;
  }
}

/** The URL of a playlist or segment beside the file at a URL. */
export function segmentUrl(/** @type {string} */ url, /** @type {string} */ variant, /** @type {string} */ name) {
  const [path, query] = url.split("?", 2);
  return `${path.slice(0, path.lastIndexOf("/") + 1)}${variant}/${name}${query === undefined ? "" : `?${query}`}`;
}

/**
 * Read by HTTP, beside the file at `url`. A request that fails is repeated once.
 * @returns {ReadPart}
 */
export function httpReader(/** @type {string} */ url, /** @type {string} */ variant) {
  return async (name, signal) => {
    for (let isLast = false; ; isLast = true) {
      const failure = await fetchPart(segmentUrl(url, variant, name), signal);
      if (!(failure instanceof ReadError)) return failure;
      if (isLast) throw failure;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  };
}

/** @returns {Promise<ArrayBuffer | ReadError>} */
async function fetchPart(/** @type {string} */ url, /** @type {AbortSignal} */ signal) {
  let response;
  try {
    // A playlist may grow, a segment never changes.
    response = await fetch(url, { signal, cache: url.includes(".m3u8") ? "no-store" : "default" });
    if (response.ok) return await response.arrayBuffer();
  } catch (error) {
    if (signal.aborted) throw error;
    return new ReadError(NO_RESPONSE);
  }
  const { headers, status } = response;
  if (status === PROBLEM_STATUS && headers.get("Content-Type")?.startsWith("text/plain")) {
    throw new FileError((await response.text()).trim());
  }
  return new ReadError(`status ${status}`, status);
}

/**
 * Read by the kernel channel.
 * @param {import("./kernel_channel.js").KernelReader} kernel
 * @param {string} resource
 * @param {string} variant
 * @param {(isBusy: boolean) => void} onBusy called when the kernel does not respond, and when it does again
 * @returns {ReadPart}
 */
export function kernelReader(kernel, resource, variant, onBusy) {
  const busy = new BusyTimer(onBusy);
  return async (name, signal) => {
    busy.start();
    try {
      return await kernel.readSegment(resource, variant, name, signal);
    } catch (error) {
      if (signal.aborted || error instanceof FileError) throw error;
      throw new ReadError(/** @type {Error} */ (error).message);
    } finally {
      busy.stop();
    }
  };
}

/**
 * Parse a playlist (RFC 8216) of vidnb. Its own tag carries the start; other players ignore it.
 * @returns {Playlist}
 * @throws {ReadError} where it is none
 */
export function parsePlaylist(/** @type {string} */ text) {
  if (!text.startsWith("#EXTM3U")) throw new ReadError("another server responds at its URL");
  /** @type {Segment[]} */
  const segments = [];
  let end_s = 0;
  for (const [, duration, name] of text.matchAll(/^#EXTINF:([0-9.]+),[^\n]*\n([^#\n]+)$/gm)) {
    const start_s = end_s;
    end_s += Number(duration);
    segments.push({ name, start_s, end_s });
  }
  return {
    start_s: Number(/^#EXT-X-VIDNB-START:([0-9.]+)$/m.exec(text)?.[1] ?? 0),
    init: /^#EXT-X-MAP:.*?URI="([^"]+)"/m.exec(text)?.[1] ?? "init.mp4",
    segments,
    duration_s: end_s,
    isComplete: /^#EXT-X-ENDLIST$/m.test(text),
  };
}
