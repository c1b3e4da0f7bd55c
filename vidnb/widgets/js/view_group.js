// @ts-check
/**
 * The views of one player in one page. The leader reports to Python and plays the sound. The others
 * are muted and follow it; a view that a person acts on becomes the leader.
 *
 * @typedef {{
 *   own_s: number, duration_s: number, rate: number, paused: boolean, seeking: boolean, ended: boolean,
 *   loop: boolean, since_seek_s: number, seek_duration_s: number,
 * }} FollowerState
 * @typedef {{ t_s: number, rate: number, playing: boolean, isSteady: boolean }} LeaderState `t_s` counts
 *   only while `isSteady`
 * @typedef {{ playing?: boolean, seek_s?: number, rate?: number }} FollowerCommand
 * @typedef {{
 *   sought_s: number, soughtMs: number, seek_s: number, rate: number, paused: boolean, differsSinceMs: number,
 * }} Expected what a view was last told to do; `seek_s` is how long a seek takes
 * @typedef {{
 *   video: HTMLVideoElement, root: HTMLElement, controls: import("./controls.js").Controls, pendingPlay: boolean,
 *   readonly isSuspended: boolean, position(): number, report(event: string, extra?: object): void,
 *   start(): void, stop(): void,
 * }} GroupedView
 */

import { PAUSED_TOLERANCE_S, SEEK_INTERVAL_S, correctedRate, sameRate } from "./drift.js";

const SYNC_MS = 250;
const SEEK_FROM_S = 0.6; // followers are muted, so their rate may change a lot, and a seek takes long
const MAX_CHANGE = 0.5;
const ASSUMED_SEEK_S = 0.1; // until the duration of a seek is known
const MAX_SEEK_S = 1;
const EVENT_TIMEOUT_MS = 2000; // within it an event explains why a view differs from what is expected
const GROUPS = Symbol.for("vidnb.view_groups"); // of this page, shared by all copies of this script

/** What a follower does now. @returns {FollowerCommand} */
export function followerCommand(/** @type {FollowerState} */ own, /** @type {LeaderState} */ leader) {
  /** @type {FollowerCommand} */
  const command = {};
  const isAtEnd = leader.playing && own.ended; // it was slightly faster
  if (own.paused === leader.playing && !isAtEnd) command.playing = leader.playing;
  const drift_s = own.own_s - leader.t_s;
  const hasLooped = own.loop && Math.abs(drift_s) > own.duration_s / 2; // only one of the two so far
  const tolerance_s = leader.playing ? SEEK_FROM_S * Math.max(1, leader.rate) : PAUSED_TOLERANCE_S;
  const isFar = leader.isSteady && !hasLooped && !isAtEnd && Math.abs(drift_s) > tolerance_s;
  let { rate } = leader;
  if (isFar && !own.seeking && (!leader.playing || own.since_seek_s >= SEEK_INTERVAL_S)) {
    command.seek_s = Math.min(own.duration_s, leader.t_s + (leader.playing ? own.seek_duration_s * leader.rate : 0));
  } else if (leader.playing && leader.isSteady && !isFar && !hasLooped && !own.seeking && !own.paused) {
    rate = correctedRate(drift_s, leader.rate, !sameRate(own.rate, leader.rate), MAX_CHANGE);
  }
  if (!sameRate(own.rate, rate)) command.rate = rate;
  return command;
}

/** The group of a player, by a name that is unique to the player. @returns {ViewGroup} */
export function viewGroupOf(/** @type {string} */ name) {
  /** @type {Map<string, ViewGroup>} */
  const groups = (/** @type {any} */ (globalThis)[GROUPS] ??= new Map());
  const group = groups.get(name) ?? new ViewGroup(() => groups.delete(name));
  groups.set(name, group);
  return group;
}

export class ViewGroup {
  constructor(/** @type {() => void} */ onEmpty) {
    this.onEmpty = onEmpty;
    /** @type {Map<GroupedView, Expected>} */
    this.members = new Map();
    /** @type {GroupedView | null} */
    this.leader = null;
    this.playing = false;
    this.rate = 1;
    this.muted = false;
    this.volume = 1;
    /** @type {ReturnType<typeof setInterval> | undefined} */
    this.interval = undefined;
  }

  /** Add a view; one that is added later starts at the position of the leader. */
  join(/** @type {GroupedView} */ view) {
    const { video } = view;
    const expected = {
      sought_s: NaN, soughtMs: -Infinity, seek_s: ASSUMED_SEEK_S, rate: video.playbackRate, paused: video.paused,
      differsSinceMs: Infinity,
    };
    this.members.set(view, expected);
    if (this.leader === null) {
      this.leader = view;
      return;
    }
    if (this.members.size === 2) {
      const { muted, volume, paused, defaultPlaybackRate: rate } = this.leader.video;
      Object.assign(this, { muted, volume, rate, playing: !paused });
    }
    video.muted = true;
    video.volume = this.volume;
    video.loop = this.leader.video.loop;
    this.setRate(view, expected);
    this.interval ??= setInterval(() => this.sync(), SYNC_MS);
  }

