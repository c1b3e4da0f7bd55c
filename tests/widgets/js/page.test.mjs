// The page of `vidnb serve` on a fake DOM: its keys are those of the player, with its own messages.
import assert from "node:assert/strict";
import { test } from "node:test";

import { FakeElement, FakeVideo, settle, texts } from "./fake_dom.mjs";

let loads = 0;

/** Load the page's script anew; `press` returns whether the page took the key. */
async function load(duration = 100) {
  const video = Object.assign(new FakeVideo(), { videoWidth: 640, videoHeight: 360 });
  video.setAttribute("aria-label", "film.mp4");
  const found = { video, ".player": new FakeElement("div"), "#duration": new FakeElement("span"), "#size": new FakeElement("span") };
  globalThis.document = Object.assign(new EventTarget(), {
    createElement: (tag) => new FakeElement(tag),
    querySelector: (selector) => found[selector],
    fullscreenElement: null,
  });
  loads += 1;
  await import(`../../../vidnb/server/pages/page.js?${loads}`);
  video.arrive(duration);
  const press = (key, more = {}) => {
    const event = Object.assign(new Event("keydown", { cancelable: true }), { key, ...more });
    Object.defineProperty(event, "target", { value: video });
    document.dispatchEvent(event);
    return event.defaultPrevented;
  };
  return { video, press, found, shown: () => texts(found[".player"]) };
}

test("a muted video stays muted when it is made quieter", async () => {
  const { video, press } = await load();
  press("M");
  press("ArrowDown");
  assert.deepEqual([video.muted, video.volume], [true, 0.95]);
  press("ArrowUp");
  assert.deepEqual([video.muted, video.volume], [false, 1]);
});

test("a repeated key event for play and pause acts once", async () => {
  for (const key of ["k", " "]) {
    const { video, press } = await load();
    press(key);
    await settle();
    for (let repeat = 0; repeat < 3; repeat += 1) assert.ok(press(key, { repeat: true }), "the browser does not act either");
    assert.ok(!video.paused, key);
  }
});

test("m sets no marker and does not mute", async () => {
  const { video, press } = await load();
  press("m");
  assert.equal(video.muted, false);
});

test("keys show a message with their effect", async () => {
  const { video, press, found, shown } = await load(100.4);
  assert.deepEqual([found["#duration"].textContent, found["#size"].textContent], ["1:40", "640 × 360"]);
  for (const [key, notice] of [["l", "0:10"], ["5", "0:50"], [".", "One frame forward"], [">", "Playback rate 1.25×"],
    ["ArrowDown", "Volume 95 %"], ["M", "Muted"], ["ArrowDown", "Volume 90 %, muted"], ["M", "Unmuted"]]) {
    assert.ok(press(key), key);
    assert.equal(shown().notice, notice);
  }
  press("End");
  assert.equal(video.currentTime, 100.4);
  assert.ok(!press("x"));
});

test("an error is shown until the video plays", async () => {
  const { video, shown } = await load();
  video.fail(2);
  assert.equal(shown().error, "The connection failed: reload this page to continue.");
  video.fire("playing");
  assert.equal(shown().error, "");
});
