// @ts-check
/**
 * The page for one file: the browser's own player with the keys, frame steps and messages of the
 * player in notebooks. It plays the first delivery that the browser supports, and the next one where
 * that fails.
 *
 * @typedef {import("../../widgets/js/deliveries.js").Delivery} Delivery
 */

import { chooseDelivery, hasPicture } from "../../widgets/js/deliveries.js";
import { Controls } from "../../widgets/js/controls.js";
import { setText } from "../../widgets/js/elements.js";
import { listenToKeys } from "../../widgets/js/keys.js";
import { MessageArea } from "../../widgets/js/message_area.js";
import { audioOnly, pageErrorMessage, rateName, shortTime } from "../../widgets/js/messages.js";
import { Playhead } from "../../widgets/js/playhead.js";
import { FileError } from "../../widgets/js/kernel_channel.js";
import { playSegments, playsSegments } from "../../widgets/js/segment_feeder.js";
import { ReadError } from "../../widgets/js/segment_reader.js";

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

/** @type {Delivery[]} those that the browser has not failed to play */
let deliveries = JSON.parse(video.dataset.deliveries ?? "[]");
/** @type {Delivery | null} */
let delivery = null;
/** @type {import("../../widgets/js/segment_feeder.js").SegmentFeeder | null} */
let feeder = null;
let problem = video.dataset.problem ?? "";

/** Load the best delivery that is left; the position stays. @returns {boolean} whether there is one */
function load() {
  const { currentTime, paused } = video;
  const source = String(video.dataset.source);
  feeder?.end();
  feeder = null;
  delivery = chooseDelivery(deliveries, "page", (type) => video.canPlayType(type) !== "", (type) => playsSegments(video, type));
  if (!delivery) return false;
  if (delivery.kind === "direct") video.src = source;
  else feeder = playSegments(video, new URL(source, location.href).href, delivery, handleFeedError);
  if (currentTime) video.addEventListener("loadedmetadata", () => { video.currentTime = currentTime; }, { once: true });
  if (!paused) player.start();
  const label = find("#delivery");
  setText(label, { direct: "", remux: "remuxed", transcode: "transcoded" }[delivery.kind]);
  label.title = delivery.reason;
  return true;
}

/** The delivery cannot be decoded: load the next one, or show the sentence about the first of them. */
function fail(/** @type {string} */ text) {
  problem ||= text;
  deliveries = deliveries.filter((each) => each !== delivery);
  if (!load()) messages.showError(problem);
}

function handleFeedError(/** @type {Error} */ error) {
  if (error instanceof ReadError) messages.showError(pageErrorMessage(2));
  else fail(error instanceof FileError ? error.message : pageErrorMessage(4));
}

function handleError() {
  const code = video.error?.code ?? 0;
  if (code > 2) fail(pageErrorMessage(code));
  else messages.showError(pageErrorMessage(code));
}

video.addEventListener("loadedmetadata", () => {
  if (video.videoWidth === 0 && delivery && hasPicture(delivery.type) && deliveries.length > 1) fail(audioOnly(document.title));
  else showFacts();
});
video.addEventListener("error", handleError);
video.addEventListener("playing", () => messages.clear());
if (!load()) messages.showError(problem || pageErrorMessage(4));