  leave(/** @type {GroupedView} */ view) {
    this.members.delete(view);
    if (this.members.size < 2) {
      clearInterval(this.interval);
      this.interval = undefined;
    }
    if (this.members.size === 0) this.onEmpty();
    if (view !== this.leader) return;
    // Preferably one that is in the page and loaded.
    const rank = (/** @type {GroupedView} */ one) => (one.root.isConnected ? 2 : 0) + (one.isSuspended ? 0 : 1);
    const [next = null] = [...this.members.keys()].sort((one, other) => rank(other) - rank(one));
    this.leader = null;
    if (next) this.setLeader(next);
  }

  /** Whether a view is the one that reports to Python. */
  isLeader(/** @type {GroupedView} */ view) {
    return this.leader === view;
  }

  setLeader(/** @type {GroupedView} */ view) {
    if (this.leader === view) return;
    if (this.leader) this.leader.video.muted = true;
    this.leader = view;
    view.video.muted = this.muted;
    view.video.volume = this.volume;
    const expected = this.members.get(view);
    if (expected) this.setRate(view, expected);
    if (this.playing && view.video.paused) view.start();
    if (expected) expected.paused = view.video.paused;
    view.report("leader", { is_leader: true });
  }

  /** Handle an event of a view: what a person did there, the others do too. */
  handleEvent(/** @type {GroupedView} */ view, /** @type {string} */ event) {
    const { video } = view;
    const expected = this.members.get(view);
    if (this.members.size < 2 || !expected) return;
    if (event === "play" || event === "pause") expected.paused = video.paused;
    const isLeader = this.leader === view;
    const others = [...this.members].filter(([other]) => other !== view);
    if (event === "play" && !this.playing && !video.paused) {
      this.playing = true;
      this.setLeader(view);
    } else if (event === "pause" && this.playing && video.paused) {
      // Removing an element from the page pauses it; and a follower may reach the end first.
      if (!view.root.isConnected) {
        const connected = others.find(([other]) => other.root.isConnected);
        if (connected && isLeader) this.setLeader(connected[0]);
        if (connected) return;
      }
      if (!isLeader && video.ended) return;
      this.playing = false;
      this.setLeader(view);
    } else if (event === "seeking") {
      if (!isLeader && Math.abs(video.currentTime - expected.sought_s) < 0.01) return;
      this.setLeader(view);
      for (const [other, its] of others) this.seek(other, video.currentTime, its);
    } else if (event === "ratechange") {
      // A rate other than the expected one was set by a person.
      if (!isLeader && sameRate(video.playbackRate, expected.rate)) return;
      this.rate = video.playbackRate;
      this.setLeader(view);
      for (const [other, its] of others) this.setRate(other, its);
    } else if (event === "volumechange") {
      if (!isLeader && video.muted && video.volume === this.volume) return;
      if (isLeader || !video.muted) this.muted = video.muted;
      this.volume = video.volume;
      this.setLeader(view);
      for (const [other] of others) other.video.volume = this.volume;
    } else {
      if (event === "seeked") expected.seek_s = Math.min(MAX_SEEK_S, (performance.now() - expected.soughtMs) / 1000);
      return;
    }
    this.sync();
  }

  /** Make all followers follow. */
  sync() {
    const { leader } = this;
    if (!leader) return;
    const { video } = leader;
    const leading = {
      t_s: leader.position(), rate: this.rate, playing: this.playing,
      isSteady: !leader.isSuspended && video.readyState > 1 && !video.seeking,
    };
    const nowMs = performance.now();
    for (const [view, expected] of this.members) {
      if (view === leader || view.isSuspended || view.video.readyState === 0) continue;
      const { video: own } = view;
      // A person has acted on it, and its event is on the way.
      const differs = own.paused !== expected.paused || !sameRate(own.playbackRate, expected.rate);
      expected.differsSinceMs = differs ? Math.min(expected.differsSinceMs, nowMs) : Infinity;
      if (differs && nowMs - expected.differsSinceMs < EVENT_TIMEOUT_MS) continue;
      const { playing, seek_s, rate } = followerCommand({
        own_s: own.currentTime, duration_s: own.duration, rate: own.playbackRate, paused: own.paused && !view.pendingPlay,
        seeking: own.seeking, ended: own.ended, loop: own.loop, since_seek_s: (nowMs - expected.soughtMs) / 1000,
        seek_duration_s: expected.seek_s,
      }, leading);
      own.loop = video.loop;
      if (rate !== undefined) {
        expected.rate = rate;
        own.playbackRate = rate;
      }
      if (seek_s !== undefined) this.seek(view, seek_s, expected);
      if (playing === true) view.start();
      if (playing === false) view.stop();
      expected.paused = own.paused;
    }
  }

  /** Seek a follower (s). */
  seek(/** @type {GroupedView} */ view, /** @type {number} */ seconds, /** @type {Expected} */ expected) {
    if (view.isSuspended || view.video.readyState === 0) return;
    view.video.currentTime = seconds;
    Object.assign(expected, { sought_s: view.video.currentTime, soughtMs: performance.now() });
  }

  /** Set the rate of a follower. */
  setRate(/** @type {GroupedView} */ view, /** @type {Expected} */ expected) {
    expected.rate = this.rate;
    if (!sameRate(view.video.playbackRate, this.rate) || !sameRate(view.video.defaultPlaybackRate, this.rate)) {
      view.controls.setRate(this.rate);
    }
  }
}
