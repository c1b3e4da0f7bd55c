// The part of a video that plays: where it stops, and what ends it.
import assert from "node:assert/strict";
import { test } from "node:test";

import { last, page, settle } from "./fake_dom.mjs";

import { FrameTimes } from "../../../vidnb/widgets/js/frame_times.js";
import { partStop } from "../../../vidnb/widgets/js/played_part.js";

const near = (found, expected, text) => assert.ok(Math.abs(found - expected) < 1e-9, `${text ?? ""} ${found}, not ${expected}`);
const until = async (condition) => { while (!condition()) await settle(); };
const TIMES = new FrameTimes(Array.from({ length: 250 }, (_, n) => n / 25));

for (const [end_s, frame] of [
  [2, 49], // the frame that starts at the end is not part of it
  [2.01, 50],
  [2.000001, 49], // a time in microseconds
  [1.999999, 49],
  [0.01, 0],
  [99, 249], // beyond the end of the video
]) {
  test(`a part up to ${end_s} s ends on frame ${frame}`, () => {
    const { rest_s, stop_s } = partStop(end_s, 10, TIMES, false);
    assert.equal(TIMES.indexAt(rest_s), frame);
    assert.ok(stop_s >= TIMES.starts_s[frame], "not before its last frame");
    assert.ok(stop_s < Math.min(end_s, 10) , "before the frame after it");
  });
}

test("a long last frame plays to its end, a short one pauses at its start, or in a loop at its half", () => {
  const slow = new FrameTimes([0, 5, 10]);
  near(partStop(10, 20, slow, false).stop_s, 9.975);
  near(partStop(7, 20, slow, true).stop_s, 6.975);
  const fast = new FrameTimes([0, 0.01, 0.02, 0.03]);
  near(partStop(0.03, 1, fast, false).stop_s, 0.02);
  near(partStop(0.03, 1, fast, true).stop_s, 0.025);
});

test("without the times of the frames it ends just before its end", () => {
  for (const times of [null, new FrameTimes([])]) {
    const { rest_s, stop_s } = partStop(4, NaN, times, false);
    near(rest_s, 3.999);
    near(stop_s, 3.975);
  }
  assert.equal(partStop(0.0001, NaN, null, false).rest_s, 0);
});

/** A player of a part whose video seeks at once and moves by hand. */
function part(options = {}) {
  const shown = page({ start_s: 2, end_s: 4, ...options });
  const { video } = shown;
  let position = 0;
  Object.defineProperty(video, "currentTime", {
    get: () => position,
    set: (seconds) => {
      position = seconds;
      video.fire("seeking");
      queueMicrotask(() => video.fire("seeked"));
    },
  });
  const move = (seconds) => { position = seconds; };
  const tick = (seconds) => {
    move(seconds);
    video.fire("timeupdate");
  };
  video.arrive(10);
  return { ...shown, move, tick };
}

test("a hidden page, which paints no frame, reports the end, too", async () => {
  const { video, sent, tick } = part();
  await settle();
  await video.play();
  tick(3.98);
  await until(() => last(sent, "ended"));
  assert.deepEqual([last(sent, "ended").ended, video.paused], [true, true]);
});

test("it pauses at its end, and reports that it has ended", async () => {
  const { video, sent, tick } = part();
  await settle();
  assert.equal(video.currentTime, 2);
  await video.play();
  tick(3.9);
  assert.equal(video.paused, false);
  tick(3.98);
  await settle();
  assert.ok(video.paused);
  near(video.currentTime, 3.999);
  assert.equal(last(sent, "ended"), undefined, "its last frame is not painted yet");
  video.showFrame(3.96, 100);
  video.showFrame(3.96, 101);
  assert.deepEqual([last(sent, "ended").ended, last(sent, "ended").paused], [true, true]);
  assert.equal(sent.filter(({ event }) => event === "ended").length, 1);
});

test("the end is reached between two events of the video, too", async () => {
  const { video, tick, move } = part();
  await settle();
  await video.play();
  tick(3.96);
  move(3.98);
  await until(() => video.paused);
  near(video.currentTime, 3.999);
});

test("a frame after the end stops it, whatever the clock says", async () => {
  const { video, tick } = part();
  await settle();
  await video.play();
  tick(3.5);
  video.showFrame(4.0, 100);
  await settle();
  assert.ok(video.paused);
  near(video.currentTime, 3.999);
});

