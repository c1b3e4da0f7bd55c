// @ts-check
/** The timeline: what has arrived, where the video stands, and the markers. */

import { make } from "./player_elements.js";
import { timeCode } from "./player_words.js";

/** @typedef {import("./player_marks.js").Mark} Mark */

/** Where a time lies, as a share of the whole from 0 to 1. */
export function share(/** @type {number} */ seconds, /** @type {number} */ duration) {
  return duration > 0 && Number.isFinite(duration) ? Math.min(1, Math.max(0, seconds / duration)) : 0;
}

/** What a marker is called: its label and its time. */
export function markName(/** @type {Mark} */ mark) {
  return mark.label ? `${mark.label} · ${timeCode(mark.t_s)}` : timeCode(mark.t_s);
}

const percent = (/** @type {number} */ part) => `${(100 * part).toFixed(3)}%`;

/** Paints these shares of an element; gradients need no element for each. */
function paint(/** @type {HTMLElement} */ element, /** @type {[number, number][]} */ spans) {
  const parts = spans.map(
    ([from, to]) => `transparent ${percent(from)}, currentColor ${percent(from)} ${percent(to)}, transparent ${percent(to)}`,
  );
  const image = parts.length ? `linear-gradient(to right, ${parts.join(", ")})` : "none";
  if (element.style.backgroundImage !== image) element.style.backgroundImage = image;
}

export class Timeline {
  /**
   * @param {import("./player_rest.js").Moment} video
   * @param {{ seek(seconds: number): void, removeMarker(id: string): void }} deck
   * @param {AbortSignal} signal
   */
  constructor(video, deck, signal) {
    this.video = video;
    this.deck = deck;
    this.signal = signal;
    /** @type {Mark[]} */
    this.marks = [];
    this.dragging = false;

    this.root = make("div", "vidnb-timeline");
    this.bar = make("div", "vidnb-bar");
    this.bar.tabIndex = 0;
    for (const [name, value] of Object.entries({ role: "slider", "aria-label": "Position", "aria-valuemin": "0" })) {
      this.bar.setAttribute(name, value);
    }
    this.present = make("div", "vidnb-present");
    this.passed = make("div", "vidnb-passed");
    this.arrived = make("div", "vidnb-arrived");
    this.bar.append(this.arrived, this.present, this.passed);
    this.pins = make("div", "vidnb-pins");
    this.pins.setAttribute("role", "group");
    this.pins.setAttribute("aria-label", "Markers");
    this.tip = make("div", "vidnb-tip");
    this.tip.setAttribute("aria-hidden", "true"); // what it says, the controls are called
    this.tip.hidden = true;
    this.root.append(this.bar, this.pins, this.tip);
    this.listen();
    this.show();
  }

  listen() {
    const { root, bar, signal } = this;
    /** Handles the pointer on the bar, not on a marker. */
    const on = (/** @type {string} */ name, /** @type {(event: PointerEvent) => void} */ handle) =>
      bar.addEventListener(name, (event) => handle(/** @type {PointerEvent} */ (event)), { signal });
    on("pointerdown", (event) => {
      if (event.button !== 0) return;
      this.dragging = true;
      bar.setPointerCapture?.(event.pointerId);
      this.deck.seek(this.timeAt(event.clientX));
    });
    on("pointermove", (event) => {
      const seconds = this.timeAt(event.clientX);
      if (this.dragging) this.deck.seek(seconds);
      this.tell(timeCode(seconds), share(seconds, this.video.duration));
    });
    for (const name of ["pointerup", "pointercancel"]) on(name, () => { this.dragging = false; });
    root.addEventListener("pointerleave", () => this.hush(), { signal });
    for (const name of ["progress", "loadedmetadata", "durationchange", "seeked", "emptied"]) {
      this.video.addEventListener(name, () => this.show(), { signal });
    }
    for (const name of ["loadedmetadata", "durationchange"]) {
      this.video.addEventListener(name, () => this.showMarks(this.marks), { signal });
    }
  }

  timeAt(/** @type {number} */ clientX) {
    const { left, width } = this.bar.getBoundingClientRect();
    const { duration } = this.video;
    const part = width > 0 ? Math.min(1, Math.max(0, (clientX - left) / width)) : 0;
    return Number.isFinite(duration) ? part * duration : 0;
  }

  /** Shows the position and what of the video is in the browser. */
  show() {
    const { currentTime, duration, buffered } = this.video;
    this.passed.style.width = percent(share(currentTime, duration));
    this.bar.setAttribute("aria-valuemax", String(Number.isFinite(duration) ? duration : 0));
    this.bar.setAttribute("aria-valuenow", String(Math.round(currentTime * 1000) / 1000));
    this.bar.setAttribute("aria-valuetext", `${timeCode(currentTime)} of ${timeCode(duration)}`);
    /** @type {[number, number][]} */
    const spans = [];
    for (let index = 0; index < (buffered?.length ?? 0); index += 1) {
      spans.push([share(buffered.start(index), duration), share(buffered.end(index), duration)]);
    }
    paint(this.present, spans);
  }

  /** Shows which shares of the file, from 0 to 1, are on the kernel's machine. */
  showArrived(/** @type {[number, number][]} */ spans) {
    paint(this.arrived, spans);
  }

  /** Shows these markers and no others. */
  showMarks(/** @type {Mark[]} */ marks) {
    this.marks = marks;
    const { duration } = this.video;
    const focused = document.activeElement?.getAttribute?.("data-mark");
    const pins = (Number.isFinite(duration) ? marks : []).map((mark) => this.pin(mark, duration));
    this.pins.replaceChildren(...pins);
    this.pins.hidden = pins.length === 0;
    if (focused) pins.find((pin) => pin.getAttribute("data-mark") === focused)?.focus();
  }

  pin(/** @type {Mark} */ mark, /** @type {number} */ duration) {
    const { signal } = this;
    const pin = make("button", "vidnb-pin");
    pin.type = "button";
    const part = share(mark.t_s, duration);
    pin.style.left = percent(part);
    pin.setAttribute("data-mark", mark.id);
    pin.setAttribute("aria-label", `Marker ${markName(mark)}`);
    pin.setAttribute("aria-keyshortcuts", "Delete");
    pin.addEventListener("click", () => this.deck.seek(mark.t_s), { signal });
    pin.addEventListener("keydown", (event) => {
      if (event.key !== "Delete" && event.key !== "Backspace") return;
      event.preventDefault();
      this.hush();
      this.bar.focus();
      this.deck.removeMarker(mark.id);
    }, { signal });
    for (const name of ["pointerenter", "focus"]) {
      pin.addEventListener(name, () => this.tell(markName(mark), part), { signal });
    }
    for (const name of ["pointerleave", "blur"]) pin.addEventListener(name, () => this.hush(), { signal });
    return pin;
  }

  tell(/** @type {string} */ text, /** @type {number} */ part) {
    this.tip.textContent = text;
    this.tip.hidden = false;
    // It moves from one end of its own width to the other, so that it stays inside.
    this.tip.style.left = percent(part);
    this.tip.style.transform = `translateX(-${percent(part)})`;
  }

  hush() {
    this.tip.hidden = true;
  }
}
