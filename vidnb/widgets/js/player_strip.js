// @ts-check
/** The strip under the picture: what the browser's own controls lack, in one quiet row. */

import { RATES } from "./player_deck.js";
import { iconButton, make } from "./player_elements.js";
import { ASSUMED_FRAME_S } from "./player_frames.js";
import { Timeline } from "./player_timeline.js";
import { timeCode } from "./player_words.js";

/** @typedef {import("./player_deck.js").Deck} Deck */
/** @typedef {import("./player_marks.js").Mark} Mark */

/** A rate as people write it. */
export function rateName(/** @type {number} */ rate) {
  return `${Math.round(rate * 100) / 100}×`;
}

export class Strip {
  /**
   * @param {Deck} deck
   * @param {string} name the file's name
   * @param {() => number} now the position, or the one it will begin at (s)
   * @param {AbortSignal} signal
   */
  constructor(deck, name, now, signal) {
    this.deck = deck;
    this.video = deck.video;
    this.now = now;
    this.signal = signal;
    this.timeline = new Timeline(deck.moment, deck, signal);

    this.root = make("div", "vidnb-strip");
    this.clock = make("span", "vidnb-clock");
    this.whole = make("span", "vidnb-whole");
    const clocks = make("span", "vidnb-clocks");
    clocks.append(this.clock, this.whole);

    const tools = make("div", "vidnb-tools");
    tools.setAttribute("role", "toolbar");
    tools.setAttribute("aria-label", "Video tools");
    this.back = iconButton("back", "One frame back");
    this.forward = iconButton("forward", "One frame forward");
    this.rate = this.rates();
    const marker = iconButton("marker", "Set a marker here", "Set a marker here (m); Delete on a marker removes it");
    const snapshot = iconButton("snapshot", "Save this frame as PNG", "Save this frame as PNG (with Shift: copy it)");
    tools.append(this.back, this.forward, this.rate, marker, snapshot);
    this.on(this.back, () => deck.step(-1));
    this.on(this.forward, () => deck.step(1));
    this.on(marker, () => deck.setMarker());
    this.on(snapshot, (event) => deck.snapshot(event.shiftKey));
    if (document.pictureInPictureEnabled) {
      const pip = iconButton("pip", "Picture in picture");
      this.on(pip, () => deck.togglePictureInPicture());
      tools.append(pip);
    }

    const title = make("span", "vidnb-name", name);
    title.title = name;
    this.mark = make("span", "vidnb-mark");
    this.mark.hidden = true;
    this.arrival = make("span", "vidnb-arrival");
    this.arrival.hidden = true;
    this.root.append(clocks, tools, title, this.arrival, this.mark);
    this.video.addEventListener("emptied", () => this.showRate(), { signal });
    this.showFrame();
  }

  /** Has a button do its work. */
  on(/** @type {HTMLElement} */ button, /** @type {(event: MouseEvent) => void} */ act) {
    button.addEventListener("click", act, { signal: this.signal });
  }

  rates() {
    const select = make("select", "vidnb-rate");
    select.setAttribute("aria-label", "Playback rate");
    select.title = "Playback rate (< and >)";
    for (const rate of RATES) select.append(this.option(rate));
    select.value = "1";
    select.addEventListener("change", () => this.deck.setRate(Number(select.value)), { signal: this.signal });
    return select;
  }

  option(/** @type {number} */ rate) {
    const option = make("option", "", rateName(rate));
    option.value = String(rate);
    return option;
  }

  /** Shows the rate that is meant; a video that follows others is bent from it now and then. */
  showRate() {
    const { defaultPlaybackRate } = this.video;
    const value = String(defaultPlaybackRate);
    const { rate } = this;
    if (rate.value === value) return;
    rate.value = value;
    if (rate.value === value) return;
    rate.append(this.option(defaultPlaybackRate)); // one that Python chose
    rate.value = value;
  }

  /** Shows the time, wherever the video is. */
  show() {
    const text = timeCode(this.now());
    if (this.clock.textContent !== text) this.clock.textContent = text;
    const whole = ` / ${timeCode(this.deck.moment.duration)}`;
    if (this.whole.textContent !== whole) this.whole.textContent = whole;
    this.timeline.show();
  }

  /** Says in the buttons' hints how long a frame is taken to be. */
  showFrame() {
    const { frame } = this.deck.stepper.clock;
    const length =
      frame === null
        ? `taken for 1/${Math.round(1 / ASSUMED_FRAME_S)} s until the video has played`
        : `${(frame * 1000).toFixed(1)} ms`;
    this.back.title = `One frame back (,) · a frame is ${length}`;
    this.forward.title = `One frame forward (.) · a frame is ${length}`;
  }

  /**
   * Shows what of the file is on the kernel's machine, and what becomes of it.
   * @param {{ state: string, spans: [number, number][], note: string }} arrival
   */
  showArrival({ state, spans, note }) {
    this.timeline.showArrived(state === "live" ? spans : []);
    const arrived = spans.reduce((sum, [from, to]) => sum + to - from, 0);
    const said = { live: `fetching ${Math.floor(100 * arrived)} %`, saved: "saved", failed: "not saved" }[state];
    this.arrival.textContent = said ?? "";
    this.arrival.title = note;
    this.arrival.classList.toggle("vidnb-failed", state === "failed");
    this.arrival.hidden = !said;
  }

  /** Says which road the bytes take. */
  showRoad(/** @type {string} */ road, /** @type {string} */ origin) {
    this.mark.textContent = road;
    this.mark.title = origin;
    this.mark.hidden = false;
  }
}
