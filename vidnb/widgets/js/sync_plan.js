// @ts-check
/**
 * Keeping several videos in sync: from the state of each to what each does next. Pure functions of
 * their arguments, without the page or a clock.
 *
 * All videos have one common time (s); the own time of a video is the common time plus its offset.
 * While they play, one leads and the others are corrected: a small drift by a slightly different rate,
 * a large one by a seek. A video that waits for data pauses the others.
 *
 * @typedef {{
 *   own_s: number, duration_s: number, offset_s: number, rate: number, ready: boolean,
 *   seeking: boolean, paused: boolean, ended: boolean, audible: boolean, failed: boolean,
 *   sought_s: number | null, since_seek_s: number,
 * }} VideoState `failed` is a video that cannot be played, `sought_s` the target of the last seek,
 *   `since_seek_s` the time since then
 * @typedef {{
 *   playing: boolean, gathering: boolean, t_s: number, rate: number, elapsed_s: number,
 * }} SyncTarget what all videos are to do; `gathering` is whether they wait at `t_s` until all are
 *   there, `elapsed_s` the time since the last plan
 * @typedef {{ playing?: boolean, seek_s?: number, rate?: number }} SyncCommand
 * @typedef {{
 *   t_s: number, gathering: boolean, ended: boolean, leader: number, waiting: number[],
 *   commands: SyncCommand[],
 * }} SyncPlan `leader` is -1 where none leads, `waiting` are the videos that pause the others
 * @typedef {import("./playhead.js").TimeRange} TimeRange
 */

import { PAUSED_TOLERANCE_S, SEEK_FROM_S, SEEK_INTERVAL_S, correctedRate, sameRate } from "./drift.js";

const EQUAL_S = 0.001;
const PLAY_OUT_S = 0.25; // a video so close to its end is left to reach it

const isKnown = (/** @type {VideoState} */ video) =>
  !video.failed && video.duration_s >= 0 && Number.isFinite(video.duration_s);

/** The common time at which the last video ends (s). */
export function commonEnd(/** @type {VideoState[]} */ videos) {
  return Math.max(0, ...videos.filter(isKnown).map((video) => video.duration_s - video.offset_s));
}

/** The own time of a video at a common time (s), within its duration. */
export function ownTime(/** @type {VideoState} */ video, /** @type {number} */ t_s) {
  return Math.min(Math.max(0, t_s + video.offset_s), isKnown(video) ? video.duration_s : Infinity);
}

/** Whether a video plays at a common time: it has started and has not ended. */
function isActive(/** @type {VideoState} */ video, /** @type {number} */ t_s) {
  if (video.failed) return false;
  if (!isKnown(video)) return true; // nothing is known of it yet, so the others wait for it
  const own_s = t_s + video.offset_s;
  const left_s = video.duration_s - own_s;
  return own_s >= -EQUAL_S && left_s > EQUAL_S && !(video.ended && left_s < SEEK_FROM_S);
}

/** The video that the others follow: one that is heard, whose rate is not changed, or else the longest. */
function chooseLeader(/** @type {VideoState[]} */ videos, /** @type {number} */ t_s) {
  let best = -1;
  const rank = (/** @type {VideoState} */ video) => [
    video.ready ? 1 : 0, video.audible ? 1 : 0, video.duration_s - video.offset_s];
  for (const [index, video] of videos.entries()) {
    if (!isKnown(video) || !isActive(video, t_s)) continue;
    if (best < 0) {
      best = index;
      continue;
    }
    const [own, others] = [rank(video), rank(videos[best])];
    const differs = own.findIndex((value, place) => value !== others[place]);
    if (differs >= 0 && own[differs] > others[differs]) best = index;
  }
  return best;
}

