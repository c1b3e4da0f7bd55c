// The page of `vidnb serve` on a fake DOM: its keys are those of the player, with its own messages.
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import { FILE, FakeElement, FakeVideo, settle, texts } from "./fake_dom.mjs";
import { REMUX, TRANSCODE, fakeMediaSource, playlistText } from "./fake_media_source.mjs";

let loads = 0;
afterEach(() => { delete globalThis.MediaSource; });

/** Load the page's script anew; `press` returns whether the page took the key. */
async function load(duration = 100, deliveries = [FILE], { mse, problem = "" } = {}) {
  const video = Object.assign(new FakeVideo(), { videoWidth: 640, videoHeight: 360 });
  video.setAttribute("aria-label", "film.mp4");
  video.dataset = { source: "../T/film.mp4", deliveries: JSON.stringify(deliveries), problem };
  mse?.feed(video);
  const found = { video, ".player": new FakeElement("div") };
  for (const name of ["#duration", "#size", "#delivery"]) found[name] = new FakeElement("span");
  globalThis.location = { href: "http://127.0.0.1:9/P/" };
  globalThis.document = Object.assign(new EventTarget(), {
    createElement: (tag) => new FakeElement(tag),
    querySelector: (selector) => found[selector],
    fullscreenElement: null,
  });
  loads += 1;
  await import(`../../../vidnb/server/pages/page.js?${loads}`);
  if (duration) video.arrive(duration);
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

/** Serves the segments of some variants; the others are a 422 with a sentence. */
function serveSegments(...variants) {
  const requests = [];
  globalThis.fetch = async (url) => {
    requests.push(url);
    const [variant, name] = url.split("/").slice(-2);
    if (!variants.includes(variant)) return new Response(`${variant} is damaged.`, { status: 422, headers: { "Content-Type": "text/plain" } });
    return new Response(name === "index.m3u8" ? playlistText() : name);
  };
  return requests;
}

test("the file itself is loaded where the browser plays it", async () => {
  const { video, found } = await load(10, [FILE, REMUX]);
  assert.equal(video.src, "../T/film.mp4");
  assert.equal(found["#delivery"].textContent, "");
});

test("a file that has to be remuxed is fed, and says so", async () => {
  const requests = serveSegments("copy.copy");
  const { found, shown } = await load(0, [REMUX, TRANSCODE], { mse: fakeMediaSource() });
  for (let turn = 0; turn < 10; turn += 1) await settle();
  assert.deepEqual(requests.slice(0, 3), ["index.m3u8", "init.mp4", "0.m4s"].map((name) => `http://127.0.0.1:9/T/copy.copy/${name}`));
  assert.deepEqual([found["#delivery"].textContent, found["#delivery"].title], ["remuxed", REMUX.reason]);
  assert.equal(found["#duration"].textContent, "0:40");
  assert.equal(shown().error, "");
});

for (const [what, spoil] of [
  ["that the browser cannot decode", (video) => video.fail(3)],
  ["without a picture", (video) => Object.assign(video, { videoWidth: 0 }).arrive(40)],
]) {
  test(`a file ${what} is transcoded, at the same position`, async () => {
    serveSegments("h264.aac");
    const type = 'video/mp4; codecs="hvc1.1.6.L93.B0"';
    const { video, found, shown } = await load(40, [{ ...FILE, type }, TRANSCODE], { mse: fakeMediaSource() });
    video.currentTime = 7;
    Object.defineProperty(video, "src", { set: () => Object.assign(video, { readyState: 0, currentTime: 0, error: null, videoWidth: 640 }) });
    spoil(video);
    for (let turn = 0; turn < 10; turn += 1) await settle();
    assert.deepEqual([found["#delivery"].textContent, video.currentTime, shown().error], ["transcoded", 7, ""]);
  });
}

test("where nothing plays the first reason is shown", async () => {
  serveSegments();
  const first = await load(0, [REMUX, TRANSCODE], { mse: fakeMediaSource() });
  for (let turn = 0; turn < 10; turn += 1) await settle();
  assert.equal(first.shown().error, "copy.copy is damaged.");
  const second = await load(0, [], { problem: "film.mp4 needs the extra media." });
  assert.equal(second.shown().error, "film.mp4 needs the extra media.");
});

test("a server that is gone is a failed connection", async () => {
  globalThis.fetch = async () => new Response("", { status: 404 });
  const { shown } = await load(0, [REMUX], { mse: fakeMediaSource() });
  for (let turn = 0; turn < 130; turn += 1) await settle();
  assert.equal(shown().error, "The connection failed: reload this page to continue.");
});
