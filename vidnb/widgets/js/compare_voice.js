// @ts-check
/**
 * One video of a comparison: a player's view whose position, rate and pauses are the stage's.
 *
 * @typedef {import("./player.js").Model} Model
 * @typedef {import("./player.js").Wish} Wish
 * @typedef {import("./compare_clock.js").Voice} VoiceState
 * @typedef {import("./compare_clock.js").Command} Command
 * @typedef {{ t_s?: number, step?: number, playing?: boolean, rate?: number }} Common
 * @typedef {{
 *   score: { playing: boolean, rate: number },
 *   obey(common: Common): void, stir(): void, refused(): void, toggle(): void,
 * }} Conductor
 */

import { drawIcon, iconButton, make } from "./player_elements.js";
import { View } from "./player.js";
import { timeCode } from "./player_words.js";

const STIRRING = ["waiting", "stalled", "playing", "seeked", "ended", "canplay", "canplaythrough", "loadedmetadata",
  "durationchange", "emptied", "error", "pause"];

/** A player's model, as much as a view needs of it; what listens to it ends with the view. */
export class PlayerModel {
  constructor(/** @type {any} */ model) {
    this.model = model;
  }

  get(/** @type {string} */ name) {
    return this.model.get(name);
  }

  send(/** @type {any[]} */ ...message) {
    this.model.send(...message);
  }

  on(/** @type {string} */ name, /** @type {(...args: any[]) => void} */ callback) {
    this.model.on(name, callback, this);
  }

  leave() {
    this.model.off(null, null, this);
  }
}

export class Voice extends View {
  /**
   * @param {Model} model
   * @param {HTMLElement} cell where it is shown
   * @param {string} label
   * @param {number} offset_s
   * @param {boolean} silent
   */
  constructor(model, cell, label, offset_s, silent) {
    super(model, cell);
    this.cell = cell;
    this.label = label;
    this.offset_s = offset_s;
    this.wantTime = Math.max(0, offset_s);
    this.wantPlaying = false;
    /** @type {number | null} */
    this.sought_s = null;
    this.soughtMs = -Infinity;
    /** @type {Conductor | undefined} */
    this.stage = undefined;

    const { video } = this;
    video.controls = false;
    video.tabIndex = -1; // the keys are those of the comparison
    video.loop = false;
    video.muted = silent || video.muted;
    cell.setAttribute("role", "group");
    cell.setAttribute("aria-label", label);
    this.waits = make("div", "vidnb-waits", "Waiting for data…");
    this.waits.hidden = true;
    this.root.append(this.waits, this.foot());
  }

  /** The row under the picture: what it is, where it is, and its sound. */
  foot() {
    const foot = make("div", "vidnb-foot");
    const label = make("span", "vidnb-label", this.label);
    label.title = this.label === this.name ? this.name : `${this.label} (${this.name})`;
    this.own = make("span", "vidnb-own");
    this.own.hidden = true;
    this.sound = iconButton("sound", `Sound of ${this.label}`);
    foot.append(label, this.own, this.sound);
    this.showSound();
    return foot;
  }

  /** Its company are the other videos. */
  alone() {
    return true;
  }

  /** It is as little at rest as the others are, whose clock it keeps. */
  mayRest() {
    return false;
  }

  join(/** @type {Conductor} */ stage) {
    this.stage = stage;
    const { video } = this;
    const options = { signal: this.ends.signal };
    for (const event of STIRRING) video.addEventListener(event, () => stage.stir(), options);
    video.addEventListener("volumechange", () => this.showSound(), options);
    video.addEventListener("click", () => stage.toggle(), options);
    this.sound?.addEventListener("click", () => { video.muted = !video.muted; }, options);
    this.obey(this.early);
  }