test("it plays from its start again after its end, and where the position is later", async () => {
  const { video, sent, tick, deliver } = part();
  await settle();
  await video.play();
  tick(3.99);
  await settle();
  await video.play();
  assert.equal(video.currentTime, 2);
  assert.equal(video.paused, false);
  video.pause();
  deliver({ kind: "command", seq: 1, t_s: 8 });
  assert.equal(video.currentTime, 8, "any position can be sought");
  deliver({ kind: "command", seq: 2, playing: true });
  await settle();
  assert.equal(video.currentTime, 2);
  assert.equal(last(sent, "play").ended, false);
});

test("it plays from before its start into it", async () => {
  const { video, deliver } = part();
  await settle();
  deliver({ kind: "command", seq: 1, t_s: 0.5, playing: true });
  await settle();
  assert.deepEqual([video.currentTime, video.paused], [0.5, false]);
});

test("a seek beyond its end while it plays ends it", async () => {
  const { video, sent, tick, deliver } = part();
  await settle();
  await video.play();
  tick(3);
  deliver({ kind: "command", seq: 1, t_s: 8 });
  await until(() => last(sent, "ended"));
  assert.ok(video.paused);
  near(video.currentTime, 3.999);
});

test("a seek elsewhere before the end is reported cancels that", async () => {
  const { video, sent, tick, deliver } = part();
  await settle();
  await video.play();
  tick(3.99);
  deliver({ kind: "command", seq: 1, t_s: 3 });
  await settle();
  video.showFrame(3, 100);
  assert.equal(video.currentTime, 3);
  assert.equal(last(sent, "ended"), undefined);
});

test("in a loop it goes back to its start and plays on", async () => {
  const { video, sent, tick } = part({ start_loop: true });
  await settle();
  await video.play();
  tick(3.99);
  await settle();
  assert.deepEqual([video.currentTime, video.paused], [2, false]);
  assert.equal(last(sent, "ended"), undefined);
  tick(3.99);
  assert.equal(video.currentTime, 2, "and again");
});

test("a part up to the end of the video loops to its own start, also where the browser is faster", async () => {
  const { video, tick } = part({ start_loop: true, end_s: 12 });
  await settle();
  await video.play();
  tick(9.9);
  video.currentTime = 0; // the browser's loop
  await settle();
  assert.equal(video.currentTime, 2);
  tick(5);
  video.currentTime = 0; // that of a person
  await settle();
  assert.equal(video.currentTime, 0);
});

test("a jump to the start is a person's where the part ends before the video", async () => {
  const { video, tick } = part({ start_loop: true, end_s: 9.8 });
  await settle();
  await video.play();
  tick(9.7);
  video.currentTime = 0;
  await settle();
  assert.equal(video.currentTime, 0);
});

test("the end of the video ends a part that reaches it once", async () => {
  const { video, sent, tick } = part({ end_s: 12 });
  await settle();
  await video.play();
  tick(9.95);
  video.fire("ended");
  await until(() => last(sent, "ended"));
  assert.equal(sent.filter(({ event }) => event === "ended").length, 1);
  near(video.currentTime, 9.999);
});

test("the timeline shows the part", () => {
  const { root, video } = page({ start_s: 2, end_s: 4 });
  const band = root.find("vidnb-part");
  assert.ok(band.hidden, "the duration is not known");
  video.arrive(10);
  assert.deepEqual([band.hidden, band.style.left, band.style.width], [false, "20.000%", "20.000%"]);
  assert.equal(root.find("vidnb-slider").getAttribute("aria-description"), "Plays from 0:00:02.000 to 0:00:04.000");
  const whole = page();
  whole.video.arrive(10);
  assert.ok(whole.root.find("vidnb-part").hidden);
  assert.equal(whole.root.find("vidnb-slider").getAttribute("aria-description"), null);
});

test("of two views only the leading one ends the part", async () => {
  const { video, show, sent } = page({ start_s: 2, end_s: 4 });
  video.arrive(10);
  const second = show();
  second.video.arrive(10);
  second.video.paused = false;
  second.video.currentTime = 3.99;
  second.video.fire("timeupdate");
  assert.equal(second.video.paused, false);
  assert.equal(last(sent, "ended"), undefined);
});
