// @ts-check
/**
 * The state of a view as it is reported to Python.
 *
 * @typedef {{
 *   video: HTMLVideoElement, playhead: import("./playhead.js").Playhead,
 *   suspension: import("./suspend.js").Suspension, loader: import("./source_loader.js").SourceLoader,
 *   error: string | null, pendingPlay: boolean, position(): number,
 *   controls: import("./controls.js").Controls, part: import("./played_part.js").PlayedPart | null,
 * }} ReportingView
 */

import { rangeList } from "./playhead.js";

const MAX_RANGES = 16; // keeps a report small

/** The fields of a `state` message; times in seconds. */
export function reportedState(/** @type {ReportingView} */ view) {
  const { video, playhead, loader } = view;
  const { saved } = view.suspension;
  const size = video.videoWidth ? [video.videoWidth, video.videoHeight] : null;
  return {
    sent_s: performance.now() / 1000,
    current_time: view.position(),
    shown_s: saved ? null : view.controls.stepper.media_s,
    duration: Number.isFinite(playhead.duration) ? playhead.duration : null,
    paused: video.paused && !(saved && view.pendingPlay),
    ended: view.part?.hasEnded ?? (saved ? saved.ended : video.ended),
    seeking: saved ? saved.sought : video.seeking,
    loop: video.loop,
    error: view.error,
    route: loader.route,
    delivery: loader.kind,
    buffered: rangeList(playhead.buffered).slice(0, MAX_RANGES),
    moving: !saved && !video.paused && !video.seeking && !video.ended && video.readyState > 2,
    playback_rate: video.playbackRate,
    volume: video.volume,
    muted: video.muted,
    size: saved ? saved.size : size,
    routes_tried: loader.failures,
  };
}
