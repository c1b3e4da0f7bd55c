// @ts-check
/**
 * The views of one player on one page. One of them leads: it tells Python, and is heard. The others
 * are silent and follow it; where a person acts in one of them, that one leads from then on.
 *
 * @typedef {{
 *   own_s: number, duration_s: number, rate: number, paused: boolean, seeking: boolean, ended: boolean,
 *   loop: boolean, since_seek_s: number, seek_takes_s: number,
 * }} Follower what a view that follows says of itself
 * @typedef {{ t_s: number, rate: number, playing: boolean, steady: boolean }} Lead what the leading
 *   one does; its time counts only while it is `steady`
 * @typedef {{ playing?: boolean, seek_s?: number, rate?: number }} Command
 * @typedef {{ sought_s: number, soughtMs: number, seek_s: number, rate: number, paused: boolean, oddMs: number }} Told
 *   what a view was told; `oddMs` is since when it does something else
 * @typedef {{
 *   video: HTMLVideoElement, root: HTMLElement, deck: import("./player_deck.js").Deck, wantPlaying: boolean,
 *   rest: import("./player_rest.js").Rest, now(): number, report(event: string, extra?: object): void,
 *   start(): void, stop(): void,
 * }} Member
 */

import { NEXT_SEEK_S, nudged, sameRate } from "./player_drift.js";

const CALL_MS = 250;
const SAME_S = 0.0005; // how exactly they stand together when they stand: two times may lie beside a cut
const JUMP_FROM_S = 0.6; // what a seek mends better than a rate: silent, one may be bent far, and a seek costs much
const MOST_BENT = 0.5;
const SEEK_S = 0.1; // what a seek takes, in which the others play on, until that is known
const MOST_SEEK_S = 1;
const ODD_MS = 2000; // until then an event says why a view does something else
const COMPANIES = Symbol.for("vidnb.companies"); // of this page, over all copies of this script

/** What a view that follows does now. @returns {Command} */
export function followed(/** @type {Follower} */ own, /** @type {Lead} */ lead) {
  /** @type {Command} */
  const command = {};
  const out = lead.playing && own.ended; // it was a little faster
  if (own.paused === lead.playing && !out) command.playing = lead.playing;
  const drift_s = own.own_s - lead.t_s;
  const wrapped = own.loop && Math.abs(drift_s) > own.duration_s / 2; // one has begun anew, the other will
  const most_s = lead.playing ? JUMP_FROM_S * Math.max(1, lead.rate) : SAME_S;
  const far = lead.steady && !wrapped && !out && Math.abs(drift_s) > most_s;
  let { rate } = lead;
  if (far && !own.seeking && (!lead.playing || own.since_seek_s >= NEXT_SEEK_S)) {
    command.seek_s = Math.min(own.duration_s, lead.t_s + (lead.playing ? own.seek_takes_s * lead.rate : 0));
  } else if (lead.playing && lead.steady && !far && !wrapped && !own.seeking && !own.paused) {
    rate = nudged(drift_s, lead.rate, !sameRate(own.rate, lead.rate), MOST_BENT);
  }
  if (!sameRate(own.rate, rate)) command.rate = rate;
  return command;
}

/** The company of a player, by a name that no other player has. @returns {Company} */
export function companyOf(/** @type {string} */ name) {
  /** @type {Map<string, Company>} */
  const all = (/** @type {any} */ (globalThis)[COMPANIES] ??= new Map());
  const company = all.get(name) ?? new Company(() => all.delete(name));
  all.set(name, company);
  return company;
}

export class Company {
  constructor(/** @type {() => void} */ dissolve) {
    this.dissolve = dissolve;
    /** @type {Map<Member, Told>} what each was told to do */
    this.members = new Map();
    /** @type {Member | null} */
    this.leader = null;
    this.playing = false;
    this.rate = 1;
    this.muted = false;
    this.volume = 1;
    /** @type {ReturnType<typeof setInterval> | undefined} */
    this.beat = undefined;
  }

  /** Takes a view in; a later one begins where the leading one is. */
  join(/** @type {Member} */ view) {
    const told = { sought_s: NaN, soughtMs: -Infinity, seek_s: SEEK_S, rate: view.video.playbackRate, paused: view.video.paused, oddMs: Infinity };
    this.members.set(view, told);
    if (this.leader === null) {
      this.leader = view;
      return;
    }
    if (this.members.size === 2) this.note(this.leader.video);
    view.video.muted = true;
    view.video.volume = this.volume;
    view.video.loop = this.leader.video.loop;
    this.setRate(view, told);
    this.beat ??= setInterval(() => this.call(), CALL_MS);
  }

  leave(/** @type {Member} */ view) {
    this.members.delete(view);
    if (this.members.size < 2) {
      clearInterval(this.beat);
      this.beat = undefined;
    }
    if (this.members.size === 0) this.dissolve();
    if (view !== this.leader) return;
    // Best one that is on the page and there already.
    const rank = (/** @type {Member} */ one) => (one.root.isConnected ? 2 : 0) + (one.rest.away ? 0 : 1);
    const [heir = null] = [...this.members.keys()].sort((one, other) => rank(other) - rank(one));
    this.leader = null;
    if (heir) this.lead(heir);
  }

