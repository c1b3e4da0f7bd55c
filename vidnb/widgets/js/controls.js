// @ts-check
/**
 * The actions on one video, whether a key, the toolbar or Python asks for them.
 *
 * @typedef {import("./keys.js").KeyActions} KeyActions
 * @typedef {{
 *   notify(text: string): void,
 *   start(): void,
 *   stop(): void,
 *   seek(seconds: number): void,
 *   step(frames: number): void,
 *   addMarker(seconds: number): void,
 *   removeMarker(id: string): void,
 *   resumed(): Promise<void>,
 *   readonly isSuspended: boolean,
 * }} Player what the controls act on; `resumed` waits until a suspended video is loaded again
 */

import { setFullscreen } from "./elements.js";
import { Stepper } from "./frames.js";
import { FULLSCREEN_REFUSED, timeCode } from "./messages.js";
import { takeSnapshot } from "./snapshot.js";

const SAVE_TIMEOUT_MS = 60_000; // a browser that asks where to save a file reads it later
export const RATES = [0.25, 0.5, 0.75, 1, 1.25, 1.5, 2, 3];

/** The file name of a snapshot: the name of the video and the time, in characters every system allows. */
export function snapshotName(/** @type {string} */ name, /** @type {number} */ seconds) {
  const stem = name.replace(/\.[^.]*$/, "").replace(/[\\/:*?"<>|\u0000-\u001f]+/g, "_") || "video";
  return `${stem} ${timeCode(seconds).replace(":", "h").replace(":", "m")}s.png`;
}

/** The rate some steps above or below in RATES; a rate set by Python may lie between two of them. */
export function nextRate(/** @type {number} */ rate, /** @type {number} */ steps) {
  const further = steps > 0 ? RATES.filter((other) => other > rate + 1e-6) : RATES.filter((other) => other < rate - 1e-6).reverse();
  return further[Math.min(Math.abs(steps), further.length) - 1] ?? rate;
}

/** @implements {KeyActions} */
export class Controls {
  /**
   * @param {HTMLVideoElement} video
   * @param {import("./playhead.js").Playhead} playhead
   * @param {Element} root the element for full screen
   * @param {string} name the file
   * @param {Player} player
   * @param {AbortSignal} signal
   */
  constructor(video, playhead, root, name, player, signal) {
    this.video = video;
    this.playhead = playhead;
    this.root = root;
    this.name = name;
    this.player = player;
    this.stepper = new Stepper(video, signal);
  }

  toggle() {
    if (this.video.paused) this.player.start();
    else this.player.stop();
  }

  seek(/** @type {number} */ seconds) {
    if (this.playhead.isKnown) this.player.seek(Math.max(0, seconds));
  }

  seekBy(/** @type {number} */ seconds) {
    this.seek(this.playhead.currentTime + seconds);
  }

  seekToFraction(/** @type {number} */ fraction) {
    const { duration } = this.playhead;
    if (Number.isFinite(duration)) this.seek(fraction * duration);
  }

  step(/** @type {number} */ frames) {
    if (this.player.isSuspended) {
      this.player.step(frames);
    } else if (this.video.readyState > 0) {
      this.player.stop();
      this.stepper.step(frames);
    }
  }

  setRate(/** @type {number} */ rate) {
    const { video } = this;
    try {
      video.defaultPlaybackRate = rate; // a load resets the rate to the default one
      video.playbackRate = rate;
    } catch {
      video.defaultPlaybackRate = video.playbackRate;
      this.player.notify(`This browser does not support a playback rate of ${rate}.`);
    }
  }

  changeRate(/** @type {number} */ steps) {
    this.setRate(nextRate(this.video.playbackRate, steps));
  }

  changeVolume(/** @type {number} */ change) {
    const { video } = this;
    video.volume = Math.min(1, Math.max(0, Math.round((video.volume + change) * 100) / 100));
    if (change > 0) video.muted = false;
  }

  toggleMuted() {
    this.video.muted = !this.video.muted;
  }

  /** Toggle full screen, or turn it on or off. */
  async toggleFullscreen(/** @type {boolean | undefined} */ on = undefined) {
    await setFullscreen(this.root, on).catch(() => this.player.notify(FULLSCREEN_REFUSED));
  }

  setMarker() {
    if (this.playhead.isKnown) this.player.addMarker(this.playhead.currentTime);
  }

  removeMarker(/** @type {string} */ id) {
    this.player.removeMarker(id);
  }

  /** Save the frame that is shown as a PNG file, or copy it to the clipboard. */
  async saveSnapshot(copy = false) {
    const { player } = this;
    await player.resumed();
    const seconds = this.video.currentTime;
    const picture = await takeSnapshot(this.video, Infinity, this.stepper);
    if (typeof picture === "string") {
      player.notify(`The frame could not be saved: ${picture}.`);
      return;
    }
    try {
      if (copy) {
        await navigator.clipboard.write([new ClipboardItem({ "image/png": picture })]);
        player.notify(`The frame at ${timeCode(seconds)} was copied.`);
        return;
      }
      const link = document.createElement("a");
      const name = snapshotName(this.name, seconds);
      link.href = URL.createObjectURL(picture);
      link.download = name;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), SAVE_TIMEOUT_MS);
      player.notify(`The frame at ${timeCode(seconds)} was saved as "${name}".`);
    } catch {
      player.notify(`The browser did not allow the page to ${copy ? "copy" : "save"} a picture: take a screenshot instead.`);
    }
  }

  async togglePictureInPicture() {
    try {
      await this.player.resumed();
      if (document.pictureInPictureElement === this.video) await document.exitPictureInPicture();
      else await this.video.requestPictureInPicture();
    } catch {
      this.player.notify("The browser did not open a picture-in-picture window: play the video first, then try again.");
    }
  }
}
