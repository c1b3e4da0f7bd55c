// @ts-check
/**
 * One clock for several videos: from where each of them stands to what each should do. No page, no
 * clock and no chance in here, so that a table can test it.
 *
 * All of them are told one common time (s); the own time of a video is that plus its offset. While
 * they move, one of them leads and the others are corrected: a small drift by a slightly other
 * rate, which nobody notices, a large one by a seek. One that waits for data holds the others.
 *
 * @typedef {{
 *   own_s: number, duration_s: number, offset_s: number, rate: number, ready: boolean,
 *   seeking: boolean, paused: boolean, ended: boolean, audible: boolean, dead: boolean,
 *   sought_s: number | null, since_seek_s: number,
 * }} Voice what one video says of itself; `dead` is one that cannot play at all, `sought_s` where
 *   it was last told to seek, `since_seek_s` how long ago
 * @typedef {{
 *   playing: boolean, standing: boolean, t_s: number, rate: number, elapsed_s: number,
 * }} Score what is asked of all; `standing` is a time that waits until all are there, `elapsed_s`
 *   the time since the last decision
 * @typedef {{ playing?: boolean, seek_s?: number, rate?: number }} Command
 * @typedef {{
 *   t_s: number, standing: boolean, ended: boolean, leader: number, waiting: number[],
 *   commands: Command[],
 * }} Decision `leader` is -1 where none leads, `waiting` are those that hold the others
 */

import { JUMP_S, NEXT_SEEK_S, nudged, sameRate } from "./player_drift.js";

const PAUSED_S = 0.0005; // how exactly they stand together when they stand: two times may lie beside a cut
const SAME_TIME_S = 0.001;
const PLAYS_OUT_S = 0.25; // one so close to its end gets there by itself

const known = (/** @type {Voice} */ voice) => !voice.dead && voice.duration_s >= 0 && Number.isFinite(voice.duration_s);

/** The last common time at which one of them still shows something new (s). */
export function commonEnd(/** @type {Voice[]} */ voices) {
  return Math.max(0, ...voices.filter(known).map((voice) => voice.duration_s - voice.offset_s));
}

/** Where a video belongs at a common time (s): at its start before, and at its end after its turn. */
export function ownTime(/** @type {Voice} */ voice, /** @type {number} */ t_s) {
  return Math.min(Math.max(0, t_s + voice.offset_s), known(voice) ? voice.duration_s : Infinity);
}

/** Whether it is a video's turn at a common time. */
function onTurn(/** @type {Voice} */ voice, /** @type {number} */ t_s) {
  if (voice.dead) return false;
  if (!known(voice)) return true; // nothing is known of it yet, so the others wait for it
  const own_s = t_s + voice.offset_s;
  const left_s = voice.duration_s - own_s;
  return own_s >= -SAME_TIME_S && left_s > SAME_TIME_S && !(voice.ended && left_s < JUMP_S);
}

/** The video that all the others follow: what is heard is not bent, and the longest leads longest. */
function chooseLeader(/** @type {Voice[]} */ voices, /** @type {number} */ t_s) {
  let best = -1;
  const rank = (/** @type {Voice} */ voice) => [
    voice.ready ? 1 : 0, voice.audible ? 1 : 0, voice.duration_s - voice.offset_s];
  for (const [index, voice] of voices.entries()) {
    if (!known(voice) || !onTurn(voice, t_s)) continue;
    if (best < 0) {
      best = index;
      continue;
    }
    const [mine, others] = [rank(voice), rank(voices[best])];
    const differs = mine.findIndex((value, place) => value !== others[place]);
    if (differs >= 0 && mine[differs] > others[differs]) best = index;
  }
  return best;
}

/** What lies in all of several lists of spans (s), each in order. @returns {[number, number][]} */
export function inAll(/** @type {[number, number][][]} */ lists) {
  return lists.reduce((one, other) => one.flatMap(([from, to]) => other
    .map(([start, end]) => /** @type {[number, number]} */ ([Math.max(from, start), Math.min(to, end)]))
    .filter(([start, end]) => start < end)), [[-Infinity, Infinity]]);
}

/**
 * Decides what each video does now.
 * @param {Score} score
 * @param {Voice[]} voices
 * @returns {Decision}
 */
export function conduct(score, voices) {
  const end_s = commonEnd(voices);
  const tolerance_s = JUMP_S * Math.max(1, score.rate);
  const leader = chooseLeader(voices, score.t_s);
  const lead = voices[leader];
  const all = voices.some(known) && voices.every((voice) => voice.dead || known(voice));
  let t_s = score.t_s;
  if (!score.standing && score.playing) {
    if (lead) t_s = Math.max(0, lead.own_s - lead.offset_s);
    // Between two turns only the clock goes on.
    else if (all) t_s = Math.min(end_s, t_s + score.elapsed_s * score.rate);
  }

  const turns = voices.map((voice) => onTurn(voice, t_s));
  const waiting = [...voices.keys()].filter((index) => turns[index] && !voices[index].ready);
  const toCome = voices.some((voice, index) => turns[index] || (known(voice) && t_s + voice.offset_s < 0));
  const ended = score.playing && all && (score.standing ? t_s >= end_s - SAME_TIME_S : !toCome);
  const playing = score.playing && !ended;
  if (ended) t_s = end_s;

  // The slowest tells where they meet again: it lacks the data for any other place.
  if (playing && !score.standing && waiting.length) {
    const behind = waiting.filter((index) => known(voices[index]) && !voices[index].seeking)
      .map((index) => voices[index].own_s - voices[index].offset_s);
    t_s = Math.max(0, Math.min(t_s, ...behind.filter((other_s) => t_s - other_s < 2 * tolerance_s)));
  }
  const away = (/** @type {Voice} */ voice) => Math.abs(voice.own_s - ownTime(voice, t_s));
  const there = voices.every((voice, index) => !turns[index] || (voice.ready && away(voice) <= tolerance_s));
  const moving = playing && waiting.length === 0 && (!score.standing || there);

  const commands = voices.map((voice, index) => {
    /** @type {Command} */
    const command = {};
    if (voice.dead) return command;
    const want_s = ownTime(voice, t_s);
    // One that waits for data gets none while it is paused.
    const plays = playing && turns[index] && (moving || (!voice.ready && !voice.seeking));
    const playsOut = playing && !turns[index] && !voice.ended && known(voice) &&
      t_s + voice.offset_s >= voice.duration_s - SAME_TIME_S && voice.duration_s - voice.own_s < PLAYS_OUT_S;
    if (!playsOut && plays === voice.paused) command.playing = plays;

    let rate = score.rate;
    if (moving && plays && voice.ready && index !== leader && known(voice)) {
      const drift_s = voice.own_s - want_s;
      if (Math.abs(drift_s) <= tolerance_s) rate = nudged(drift_s, score.rate, !sameRate(voice.rate, score.rate));
    }
    if (!sameRate(voice.rate, rate)) command.rate = rate;

    const most_s = moving || (playing && turns[index]) ? tolerance_s : PAUSED_S;
    const sought = voice.sought_s !== null && Math.abs(voice.sought_s - want_s) < SAME_TIME_S;
    const free = moving ? !voice.seeking && voice.since_seek_s >= NEXT_SEEK_S : !sought;
    if (known(voice) && !playsOut && index !== (moving ? leader : -1) && away(voice) > most_s && free) {
      command.seek_s = want_s;
    }
    return command;
  });
  return { t_s, standing: !moving, ended, leader, waiting: playing ? waiting : [], commands };
}
