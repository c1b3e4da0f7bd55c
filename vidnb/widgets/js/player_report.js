// @ts-check
/**
 * What a view reports of its video: what it shows, or has shown where it rests.
 *
 * @typedef {{
 *   video: HTMLVideoElement, moment: import("./player_rest.js").Moment, rest: import("./player_rest.js").Rest,
 *   journey: import("./player_journey.js").Journey, error: string | null, wantPlaying: boolean, now(): number,
 * }} Reporter
 */

const MOST_SPANS = 16; // a report stays small

/** The spans of time whose bytes have come (s). @returns {[number, number][]} */
export function spansOf(/** @type {import("./player_rest.js").Moment} */ { buffered }) {
  return Array.from({ length: Math.min(buffered?.length ?? 0, MOST_SPANS) }, (_, n) => [buffered.start(n), buffered.end(n)]);
}

export function stateOf(/** @type {Reporter} */ view) {
  const { video, moment, journey } = view;
  const { memory } = view.rest;
  const size = video.videoWidth ? [video.videoWidth, video.videoHeight] : null;
  return {
    sent_s: performance.now() / 1000,
    current_time: view.now(),
    duration: Number.isFinite(moment.duration) ? moment.duration : null,
    paused: video.paused && !(memory && view.wantPlaying),
    ended: memory ? memory.ended : video.ended,
    seeking: memory ? memory.sought : video.seeking,
    loop: video.loop,
    error: view.error,
    route: journey.route,
    buffered: spansOf(moment),
    moving: !memory && !video.paused && !video.seeking && !video.ended && video.readyState > 2,
    playback_rate: video.playbackRate,
    volume: video.volume,
    muted: video.muted,
    size: memory ? memory.size : size,
    routes_tried: journey.tried,
  };
}
