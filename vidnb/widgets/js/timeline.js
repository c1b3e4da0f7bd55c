// @ts-check
/**
 * The timeline: a slider for the position, with the buffered and downloaded ranges, the part that plays,
 * the markers, and above the pointer its time and a thumbnail.
 *
 * @typedef {import("./markers.js").Marker} Marker
 * @typedef {import("./playhead.js").TimeRange} TimeRange
 * @typedef {{
 *   readonly currentTime: number, readonly duration: number,
 *   readonly buffered: import("./playhead.js").Ranges,
 *   addEventListener(name: string, listener: () => void, options: AddEventListenerOptions): void,
 * }} Position what the timeline shows: a Playhead, or the common time of a comparison
 */

import { make, setText } from "./elements.js";
import { timeCode } from "./messages.js";
import { rangeList } from "./playhead.js";

const PAGE_FRACTION = 0.1; // what PageUp and PageDown move

/** A time as a fraction of the duration, from 0 to 1. */
export function fraction(/** @type {number} */ seconds, /** @type {number} */ duration) {
  return duration > 0 && Number.isFinite(duration) ? Math.min(1, Math.max(0, seconds / duration)) : 0;
}

/** The label and the time of a marker. */
function markerName(/** @type {Marker} */ marker) {
  return marker.label ? `${marker.label} · ${timeCode(marker.t_s)}` : timeCode(marker.t_s);
}

const percent = (/** @type {number} */ part) => `${(100 * part).toFixed(3)}%`;

/** Paint fractions of an element as one gradient, which needs no element for each. */
function paint(/** @type {HTMLElement} */ element, /** @type {TimeRange[]} */ fractions) {
  const parts = fractions.map(
    ([from, to]) => `transparent ${percent(from)}, currentColor ${percent(from)} ${percent(to)}, transparent ${percent(to)}`,
  );
  const image = parts.length ? `linear-gradient(to right, ${parts.join(", ")})` : "none";
  if (element.style.backgroundImage !== image) element.style.backgroundImage = image;
}

export class Timeline {
  /**
   * @param {Position} position
   * @param {{ seek(seconds: number): void, removeMarker(id: string): void }} actions
   * @param {AbortSignal} signal
   * @param {string} [label] the accessible name of the slider
   */
  constructor(position, actions, signal, label = "Position") {
    this.position = position;
    this.actions = actions;
    this.signal = signal;
    /** @type {Marker[]} */
    this.markers = [];
    this.isDragging = false;
    /** @type {TimeRange | null} */
    this.playedPart = null;
    /** @type {import("./thumbnails.js").Thumbnails | null} */
    this.thumbnails = null;
    this.tooltip_s = 0; // the time that the tooltip shows

    this.root = make("div", "vidnb-timeline");
    this.slider = make("div", "vidnb-slider");
    this.slider.tabIndex = 0;
    for (const [name, value] of Object.entries({ role: "slider", "aria-label": label, "aria-valuemin": "0" })) {
      this.slider.setAttribute(name, value);
    }
    this.part = make("div", "vidnb-part");
    this.part.hidden = true;
    this.downloaded = make("div", "vidnb-downloaded");
    this.buffered = make("div", "vidnb-buffered");
    this.played = make("div", "vidnb-played");
    this.slider.append(this.part, this.downloaded, this.buffered, this.played);
    this.markerGroup = make("div", "vidnb-markers");
    this.markerGroup.setAttribute("role", "group");
    this.markerGroup.setAttribute("aria-label", "Markers");
    this.tooltip = make("div", "vidnb-tooltip");
    this.tooltip.setAttribute("aria-hidden", "true"); // it repeats the names of the controls
    this.tooltip.hidden = true;
    this.thumbnail = make("img", "vidnb-thumbnail");
    this.thumbnail.alt = "";
    this.thumbnail.hidden = true;
    this.tooltipText = make("span", "vidnb-tooltip-text");
    this.tooltip.append(this.thumbnail, this.tooltipText);
    this.root.append(this.slider, this.markerGroup, this.tooltip);
    this.listen();
    this.show();
  }

  listen() {
    const { root, slider, position, signal } = this;
    const on = (/** @type {string} */ name, /** @type {(event: any) => void} */ handle) =>
      slider.addEventListener(name, handle, { signal });
    on("pointerdown", (/** @type {PointerEvent} */ event) => {
      if (event.button !== 0) return;
      this.isDragging = true;
      slider.setPointerCapture?.(event.pointerId);
      const seconds = this.timeAt(event.clientX);
      this.actions.seek(seconds);
      this.showTooltip(timeCode(seconds), seconds); // a finger does not move before
    });
    on("pointermove", (/** @type {PointerEvent} */ event) => {
      const seconds = this.timeAt(event.clientX);
      if (this.isDragging) this.actions.seek(seconds);
      this.showTooltip(timeCode(seconds), seconds);
    });
    for (const name of ["pointerup", "pointercancel"]) on(name, () => { this.isDragging = false; });
    // Of the keys of a slider (WAI-ARIA APG) only these two are no keys of the whole player.
    on("keydown", (/** @type {KeyboardEvent} */ event) => {
      const steps = { PageUp: 1, PageDown: -1 }[event.key];
      if (!steps || !Number.isFinite(position.duration)) return;
      event.preventDefault();
      this.actions.seek(position.currentTime + steps * PAGE_FRACTION * position.duration);
    });
    root.addEventListener("pointerleave", () => this.hideTooltip(), { signal });
    for (const name of ["progress", "loadedmetadata", "durationchange", "seeked", "emptied"]) {
      position.addEventListener(name, () => this.show(), { signal });
    }
    for (const name of ["loadedmetadata", "durationchange"]) {
      position.addEventListener(name, () => {
        this.showMarkers(this.markers);
        this.showPart(this.playedPart);
      }, { signal });
    }
  }

