// @ts-check
/**
 * How the video of a file is delivered: the file itself, or segments that Python remuxes or transcodes.
 *
 * @typedef {{ kind: "direct" | "remux" | "transcode", variant: string, type: string, reason: string }} Delivery
 *   `variant` is the folder of the segments, `type` the MIME type with codecs ("" if it is not known),
 *   `reason` says why it is not the file itself
 */

const VIDEO_CODEC = /^(avc|hvc|hev|dvh|av01|vp0?[89]|mp4v|theora)/i;

/**
 * Choose the delivery for a route: the first one that the browser plays.
 *
 * Jupyter's `/files/` delivers the file alone. The kernel channel would need all of it, so segments come
 * first there. Where the browser plays none, it gets the file itself, and says what is wrong with it.
 * @param {Delivery[]} deliveries best first
 * @param {string} route
 * @param {(type: string) => boolean} canPlay whether the browser plays a file of a type
 * @param {(type: string) => boolean} isSupported whether it plays segments of a type
 * @returns {Delivery | null} null where another route may deliver what the browser plays
 */
export function chooseDelivery(deliveries, route, canPlay, isSupported) {
  const direct = deliveries.find(({ kind }) => kind === "direct") ?? null;
  const segments = deliveries.filter(({ kind, type }) => kind !== "direct" && isSupported(type));
  if (route === "kernel") return segments[0] ?? direct;
  const found = deliveries.find((delivery) =>
    delivery === direct ? !delivery.type || canPlay(delivery.type) : route !== "files" && segments.includes(delivery));
  return found ?? (segments.length ? null : direct);
}

/** Whether a MIME type with codecs names one of a picture. */
export function hasPicture(/** @type {string} */ type) {
  const [, codecs = ""] = /codecs="([^"]*)"/.exec(type) ?? [];
  return codecs.split(",").some((codec) => VIDEO_CODEC.test(codec.trim()));
}
