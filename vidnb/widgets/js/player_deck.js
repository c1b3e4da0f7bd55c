// @ts-check
/**
 * What can be done with the video, whoever asks for it: a key, the strip, or Python.
 */

import { Stepper } from "./player_frames.js";
import { pictureOf } from "./player_picture.js";
import { timeCode } from "./player_words.js";

const SAVING_MS = 60_000; // a browser that asks where to save a file reads it later
export const RATES = [0.25, 0.5, 0.75, 1, 1.25, 1.5, 2, 3];

/** A file name for a picture: the video's own and the time, in letters every system allows. */
export function pictureName(/** @type {string} */ name, /** @type {number} */ seconds) {
  const stem = name.replace(/\.[^.]*$/, "").replace(/[\\/:*?"<>|\u0000-\u001f]+/g, "_") || "video";
  return `${stem} ${timeCode(seconds).replace(":", "h").replace(":", "m")}s.png`;
}

/** The next rate above or below, for a number of steps; one set by Python may lie between two. */
export function nextRate(/** @type {number} */ rate, /** @type {number} */ steps) {
  const beyond = steps > 0 ? RATES.filter((other) => other > rate + 1e-6) : RATES.filter((other) => other < rate - 1e-6).reverse();
  return beyond[Math.min(Math.abs(steps), beyond.length) - 1] ?? rate;
}

export class Deck {
  /**
   * @param {HTMLVideoElement} video
   * @param {import("./player_rest.js").Moment} moment the video's time, also while it rests
   * @param {HTMLElement} root what goes to the full screen: the video with its strip
   * @param {string} name the file's name
   * @param {{
   *   note(text: string): void, start(): void, stop(): void, step(frames: number): void,
   *   seek(seconds: number): void, rest: { away: boolean, awake(): Promise<void> }, addMarker(seconds: number): void,
   *   removeMarker(id: string): void,
   * }} view
   * @param {AbortSignal} signal
   */
  constructor(video, moment, root, name, view, signal) {
    this.video = video;
    this.moment = moment;
    this.root = root;
    this.name = name;
    this.view = view;
    this.stepper = new Stepper(video, signal);
  }

  toggle() {
    if (this.video.paused) this.view.start();
    else this.view.stop();
  }

  seek(/** @type {number} */ seconds) {
    if (this.moment.known) this.view.seek(Math.max(0, seconds));
  }

  seekBy(/** @type {number} */ seconds) {
    this.seek(this.moment.currentTime + seconds);
  }

  seekToPart(/** @type {number} */ part) {
    const { duration } = this.moment;
    if (Number.isFinite(duration)) this.seek(part * duration);
  }

  step(/** @type {number} */ frames) {
    if (this.view.rest.away) this.view.step(frames);
    if (this.video.readyState === 0 || this.view.rest.away) return;
    this.view.stop();
    this.stepper.step(frames);
  }

  setRate(/** @type {number} */ rate) {
    const { video } = this;
    try {
      // A load sets the rate to the default one.
      video.defaultPlaybackRate = rate;
      video.playbackRate = rate;
    } catch {
      video.defaultPlaybackRate = video.playbackRate;
      this.view.note(`This browser does not play at ${rate} times the speed.`);
    }
  }

  turnRate(/** @type {number} */ steps) {
    this.setRate(nextRate(this.video.playbackRate, steps));
  }

  turnVolume(/** @type {number} */ change) {
    const { video } = this;
    video.volume = Math.min(1, Math.max(0, Math.round((video.volume + change) * 100) / 100));
    if (change > 0) video.muted = false;
  }

  toggleMuted() {
    this.video.muted = !this.video.muted;
  }

  toggleFullscreen() {
    this.setFullscreen(document.fullscreenElement == null);
  }

  async setFullscreen(/** @type {boolean} */ on) {
    try {
      if (!on) {
        if (document.fullscreenElement) await document.exitFullscreen();
      } else if (document.fullscreenElement == null) {
        await this.root.requestFullscreen();
      }
    } catch {
      this.view.note("The browser fills the screen only right after a click or a key in the page: press F in the player.");
    }
  }

  setMarker() {
    if (this.moment.known) this.view.addMarker(this.moment.currentTime);
  }

  removeMarker(/** @type {string} */ id) {
    this.view.removeMarker(id);
  }

  /** Saves the frame that is shown as a PNG file, or copies it. */
  async snapshot(copy = false) {
    await this.view.rest.awake();
    const seconds = this.video.currentTime;
    const picture = await pictureOf(this.video, Infinity);
    if (typeof picture === "string") {
      this.view.note(`The frame could not be saved: ${picture}.`);
      return;
    }
    try {
      if (copy) {
        await navigator.clipboard.write([new ClipboardItem({ "image/png": picture })]);
        this.view.note(`The frame at ${timeCode(seconds)} was copied.`);
        return;
      }
      const link = document.createElement("a");
      const name = pictureName(this.name, seconds);
      link.href = URL.createObjectURL(picture);
      link.download = name;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), SAVING_MS);
      this.view.note(`The frame at ${timeCode(seconds)} was saved as "${name}".`);
    } catch {
      this.view.note(`The browser did not let the page ${copy ? "copy" : "save"} a picture: use the system's own screenshot.`);
    }
  }

  async togglePictureInPicture() {
    try {
      await this.view.rest.awake();
      if (document.pictureInPictureElement === this.video) await document.exitPictureInPicture();
      else await this.video.requestPictureInPicture();
    } catch {
      this.view.note("The browser did not show the picture in a window of its own: play the video first, then try again.");
    }
  }
}
