// @ts-check
/**
 * The page for one file: the browser's own player with the keys, frame steps and messages of the
 * player in notebooks.
 */

import { Controls } from "../../widgets/js/controls.js";
import { setText } from "../../widgets/js/elements.js";
import { listenToKeys } from "../../widgets/js/keys.js";
import { MessageArea } from "../../widgets/js/message_area.js";
import { pageErrorMessage, rateName, shortTime } from "../../widgets/js/messages.js";
import { Playhead } from "../../widgets/js/playhead.js";

const NOTICE_MS = 900;

const find = (/** @type {string} */ selector) => /** @type {HTMLElement} */ (document.querySelector(selector));
const video = /** @type {HTMLVideoElement} */ (find("video"));
const { signal } = new AbortController(); // the page lives until it is unloaded
const messages = new MessageArea(find(".player"), signal, NOTICE_MS);

const player = {
  isSuspended: false,
  resumed: () => Promise.resolve(),
  notify: (/** @type {string} */ text) => messages.notify(text),
  start() {
    video.play().catch(() => {}); // an error event tells why
  },
  stop() {
    video.pause();
  },
  seek(/** @type {number} */ seconds) {
    video.currentTime = Number.isFinite(video.duration) ? Math.min(seconds, video.duration) : seconds;
    messages.notify(shortTime(video.currentTime));
  },
  // Of a suspended video and of markers, which a page does not have.
  step() {},
  addMarker() {},
  removeMarker() {},
};

/** Controls that show what a key has done. */
class PageControls extends Controls {
  step(/** @type {number} */ frames) {
    super.step(frames);
    messages.notify(`One frame ${frames > 0 ? "forward" : "back"}`);
  }

  setRate(/** @type {number} */ rate) {
    super.setRate(rate);
    messages.notify(`Playback rate ${rateName(video.playbackRate)}`);
  }

  changeVolume(/** @type {number} */ change) {
    super.changeVolume(change);
    messages.notify(`Volume ${Math.round(100 * video.volume)} %${video.muted ? ", muted" : ""}`);
  }

  toggleMuted() {
    super.toggleMuted();
    messages.notify(video.muted ? "Muted" : "Unmuted");
  }
}

const playhead = new Playhead(video, { saved: null });
const controls = new PageControls(video, playhead, video, String(video.getAttribute("aria-label")), player, signal);
controls.stepper.listen(() => {});
// Captured, so that the browser's own keys for a focused video do not act as well.
listenToKeys(document, video, controls, { capture: true, signal });

function showFacts() {
  const { duration, videoWidth, videoHeight } = video;
  setText(find("#duration"), Number.isFinite(duration) ? shortTime(duration) : "");
  setText(find("#size"), videoWidth ? `${videoWidth} × ${videoHeight}` : "");
}

function showError() {
  messages.showError(pageErrorMessage(video.error?.code ?? 0));
}

video.addEventListener("loadedmetadata", showFacts);
video.addEventListener("error", showError);
video.addEventListener("playing", () => messages.clear());
// Both may have happened before this script ran.
if (video.readyState > 0) showFacts();
if (video.error) showError();