/** The intersection of lists of time ranges (s), each in order. @returns {TimeRange[]} */
export function intersection(/** @type {TimeRange[][]} */ lists) {
  return lists.reduce((one, other) => one.flatMap(([from, to]) => other
    .map(([start, end]) => /** @type {TimeRange} */ ([Math.max(from, start), Math.min(to, end)]))
    .filter(([start, end]) => start < end)), [[-Infinity, Infinity]]);
}

/**
 * Plan what each video does next.
 * @param {SyncTarget} target
 * @param {VideoState[]} videos
 * @returns {SyncPlan}
 */
export function planSync(target, videos) {
  const end_s = commonEnd(videos);
  const tolerance_s = SEEK_FROM_S * Math.max(1, target.rate);
  const leader = chooseLeader(videos, target.t_s);
  const lead = videos[leader];
  const allKnown = videos.some(isKnown) && videos.every((video) => video.failed || isKnown(video));
  let t_s = target.t_s;
  if (!target.gathering && target.playing) {
    if (lead) t_s = Math.max(0, lead.own_s - lead.offset_s);
    // Where no video plays, between the end of one and the start of the next, the time goes on.
    else if (allKnown) t_s = Math.min(end_s, t_s + target.elapsed_s * target.rate);
  }

  const active = videos.map((video) => isActive(video, t_s));
  const waiting = [...videos.keys()].filter((index) => active[index] && !videos[index].ready);
  const isMoreToCome = videos.some((video, index) => active[index] || (isKnown(video) && t_s + video.offset_s < 0));
  const ended = target.playing && allKnown && (target.gathering ? t_s >= end_s - EQUAL_S : !isMoreToCome);
  const playing = target.playing && !ended;
  if (ended) t_s = end_s;

  // They gather at the position of the last one that waits: it has no data for a later one.
  if (playing && !target.gathering && waiting.length) {
    const behind = waiting.filter((index) => isKnown(videos[index]) && !videos[index].seeking)
      .map((index) => videos[index].own_s - videos[index].offset_s);
    t_s = Math.max(0, Math.min(t_s, ...behind.filter((other_s) => t_s - other_s < 2 * tolerance_s)));
  }
  const distance = (/** @type {VideoState} */ video) => Math.abs(video.own_s - ownTime(video, t_s));
  const allThere = videos.every((video, index) => !active[index] || (video.ready && distance(video) <= tolerance_s));
  const moving = playing && waiting.length === 0 && (!target.gathering || allThere);

  const commands = videos.map((video, index) => {
    /** @type {SyncCommand} */
    const command = {};
    if (video.failed) return command;
    const own_s = ownTime(video, t_s);
    // A video that waits for data is played: while it is paused it gets none.
    const plays = playing && active[index] && (moving || (!video.ready && !video.seeking));
    const playsOut = playing && !active[index] && !video.ended && isKnown(video) &&
      t_s + video.offset_s >= video.duration_s - EQUAL_S && video.duration_s - video.own_s < PLAY_OUT_S;
    if (!playsOut && plays === video.paused) command.playing = plays;

    let rate = target.rate;
    if (moving && plays && video.ready && index !== leader && isKnown(video)) {
      const drift_s = video.own_s - own_s;
      if (Math.abs(drift_s) <= tolerance_s) rate = correctedRate(drift_s, target.rate, !sameRate(video.rate, target.rate));
    }
    if (!sameRate(video.rate, rate)) command.rate = rate;

    const allowed_s = moving || (playing && active[index]) ? tolerance_s : PAUSED_TOLERANCE_S;
    const isSought = video.sought_s !== null && Math.abs(video.sought_s - own_s) < EQUAL_S;
    const maySeek = moving ? !video.seeking && video.since_seek_s >= SEEK_INTERVAL_S : !isSought;
    if (isKnown(video) && !playsOut && index !== (moving ? leader : -1) && distance(video) > allowed_s && maySeek) {
      command.seek_s = own_s;
    }
    return command;
  });
  return { t_s, gathering: !moving, ended, leader, waiting: playing ? waiting : [], commands };
}