  timeAt(/** @type {number} */ clientX) {
    const { left, width } = this.slider.getBoundingClientRect();
    const { duration } = this.position;
    const part = width > 0 ? Math.min(1, Math.max(0, (clientX - left) / width)) : 0;
    return Number.isFinite(duration) ? part * duration : 0;
  }

  /** Show the position and the buffered ranges. */
  show() {
    const { currentTime, duration, buffered } = this.position;
    this.played.style.width = percent(fraction(currentTime, duration));
    this.slider.setAttribute("aria-valuemax", String(Number.isFinite(duration) ? duration : 0));
    this.slider.setAttribute("aria-valuenow", String(Math.round(currentTime * 1000) / 1000));
    this.slider.setAttribute("aria-valuetext", `${timeCode(currentTime)} of ${timeCode(duration)}`);
    paint(this.buffered, rangeList(buffered).map(([from, to]) => [fraction(from, duration), fraction(to, duration)]));
  }

  /** Show which fractions of the file, from 0 to 1, are downloaded. */
  showDownloaded(/** @type {TimeRange[]} */ fractions) {
    paint(this.downloaded, fractions);
  }

  /** Show the part that plays (s), null for the whole video. */
  showPart(/** @type {TimeRange | null} */ part) {
    this.playedPart = part;
    const { duration } = this.position;
    this.part.hidden = !part || !Number.isFinite(duration);
    if (!part) return;
    const [from, to] = part.map((seconds) => fraction(seconds, duration));
    Object.assign(this.part.style, { left: percent(from), width: percent(to - from) });
    this.slider.setAttribute("aria-description", `Plays from ${timeCode(part[0])} to ${timeCode(part[1])}`);
  }

  /** Show these markers and no others. */
  showMarkers(/** @type {Marker[]} */ markers) {
    this.markers = markers;
    const { duration } = this.position;
    const focused = document.activeElement?.getAttribute?.("data-marker");
    const buttons = (Number.isFinite(duration) ? markers : []).map((marker) => this.markerButton(marker, duration));
    this.markerGroup.replaceChildren(...buttons);
    this.markerGroup.hidden = buttons.length === 0;
    if (focused) buttons.find((button) => button.getAttribute("data-marker") === focused)?.focus();
  }

  markerButton(/** @type {Marker} */ marker, /** @type {number} */ duration) {
    const { signal } = this;
    const button = make("button", "vidnb-marker");
    button.type = "button";
    const part = fraction(marker.t_s, duration);
    button.style.left = percent(part);
    button.setAttribute("data-marker", marker.id);
    button.setAttribute("aria-label", `Marker ${markerName(marker)}`);
    button.setAttribute("aria-keyshortcuts", "Delete");
    button.addEventListener("click", () => this.actions.seek(marker.t_s), { signal });
    button.addEventListener("keydown", (event) => {
      if (event.key !== "Delete" && event.key !== "Backspace") return;
      event.preventDefault();
      this.hideTooltip();
      this.slider.focus();
      this.actions.removeMarker(marker.id);
    }, { signal });
    for (const name of ["pointerenter", "focus"]) {
      button.addEventListener(name, () => this.showTooltip(markerName(marker), marker.t_s), { signal });
    }
    for (const name of ["pointerleave", "blur"]) button.addEventListener(name, () => this.hideTooltip(), { signal });
    return button;
  }

  /** Show a text and the thumbnail at a time (s), above that time. */
  showTooltip(/** @type {string} */ text, /** @type {number} */ seconds) {
    const part = fraction(seconds, this.position.duration);
    this.tooltip_s = seconds;
    setText(this.tooltipText, text);
    this.tooltip.hidden = false;
    this.showThumbnail();
    // Shifted by the same fraction of its own width, so that it stays inside.
    this.tooltip.style.left = percent(part);
    this.tooltip.style.transform = `translateX(-${percent(part)})`;
  }

  /** Show the thumbnail at the time of the tooltip; the one before is dimmed until it is there. */
  showThumbnail() {
    const { thumbnail, thumbnails } = this;
    if (!thumbnails || this.tooltip.hidden) return;
    const found = thumbnails.get(this.tooltip_s);
    thumbnail.style.opacity = found ? "1" : "0.3";
    if (found?.url && thumbnail.src !== found.url) thumbnail.src = found.url;
    if (found || !thumbnails.isOn) thumbnail.hidden = !found?.url;
  }

  hideTooltip() {
    this.tooltip.hidden = true;
    this.thumbnail.hidden = true; // it belongs to another time when the tooltip is shown again
    this.thumbnails?.cancel();
  }
}