  /** What one player is told about time, all do; its sound is its own. */
  obey(/** @type {Wish | undefined} */ wish) {
    const { stage } = this;
    if (!stage) {
      this.early = wish; // there is no stage while the view is being built
      return;
    }
    if (wish?.v !== 1 || !(wish.seq > this.seq)) return;
    const { t_s, step, playing, rate, loop: _loop, ...own } = wish;
    stage.obey({ t_s: typeof t_s === "number" ? Math.max(0, t_s - this.offset_s) : undefined, step, playing, rate });
    super.obey(own);
  }

  told(/** @type {any} */ content) {
    // Where a view that comes later goes on, the stage is told for all.
    if (content?.kind !== "resume") super.told.apply(this, /** @type {any} */ (arguments));
  }

  /** Tells Python nothing of how this one is held and corrected; what all do, the stage announces. */
  report(/** @type {string} */ event, extra = {}) {
    if (!this.stage || !["play", "pause", "ratechange"].includes(event)) super.report(event, extra);
  }

  announce(/** @type {string} */ event) {
    super.report(event);
  }

  send(/** @type {any} */ content) {
    const { stage } = this;
    super.send(!stage || content.kind !== "state" ? content : {
      ...content, playback_rate: stage.score.rate, paused: content.ended || !stage.score.playing,
    });
  }

  /** @returns {VoiceState} */
  state(/** @type {number} */ nowMs) {
    const { video } = this;
    const live = video.readyState > 0;
    return {
      own_s: live ? video.currentTime : this.wantTime,
      duration_s: live ? video.duration : NaN,
      offset_s: this.offset_s,
      rate: video.playbackRate,
      ready: video.readyState >= 3 && !video.seeking,
      seeking: live && video.seeking,
      paused: video.paused && !(this.wantPlaying && !live),
      ended: live && video.ended,
      audible: !video.muted && video.volume > 0,
      dead: this.error !== null,
      sought_s: this.sought_s,
      since_seek_s: (nowMs - this.soughtMs) / 1000,
    };
  }

  /** @returns {[number, number][]} what of it has arrived, in common time (s) */
  arrivedSpans() {
    const { buffered, duration, readyState } = this.video;
    if (!readyState) return [];
    /** @type {[number, number][]} */
    const spans = [];
    for (let index = 0; index < buffered.length; index += 1) {
      spans.push([buffered.start(index) - this.offset_s, buffered.end(index) - this.offset_s]);
    }
    // Before its turn and after it, one lacks nothing.
    if (spans.length && buffered.start(0) < 0.1) spans[0][0] = -Infinity;
    const last = spans.at(-1);
    if (last && last[1] > duration - this.offset_s - 0.1) last[1] = Infinity;
    return spans;
  }

  act(/** @type {Command} */ { playing, seek_s, rate }, /** @type {number} */ nowMs) {
    const { video } = this;
    if (rate !== undefined) this.bend(rate);
    if (seek_s !== undefined) this.goTo(seek_s, nowMs);
    if (playing === true) this.begin();
    if (playing === false) this.stop();
    this.own && (this.own.textContent = timeCode(video.readyState ? video.currentTime : null));
  }

  goTo(/** @type {number} */ own_s, /** @type {number} */ nowMs) {
    this.sought_s = own_s;
    this.soughtMs = nowMs;
    this.seek(own_s);
  }

  bend(/** @type {number} */ rate) {
    try {
      this.video.playbackRate = rate;
    } catch {
      // A rate that this browser does not play: setRate has said so.
    }
  }

  begin() {
    const { video, stage } = this;
    if (video.readyState === 0) {
      this.start();
      return;
    }
    video.play().catch((/** @type {Error} */ reason) => {
      if (reason.name === "NotAllowedError") stage?.refused();
    });
  }

  showSound() {
    const { sound, video } = this;
    if (!sound) return;
    const on = !video.muted && video.volume > 0;
    sound.replaceChildren(drawIcon(on ? "sound" : "silent"));
    sound.setAttribute("aria-pressed", String(on));
    sound.title = on ? `Mute ${this.label}` : `Hear ${this.label}`;
  }

  end() {
    this.stage = undefined;
    super.end();
  }
}
