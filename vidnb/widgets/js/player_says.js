// @ts-check
/** What stands below the strip: a sentence of the player's, or a note of what was just done. */

import { make } from "./player_elements.js";

const NOTE_MS = 6000; // long enough to read two lines

export class Sayings {
  constructor(/** @type {HTMLElement} */ root, /** @type {AbortSignal} */ signal) {
    this.root = root;
    this.signal = signal;
    /** @type {HTMLElement | undefined} */
    this.message = undefined;
    /** @type {HTMLElement | undefined} */
    this.noted = undefined;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    signal.addEventListener("abort", () => clearTimeout(this.timer));
  }

  /** Shows a sentence that needs no action at once. */
  say(/** @type {string} */ text) {
    this.hush();
    this.message = make("div", "vidnb-message", text);
    this.message.setAttribute("role", "status");
    this.root.append(this.message);
  }

  /** Shows for a while that something was done, or could not be. */
  note(/** @type {string} */ text) {
    this.noted?.remove();
    clearTimeout(this.timer);
    const noted = make("div", "vidnb-message", text);
    noted.setAttribute("role", "status");
    this.root.append(noted);
    this.noted = noted;
    this.timer = setTimeout(() => noted.remove(), NOTE_MS);
  }

  /**
   * Shows why the video cannot be played.
   * @param {string} text
   * @param {(() => void) | null} again what a button "Try again" does; null for no such button
   */
  complain(text, again) {
    this.hush();
    this.message = make("div", "vidnb-message vidnb-error");
    this.message.setAttribute("role", "alert");
    this.message.append(make("span", "", text));
    if (again) {
      const button = make("button", "vidnb-again", "Try again");
      button.type = "button";
      button.addEventListener("click", again, { signal: this.signal });
      this.message.append(button);
    }
    this.root.append(this.message);
  }

  hush() {
    this.message?.remove();
  }
}