  /** Whether a view is the one that tells Python. */
  leads(/** @type {Member} */ view) {
    return this.leader === view;
  }

  /** Takes note of how the leading one is to be heard. */
  note(/** @type {HTMLVideoElement} */ video) {
    const { muted, volume, paused, defaultPlaybackRate: rate } = video;
    Object.assign(this, { muted, volume, rate, playing: !paused });
  }

  /** Has a view lead from here on. */
  lead(/** @type {Member} */ view) {
    if (this.leader === view) return;
    if (this.leader) this.leader.video.muted = true;
    this.leader = view;
    view.video.muted = this.muted;
    view.video.volume = this.volume;
    const told = this.members.get(view);
    if (told) this.setRate(view, told);
    if (this.playing && view.video.paused) view.start();
    if (told) told.paused = view.video.paused;
    view.report("lead", { leads: true });
  }

  /** Hears what happens in a view; what a person did there, the others do. */
  heard(/** @type {Member} */ view, /** @type {string} */ event) {
    const { video } = view;
    const told = this.members.get(view);
    if (this.members.size < 2 || !told) return;
    if (event === "play" || event === "pause") told.paused = video.paused;
    const leads = this.leader === view;
    const others = [...this.members].filter(([other]) => other !== view);
    if (event === "play" && !this.playing && !video.paused) {
      this.playing = true;
      this.lead(view);
    } else if (event === "pause" && this.playing && video.paused) {
      // An element that is taken off the page is paused by that; and one may reach the end first.
      if (!view.root.isConnected) {
        const here = others.find(([other]) => other.root.isConnected);
        if (here && leads) this.lead(here[0]);
        if (here) return;
      }
      if (!leads && video.ended) return;
      this.playing = false;
      this.lead(view);
    } else if (event === "seeking") {
      if (!leads && Math.abs(video.currentTime - told.sought_s) < 0.01) return;
      this.lead(view);
      for (const [other, its] of others) this.send(other, video.currentTime, its);
    } else if (event === "ratechange") {
      // A view that follows is told its rate; another one is a person's wish.
      if (!leads && sameRate(video.playbackRate, told.rate)) return;
      this.rate = video.playbackRate;
      this.lead(view);
      for (const [other, its] of others) this.setRate(other, its);
    } else if (event === "volumechange") {
      if (!leads && video.muted && video.volume === this.volume) return;
      if (leads || !video.muted) this.muted = video.muted;
      this.volume = video.volume;
      this.lead(view);
      for (const [other] of others) other.video.volume = this.volume;
    } else {
      if (event === "seeked") told.seek_s = Math.min(MOST_SEEK_S, (performance.now() - told.soughtMs) / 1000);
      return;
    }
    this.call();
  }

  /** Has all the others follow. */
  call() {
    const { leader } = this;
    if (!leader) return;
    const { video } = leader;
    const lead = {
      t_s: leader.now(), rate: this.rate, playing: this.playing,
      steady: !leader.rest.away && video.readyState > 1 && !video.seeking,
    };
    const nowMs = performance.now();
    for (const [view, told] of this.members) {
      if (view === leader || view.rest.away || view.video.readyState === 0) continue;
      const { video: own } = view;
      // Somebody has pressed something, and the event that tells of it is on its way.
      const isOdd = own.paused !== told.paused || !sameRate(own.playbackRate, told.rate);
      told.oddMs = isOdd ? Math.min(told.oddMs, nowMs) : Infinity;
      if (isOdd && nowMs - told.oddMs < ODD_MS) continue;
      const { playing, seek_s, rate } = followed({
        own_s: own.currentTime, duration_s: own.duration, rate: own.playbackRate, paused: own.paused && !view.wantPlaying,
        seeking: own.seeking, ended: own.ended, loop: own.loop, since_seek_s: (nowMs - told.soughtMs) / 1000,
        seek_takes_s: told.seek_s,
      }, lead);
      own.loop = video.loop;
      if (rate !== undefined) {
        told.rate = rate;
        own.playbackRate = rate;
      }
      if (seek_s !== undefined) this.send(view, seek_s, told);
      if (playing === true) view.start();
      if (playing === false) view.stop();
      told.paused = own.paused;
    }
  }

  /** Sends a view that follows to a time (s). */
  send(/** @type {Member} */ view, /** @type {number} */ seconds, /** @type {Told} */ told) {
    if (view.rest.away || view.video.readyState === 0) return;
    view.video.currentTime = seconds;
    Object.assign(told, { sought_s: view.video.currentTime, soughtMs: performance.now() });
  }

  /** Tells a view the rate of all. */
  setRate(/** @type {Member} */ view, /** @type {Told} */ told) {
    told.rate = this.rate;
    if (!sameRate(view.video.playbackRate, this.rate) || !sameRate(view.video.defaultPlaybackRate, this.rate)) {
      view.deck.setRate(this.rate);
    }
  }
}
