// @ts-check
/**
 * Runs the videos of a comparison in sync: reads their states, lets planSync() decide, and applies the
 * plan; on each relevant event and ten times a second.
 *
 * @typedef {import("./compared_video.js").ComparedVideo} ComparedVideo
 * @typedef {import("./compared_video.js").CommonCommand} CommonCommand
 * @typedef {import("./keys.js").KeyActions} KeyActions
 */

import { nextRate } from "./controls.js";
import { setFullscreen } from "./elements.js";
import { FULLSCREEN_REFUSED } from "./messages.js";
import { commonEnd, intersection, ownTime, planSync } from "./sync_plan.js";

const INTERVAL_MS = 100;

/** @implements {KeyActions} */
export class SyncController {
  /**
   * @param {Element} root the element for full screen
   * @param {(event: string) => void} onEvent called after each change, with the name of an event or ""
   * @param {(text: string) => void} notify
   * @param {AbortSignal} signal
   */
  constructor(root, onEvent, notify, signal) {
    this.root = root;
    /** @type {ComparedVideo[]} */
    this.videos = [];
    this.target = { playing: false, gathering: true, t_s: 0, rate: 1, elapsed_s: 0 };
    /** @type {number[]} */
    this.waiting = [];
    this.leader = -1;
    this.end_s = 0;
    this.lastMs = performance.now();
    this.seekCount = 0;
    this.onEvent = onEvent;
    this.notify = notify;
    this.signal = signal;
    this.isUpdating = false;
    const timer = setInterval(() => {
      if (this.target.playing) this.update();
    }, INTERVAL_MS);
    signal.addEventListener("abort", () => clearInterval(timer));
  }

  setVideos(/** @type {ComparedVideo[]} */ videos) {
    this.videos = videos;
    for (const video of videos) video.setController(this);
    this.update();
  }

  states() {
    const nowMs = performance.now();
    return this.videos.map((video) => video.state(nowMs));
  }

  /** Read the states, plan, and apply the plan. */
  update() {
    if (this.signal.aborted || this.isUpdating || !this.videos.length) return;
    this.isUpdating = true; // a command may fire an event at once
    const nowMs = performance.now();
    const states = this.states();
    const { target } = this;
    const plan = planSync({ ...target, elapsed_s: (nowMs - this.lastMs) / 1000 }, states);
    this.lastMs = nowMs;
    this.end_s = commonEnd(states);
    Object.assign(target, { t_s: plan.t_s, gathering: plan.gathering });
    if (plan.ended) target.playing = false;
    const wasWaiting = this.waiting.length > 0;
    Object.assign(this, { waiting: plan.waiting, leader: plan.leader });
    for (const [index, command] of plan.commands.entries()) this.videos[index].apply(command, nowMs);
    this.isUpdating = false;
    if (plan.ended) this.onEvent("ended");
    else if (wasWaiting !== this.waiting.length > 0) this.onEvent(wasWaiting ? "playing" : "waiting");
    else this.onEvent("");
  }

  // Actions on all videos

  applyCommand(/** @type {CommonCommand} */ { t_s, step, playing, rate }) {
    if (typeof rate === "number") this.setRate(rate);
    if (typeof t_s === "number") this.seek(t_s);
    if (typeof step === "number") this.step(step);
    if (playing === true) this.play();
    if (playing === false) this.pause();
  }

  /** Report an event of all videos, and of each. */
  report(/** @type {string} */ event) {
    for (const video of this.videos) video.reportCommon(event);
    this.onEvent(event);
  }

  toggle() {
    if (this.target.playing) this.pause();
    else this.play();
  }

  play() {
    const { target } = this;
    if (target.playing) return;
    if (this.end_s > 0 && target.t_s >= this.end_s - 0.01) this.seekAll(0);
    Object.assign(target, { playing: true, gathering: true });
    this.report("play");
    this.update();
  }

  pause() {
    const { target } = this;
    if (!target.playing) return;
    this.update(); // reads the time at which they stop
    for (const video of this.videos) video.stop();
    Object.assign(target, { t_s: this.now(), playing: false, gathering: true });
    this.report("pause");
    this.update();
  }

  /** The browser plays no sound before a click: all videos wait for that. */
  handleAutoplayBlocked() {
    this.pause();
    this.notify("The browser plays sound only after a click in the page: press play, or mute the first video.");
  }

  seek(/** @type {number} */ seconds) {
    this.seekCount += 1;
    this.seekAll(seconds);
    this.onEvent("seeking");
    this.update();
  }

  /** Seek all videos to a common time. */
  seekAll(/** @type {number} */ seconds) {
    const states = this.states();
    const end_s = commonEnd(states) || Infinity;
    const t_s = Math.min(end_s, Math.max(0, seconds));
    Object.assign(this.target, { t_s, gathering: true });
    const nowMs = performance.now();
    for (const [index, video] of this.videos.entries()) video.seekOwn(ownTime(states[index], t_s), nowMs);
  }

  seekBy(/** @type {number} */ seconds) {
    this.seek(this.now() + seconds);
  }

  seekToFraction(/** @type {number} */ fraction) {
    this.seek(fraction * this.end_s);
  }

  /** Pause, and step all by the frames of the leader. */
  async step(/** @type {number} */ frames) {
    this.pause();
    this.update();
    const lead = this.videos[this.leader] ?? this.videos.find(({ video }) => video.readyState > 0);
    if (!lead || !frames) return;
    /** @type {number | undefined} */
    let turn;
    const seek = (/** @type {number} */ target_s) => {
      if (turn === undefined) this.seek(target_s - lead.offset_s);
      else this.seekAll(target_s - lead.offset_s);
      turn = this.seekCount;
    };
    const isCurrent = () => turn === this.seekCount && !this.target.playing;
    await lead.controls.stepper.stepFrom(this.target.t_s + lead.offset_s, frames, seek, isCurrent);
  }

  setRate(/** @type {number} */ rate) {
    for (const video of this.videos) video.controls.setRate(rate);
    this.target.rate = this.videos[0]?.video.defaultPlaybackRate ?? rate;
    this.report("ratechange");
    this.update();
  }

  changeRate(/** @type {number} */ steps) {
    this.setRate(nextRate(this.target.rate, steps));
  }

  changeVolume(/** @type {number} */ change) {
    for (const { video, controls } of this.videos) if (!video.muted) controls.changeVolume(change);
  }

  /** Mute all, or unmute the first. */
  toggleMuted() {
    const audible = this.videos.filter(({ video }) => !video.muted);
    for (const { controls } of audible.length ? audible : this.videos.slice(0, 1)) controls.toggleMuted();
  }

  async toggleFullscreen() {
    await setFullscreen(this.root).catch(() => this.notify(FULLSCREEN_REFUSED));
  }

  setMarker() {} // a marker belongs to one video

  removeMarker() {}

  // What is shown

  /** The common time (s). */
  now() {
    const lead = this.videos[this.leader];
    if (!this.target.playing || this.target.gathering || !lead) return this.target.t_s;
    return Math.max(0, lead.video.currentTime - lead.offset_s);
  }

  /** The ranges in which all videos are buffered, in common time (s). @returns {import("./playhead.js").TimeRange[]} */
  buffered() {
    const playable = this.videos.filter((video) => video.error === null);
    if (!playable.length) return [];
    return intersection([[[0, this.end_s]], ...playable.map((video) => video.bufferedRanges())]);
  }
}
