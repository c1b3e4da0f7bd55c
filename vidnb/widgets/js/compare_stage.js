// @ts-check
/**
 * The stage: the videos of a comparison and what is asked of them all. It looks, lets conduct()
 * decide, and does what was decided; on each event that matters and ten times a second.
 *
 * @typedef {import("./compare_voice.js").Voice} Voice
 * @typedef {import("./compare_voice.js").Common} Common
 */

import { commonEnd, conduct, inAll, ownTime } from "./compare_clock.js";
import { nextRate } from "./player_deck.js";

const BEAT_MS = 100;
const MOST_WIDENINGS = 6; // of a step into a frame that lasts longer than was assumed
const WIDEST_STEP_S = 1;

export class Stage {
  /**
   * @param {(event: string) => void} tell hears what happens
   * @param {(text: string) => void} note hears a sentence for the reader
   * @param {AbortSignal} signal
   */
  constructor(tell, note, signal) {
    /** @type {Voice[]} */
    this.voices = [];
    this.score = { playing: false, standing: true, t_s: 0, rate: 1, elapsed_s: 0 };
    /** @type {number[]} */
    this.waiting = [];
    this.leader = -1;
    this.end_s = 0;
    this.lastMs = performance.now();
    this.stepTurn = 0;
    this.tell = tell;
    this.note = note;
    this.signal = signal;
    this.busy = false;
    this.beat = setInterval(() => {
      if (this.score.playing) this.stir();
    }, BEAT_MS);
    signal.addEventListener("abort", () => clearInterval(this.beat));
  }

  join(/** @type {Voice[]} */ voices) {
    this.voices = voices;
    for (const voice of voices) voice.join(this);
    this.stir();
  }

  states() {
    const nowMs = performance.now();
    return this.voices.map((voice) => voice.state(nowMs));
  }

  /** Looks where all are, and has them do what follows. */
  stir() {
    if (this.signal.aborted || this.busy || !this.voices.length) return;
    this.busy = true; // what is done here may tell of itself at once
    const nowMs = performance.now();
    const states = this.states();
    const { score } = this;
    const decision = conduct({ ...score, elapsed_s: (nowMs - this.lastMs) / 1000 }, states);
    this.lastMs = nowMs;
    this.end_s = commonEnd(states);
    Object.assign(score, { t_s: decision.t_s, standing: decision.standing });
    if (decision.ended) score.playing = false;
    const held = this.waiting.length > 0;
    Object.assign(this, { waiting: decision.waiting, leader: decision.leader });
    for (const [index, command] of decision.commands.entries()) this.voices[index].act(command, nowMs);
    this.busy = false;
    if (decision.ended) this.tell("ended");
    else if (held !== this.waiting.length > 0) this.tell(held ? "playing" : "waiting");
    else this.tell("");
  }

  // What all are asked to do

  obey(/** @type {Common} */ { t_s, step, playing, rate }) {
    if (typeof rate === "number") this.setRate(rate);
    if (typeof t_s === "number") this.seek(t_s);
    if (typeof step === "number") this.step(step);
    if (playing === true) this.play();
    if (playing === false) this.pause();
  }

  /** Tells what all do, in the name of each as well. */
  announce(/** @type {string} */ event) {
    for (const voice of this.voices) voice.announce(event);
    this.tell(event);
  }

  toggle() {
    if (this.score.playing) this.pause();
    else this.play();
  }

  play() {
    const { score } = this;
    if (score.playing) return;
    if (this.end_s > 0 && score.t_s >= this.end_s - 0.01) this.place(0);
    Object.assign(score, { playing: true, standing: true });
    this.announce("play");
    this.stir();
  }

  pause() {
    const { score } = this;
    if (!score.playing) return;
    this.stir(); // the last word on the time
    const lead = this.voices[this.leader];
    const moved = !score.standing;
    for (const voice of this.voices) voice.stop();
    if (moved && lead) score.t_s = Math.max(0, lead.video.currentTime - lead.offset_s);
    Object.assign(score, { playing: false, standing: true });
    this.announce("pause");
    this.stir();
  }

  /** The browser does not play sound before a click: all wait for that one. */
  refused() {
    this.pause();
    this.note("The browser plays sound only after a click in the page: press play, or mute the first video.");
  }

  seek(/** @type {number} */ seconds) {
    this.stepTurn += 1;
    this.place(seconds);
    this.tell("seeking");
    this.stir();
  }

  /** Sends all to a common time. */
  place(/** @type {number} */ seconds) {
    const states = this.states();
    const end_s = commonEnd(states) || Infinity;
    const t_s = Math.min(end_s, Math.max(0, seconds));
    Object.assign(this.score, { t_s, standing: true });
    const nowMs = performance.now();
    for (const [index, voice] of this.voices.entries()) voice.goTo(ownTime(states[index], t_s), nowMs);
  }

  seekBy(/** @type {number} */ seconds) {
    this.seek(this.now() + seconds);
  }

  seekToPart(/** @type {number} */ part) {
    this.seek(part * this.end_s);
  }

  /** Pauses, and goes on by pictures of the one that leads. */
  async step(/** @type {number} */ frames) {
    this.pause();
    this.stir();
    const lead = this.voices[this.leader] ?? this.voices.find((voice) => voice.video.readyState > 0);
    if (!lead || !frames) return;
    const { clock } = lead.deck.stepper;
    const from = clock.shown;
    const start_s = this.score.t_s + lead.offset_s;
    let target_s = clock.target(start_s, frames);
    this.seek(target_s - lead.offset_s);
    const turn = this.stepTurn;
    if (frames !== 1 || from === null || target_s - from > WIDEST_STEP_S || Math.abs(start_s - from) > WIDEST_STEP_S) return;
    for (let tries = 0; tries < MOST_WIDENINGS; tries += 1) {
      const seen = await lead.deck.stepper.nextFrame();
      if (!seen || turn !== this.stepTurn || this.signal.aborted || this.score.playing) return;
      const { shown } = clock;
      if (shown !== from) {
        if (tries > 0 && shown !== null) clock.learn(shown - from);
        return;
      }
      target_s = from + 2 * (target_s - from) - 0.002;
      this.place(target_s - lead.offset_s);
    }
  }

  setRate(/** @type {number} */ rate) {
    for (const voice of this.voices) voice.deck.setRate(rate);
    this.score.rate = this.voices[0]?.video.defaultPlaybackRate ?? rate;
    this.announce("ratechange");
    this.stir();
  }

  turnRate(/** @type {number} */ steps) {
    this.setRate(nextRate(this.score.rate, steps));
  }

  turnVolume(/** @type {number} */ change) {
    for (const voice of this.voices) if (!voice.video.muted) voice.deck.turnVolume(change);
  }

  /** Silences all, or lets the first be heard. */
  toggleMuted() {
    const loud = this.voices.filter((voice) => !voice.video.muted);
    for (const voice of loud.length ? loud : this.voices.slice(0, 1)) voice.deck.toggleMuted();
  }

  // What there is to see

  /** The common time (s). */
  now() {
    const lead = this.voices[this.leader];
    if (!this.score.playing || this.score.standing || !lead) return this.score.t_s;
    return Math.max(0, lead.video.currentTime - lead.offset_s);
  }

  /** @returns {[number, number][]} what has arrived of all of them, in common time (s) */
  arrived() {
    const living = this.voices.filter((voice) => voice.error === null);
    if (!living.length) return [];
    return inAll([[[0, this.end_s]], ...living.map((voice) => voice.arrivedSpans())]);
  }
}
