// @ts-check
/**
 * One video of a comparison: a view of a player whose position, rate and pauses the SyncController sets.
 *
 * @typedef {import("./widget.js").Command} Command
 * @typedef {Pick<Command, "t_s" | "step" | "playing" | "rate">} CommonCommand
 * @typedef {import("./sync_controller.js").SyncController} SyncController
 */

import { make, setText } from "./elements.js";
import { drawIcon, iconButton } from "./icons.js";
import { timeCode } from "./messages.js";
import { rangeList } from "./playhead.js";
import { PlayerView } from "./player_view.js";
import { isNewCommand } from "./widget.js";

const EDGE_S = 0.1; // so close to its start or end a range reaches there
const UPDATE_EVENTS = ["waiting", "stalled", "playing", "seeked", "ended", "canplay", "canplaythrough", "loadedmetadata",
  "durationchange", "emptied", "error", "pause"];

export class ComparedVideo extends PlayerView {
  /**
   * @param {import("./widget.js").Model} model of the player
   * @param {HTMLElement} cell
   * @param {AbortSignal} signal
   * @param {{ label: string, offset_s: number, isMuted: boolean, showsOwnTime: boolean }} options
   */
  constructor(model, cell, signal, { label, offset_s, isMuted, showsOwnTime }) {
    super(model, cell, signal);
    this.label = label;
    this.offset_s = offset_s;
    this.pendingTime = Math.max(0, offset_s);
    this.pendingPlay = false;
    /** @type {number | null} */
    this.sought_s = null;
    this.soughtMs = -Infinity;
    /** @type {SyncController | undefined} */
    this.controller = undefined;

    const { video } = this;
    video.controls = false;
    video.tabIndex = -1; // the keys are those of the comparison
    video.loop = false;
    video.muted ||= isMuted;
    cell.setAttribute("role", "group");
    cell.setAttribute("aria-label", label);
    this.waiting = make("div", "vidnb-waiting", "Waiting for data…");
    this.waiting.hidden = true;
    const caption = make("div", "vidnb-caption");
    const title = make("span", "vidnb-label", label);
    title.title = label === this.name ? this.name : `${label} (${this.name})`;
    this.ownTime = make("span", "vidnb-own-time");
    this.ownTime.hidden = !showsOwnTime;
    this.sound = iconButton("sound", `Sound of ${label}`);
    caption.append(title, this.toolbar.delivery, this.ownTime, this.sound);
    this.root.append(this.waiting, caption);
    this.showSound();
  }

  /** It follows the other videos instead of other views. */
  findGroup() {
    return null;
  }

  /** A comparison plays whole videos. */
  findPart() {
    return null;
  }

  /** The other videos need it. */
  maySuspend() {
    return false;
  }

  bindKeys() {}

  setController(/** @type {SyncController} */ controller) {
    this.controller = controller;
    const { video } = this;
    const options = { signal: this.signal };
    for (const event of UPDATE_EVENTS) video.addEventListener(event, () => controller.update(), options);
    video.addEventListener("volumechange", () => this.showSound(), options);
    video.addEventListener("click", () => controller.toggle(), options);
    this.sound.addEventListener("click", () => { video.muted = !video.muted; }, options);
    this.applyCommand(this.model.get("pending_command"));
  }

  /** Of a command to one player, the position, rate and pause apply to all; the sound is its own. */
  applyCommand(/** @type {Command | undefined} */ command) {
    const { controller } = this;
    // While the view is being built there is no controller: it applies the pending command later.
    if (!controller || !command || !isNewCommand(command, this.seq)) return;
    const { t_s, step, playing, rate, loop: _loop, ...own } = command;
    const common_s = typeof t_s === "number" ? Math.max(0, t_s - this.offset_s) : undefined;
    controller.applyCommand({ t_s: common_s, step, playing, rate });
    super.applyCommand(own);
  }

  handleMessage(/** @type {any} */ content, /** @type {DataView[] | undefined} */ buffers) {
    // The comparison restores the common position.
    if (content?.kind !== "restore") super.handleMessage(content, buffers);
  }

  /** Report no play, pause and rate of the sync's own; reportCommon reports those of the comparison. */
  report(/** @type {string} */ event, extra = {}) {
    if (!this.controller || !["play", "pause", "ratechange"].includes(event)) super.report(event, extra);
  }

  reportCommon(/** @type {string} */ event) {
    super.report(event);
  }

  send(/** @type {any} */ content) {
    const { controller } = this;
    super.send(!controller || content.kind !== "state" ? content : {
      ...content, playback_rate: controller.target.rate, paused: content.ended || !controller.target.playing,
    });
  }

  /** @returns {import("./sync_plan.js").VideoState} */
  state(/** @type {number} */ nowMs) {
    const { video } = this;
    const isLoaded = video.readyState > 0;
    return {
      own_s: isLoaded ? video.currentTime : this.pendingTime,
      duration_s: isLoaded ? video.duration : NaN,
      offset_s: this.offset_s,
      rate: video.playbackRate,
      ready: video.readyState >= 3 && !video.seeking,
      seeking: isLoaded && video.seeking,
      paused: video.paused && !(this.pendingPlay && !isLoaded),
      ended: isLoaded && video.ended,
      audible: !video.muted && video.volume > 0,
      failed: this.error !== null,
      sought_s: this.sought_s,
      since_seek_s: (nowMs - this.soughtMs) / 1000,
    };
  }

  /** The buffered ranges in common time (s). @returns {import("./playhead.js").TimeRange[]} */
  bufferedRanges() {
    const { buffered, duration, readyState } = this.video;
    const ranges = readyState ? rangeList(buffered) : [];
    // Before its start and after its end it needs no data.
    return ranges.map(([start, end], index) => [
      index === 0 && start < EDGE_S ? -Infinity : start - this.offset_s,
      index === ranges.length - 1 && end > duration - EDGE_S ? Infinity : end - this.offset_s,
    ]);
  }

  apply(/** @type {import("./sync_plan.js").SyncCommand} */ { playing, seek_s, rate }, /** @type {number} */ nowMs) {
    const { video } = this;
    if (rate !== undefined) this.setExactRate(rate);
    if (seek_s !== undefined) this.seekOwn(seek_s, nowMs);
    if (playing === true) this.start();
    if (playing === false) this.stop();
    setText(this.ownTime, timeCode(video.readyState ? video.currentTime : null));
  }

  /** Seek to an own time (s). */
  seekOwn(/** @type {number} */ own_s, /** @type {number} */ nowMs) {
    this.sought_s = own_s;
    this.soughtMs = nowMs;
    this.seek(own_s);
  }

  setExactRate(/** @type {number} */ rate) {
    try {
      this.video.playbackRate = rate;
    } catch {
      // The browser does not support this rate, of which Controls.setRate has notified the reader.
    }
  }

  handleAutoplayBlocked() {
    this.controller?.handleAutoplayBlocked();
  }

  showSound() {
    const { sound, video } = this;
    const isOn = !video.muted && video.volume > 0;
    sound.replaceChildren(drawIcon(isOn ? "sound" : "silent"));
    sound.setAttribute("aria-pressed", String(isOn));
    sound.title = isOn ? `Mute ${this.label}` : `Unmute ${this.label}`;
  }
}
