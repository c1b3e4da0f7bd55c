// Frame numbers and times in the page.
import assert from "node:assert/strict";
import { test } from "node:test";

import { FrameTimes } from "../../../vidnb/widgets/js/frame_times.js";
import { Stepper } from "../../../vidnb/widgets/js/frames.js";
import { takeSnapshot } from "../../../vidnb/widgets/js/snapshot.js";

const variable = new FrameTimes([0, 0.04, 0.12, 0.5]);

test("the frame at a time is the last one that starts at or before it", () => {
  for (const [time_s, index] of [[-1, 0], [0, 0], [0.0399, 0], [0.04, 1], [0.039991, 1], [0.119, 1], [0.12, 2], [0.4999, 2], [0.5, 3], [99, 3]]) {
    assert.equal(variable.indexAt(time_s), index, String(time_s));
  }
});

test("a seek goes to the middle of a frame, and just into the last one", () => {
  assert.deepEqual([0, 1, 2].map((n) => variable.seekTime(n)), [0.02, 0.08, 0.31]);
  assert.ok(Math.abs(variable.seekTime(3) - 0.501) < 1e-9);
  assert.equal(variable.seekTime(-5), 0.02);
  assert.equal(variable.seekTime(9), variable.seekTime(3));
  for (const n of [0, 1, 2, 3]) assert.equal(variable.indexAt(variable.seekTime(n)), n);
});

test("times come as numbers for a constant rate and as a buffer for a variable one", () => {
  const constant = FrameTimes.fromMessage({ count: 4, first: 10, interval: 33.4, tick_s: 0.001 }, undefined);
  assert.deepEqual([...constant.starts_s].map((time_s) => Math.round(time_s * 1000)), [10, 43, 77, 110]);
  const view = new DataView(new ArrayBuffer(24));
  [0.5, 0.75, 2.25].forEach((time_s, n) => view.setFloat64(8 * n, time_s, true));
  const sent = FrameTimes.fromMessage({ count: 3, first: 0, interval: 1, tick_s: 1 }, [view]);
  assert.deepEqual([...sent.starts_s], [0.5, 0.75, 2.25]);
});

function stepper(currentTime) {
  const video = Object.assign(new EventTarget(), { currentTime, paused: true, seeking: false, duration: 0.6, pause() {} });
  const made = new Stepper(video, new AbortController().signal);
  made.times = variable;
  return made;
}

test("a step goes to the next frame of the table, however long the frames are", async () => {
  for (const [from_s, frames, to_s] of [[0.05, 1, 0.31], [0.31, -1, 0.08], [0.02, 2, 0.31], [0.02, -3, 0.02], [0.31, 1, 0.501]]) {
    const one = stepper(from_s);
    await one.step(frames);
    assert.ok(Math.abs(one.video.currentTime - to_s) < 1e-9, `${from_s} ${frames}: ${one.video.currentTime}`);
  }
});

test("the frame that the browser reported counts, not the clock of the video", () => {
  const one = stepper(0.13);
  assert.equal(one.frameIndex(0.13), 2);
  one.media_s = 0.04;
  assert.equal(one.frameIndex(0.13), 1);
  one.times = null;
  assert.equal(one.frameIndex(0.13), null);
});

test("a snapshot waits for the end of a seek", async () => {
  const video = Object.assign(new EventTarget(), { seeking: true, readyState: 1, videoWidth: 0, videoHeight: 0 });
  let result = null;
  const taken = takeSnapshot(video, Infinity).then((found) => { result = found; });
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(result, null);
  video.dispatchEvent(new Event("seeked"));
  await taken;
  assert.equal(result, "no frame is shown yet");
});

test("a snapshot after a seek waits for the frame that it leads to", async () => {
  const video = Object.assign(new EventTarget(), { seeking: false, readyState: 4, videoWidth: 0, videoHeight: 0 });
  let show = () => {};
  video.requestVideoFrameCallback = (callback) => { show = callback; };
  const one = new Stepper(video, new AbortController().signal);
  let result = null;
  const taken = takeSnapshot(video, Infinity, one).then((found) => { result = found; });
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(result, null);
  show();
  await taken;
  assert.notEqual(result, null);
  one.media_s = 1; // the frame is known: nothing to wait for
  video.requestVideoFrameCallback = () => assert.fail("it waits");
  await takeSnapshot(video, Infinity, one);
});

test("in a video made of segments times begin at the start of the file", () => {
  const message = { count: 4, first: 35, interval: 1, tick_s: 0.04 };
  const times = FrameTimes.fromMessage({ ...message, start_s: 1.4 });
  const ofSegments = times.ofSegments();
  assert.ok(Math.abs(ofSegments.starts_s[0]) < 1e-9);
  assert.deepEqual([0, 0.0399, 0.04, 0.12].map((time_s) => ofSegments.indexAt(time_s)), [0, 0, 1, 3]);
  assert.equal(times.starts_s[0], 1.4000000000000001);
  const same = FrameTimes.fromMessage(message);
  assert.equal(same.ofSegments(), same, "an earlier Python sends no start");
});
