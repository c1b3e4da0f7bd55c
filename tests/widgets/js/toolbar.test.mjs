// The decisions of the toolbar and the keys, without a page.
import assert from "node:assert/strict";
import { test } from "node:test";

import { nextRate, snapshotName } from "../../../vidnb/widgets/js/controls.js";
import { FrameClock, Stepper } from "../../../vidnb/widgets/js/frames.js";
import { keyAction, usesKey } from "../../../vidnb/widgets/js/keys.js";
import { Markers } from "../../../vidnb/widgets/js/markers.js";
import { isAudioFile, rateName } from "../../../vidnb/widgets/js/messages.js";
import { fraction } from "../../../vidnb/widgets/js/timeline.js";


/** The actions of a key, as text. */
function pressed(press) {
  const caused = [];
  const actions = new Proxy({}, { get: (_, name) => (...args) => caused.push([name, ...args].join(" ")) });
  const action = keyAction(press);
  if (action === null) return null;
  action(actions);
  return caused.join();
}

for (const [keys, caused] of [
  [[" ", "k", "K"], "toggle"],
  [["ArrowLeft"], "seekBy -5"],
  [["ArrowRight"], "seekBy 5"],
  [["j", "J"], "seekBy -10"],
  [["l", "L"], "seekBy 10"],
  [[","], "step -1"],
  [["."], "step 1"],
  [["<"], "changeRate -1"],
  [[">"], "changeRate 1"],
  [["ArrowUp"], "changeVolume 0.05"],
  [["ArrowDown"], "changeVolume -0.05"],
  [["m"], "setMarker"],
  [["M"], "toggleMuted"],
  [["f", "F"], "toggleFullscreen"],
  [["Home", "0"], "seekToFraction 0"],
  [["End"], "seekToFraction 1"],
  [["5"], "seekToFraction 0.5"],
  [["9"], "seekToFraction 0.9"],
  [["a", "Enter", "F5", "Dead", "toString", "__proto__", "Shift"], null],
]) {
  test(`keys ${JSON.stringify(keys)} cause ${caused}`, () => {
    for (const key of keys) assert.equal(pressed({ key }), caused, key);
  });
}

test("a key with a modifier is ignored", () => {
  for (const modifier of ["ctrlKey", "metaKey", "altKey", "isComposing"]) assert.equal(pressed({ key: "k", [modifier]: true }), null);
});

test("a repeated key event repeats seeks and steps, not toggles", () => {
  for (const key of ["ArrowRight", ".", "l"]) assert.notEqual(pressed({ key, repeat: true }), "", key);
  for (const key of [" ", "k", "m", "M", "f", "5"]) assert.equal(pressed({ key, repeat: true }), "", `${key} is taken and does nothing`);
});

test("buttons and lists handle the keys they need", () => {
  const uses = (tagName, key) => usesKey({ tagName }, key);
  assert.deepEqual([uses("BUTTON", " "), uses("button", "Enter"), uses("BUTTON", "k"), uses("BUTTON", "ArrowLeft")], [true, true, false, false]);
  assert.deepEqual([uses("SELECT", "ArrowUp"), uses("INPUT", "k"), uses("VIDEO", " "), uses("DIV", "Enter")], [true, true, false, false]);
  assert.equal(usesKey(null, " "), false);
});

/** Plays frames of this length (s) from the beginning, and returns the measured duration. */
function played(frame, count, leaveOut = () => false) {
  const clock = new FrameClock();
  let presented = 0;
  for (let index = 0; index < count; index += 1) {
    if (!leaveOut(index)) clock.addFrame(Math.round(index * frame * 1e6) / 1e6, (presented += 1));
  }
  return clock;
}

test("the frame duration is measured from two consecutive frames", () => {
  for (const rate of [10, 23.976, 25, 29.97, 30, 50, 60, 120]) {
    const clock = played(1 / rate, 40);
    assert.ok(Math.abs(clock.frame_s - 1 / rate) < 2e-6, `${rate}: ${clock.frame_s}`);
  }
  assert.equal(new FrameClock().frame_s, null);
});

test("skipped frames do not increase the frame duration", () => {
  const clock = played(0.04, 60, (index) => index % 3 === 1);
  assert.ok(Math.abs(clock.frame_s - 0.04) < 2e-6, String(clock.frame_s));
});

test("times rounded to milliseconds are averaged", () => {
  const clock = new FrameClock();
  for (let index = 0; index < 91; index += 1) clock.addFrame(Math.round((index * 1000) / 30) / 1000, index + 1);
  assert.ok(Math.abs(clock.frame_s - 1 / 30) < 1e-4, String(clock.frame_s));
});

test("frames before and after a seek are not compared", () => {
  const clock = new FrameClock();
  clock.addFrame(1, 1);
  clock.addFrame(5, 0);
  clock.addFrame(5.5, 0);
  clock.addFrame(4, 3);
  assert.equal(clock.frame_s, null);
});

test("a step seeks into the next frame from any position in the current one", () => {
  const clock = played(0.04, 26); // shows the one that begins at 1.0
  for (const now of [0.99, 1, 1.0001, 1.02, 1.0399, 1.05]) {
    for (const frames of [1, -1, 5, -10]) {
      const begins = 1 + frames * 0.04;
      const target = clock.seekTarget(now, frames);
      assert.ok(target > begins + 0.001 && target < begins + 0.039, `${now} ${frames}: ${target}`);
    }
  }
  assert.ok(Math.abs(clock.seekTarget(7, 2) - 7.08) < 1e-5, "the picture is not the clock's: the clock counts");
  assert.equal(clock.seekTarget(1, -100), 0);
});

test("the default frame duration is 1/30 s", () => {
  assert.equal(new FrameClock().seekTarget(2, 3), 2 + 3 / 30);
});

/** A video of frames of this length that shows one after each seek. */
function filmOf(frame, duration = 10) {
  const callbacks = [];
  const video = Object.assign(new EventTarget(), { paused: true, seeking: false, duration, frame, callbacks, pause() {}, at: 0 });
  video.requestVideoFrameCallback = (callback) => callbacks.push(callback);
  video.show = () => {
    const index = Math.floor(video.at / frame + 1e-9);
    for (const callback of callbacks.splice(0)) callback(0, { mediaTime: index * frame, presentedFrames: 1 });
    return index;
  };
  video.sought = 0;
  Object.defineProperty(video, "currentTime", {
    get: () => video.at,
    set: (seconds) => {
      video.at = seconds;
      video.sought += 1;
      queueMicrotask(() => video.show());
    },
  });
  return video;
}

const settle = () => new Promise((resolve) => setTimeout(resolve, 5));

for (const rate of [5, 10, 24, 25, 29.97, 30]) {
  test(`steps through ${rate} frames per second without a known frame duration`, async () => {
    const video = filmOf(1 / rate);
    const stepper = new Stepper(video, new AbortController().signal);
    stepper.listen(() => {});
    video.show();
    const seen = [];
    for (const frames of [1, 1, 1, -1, 1]) {
      await stepper.step(frames);
      await settle();
      seen.push(video.show());
    }
    assert.deepEqual(seen, [1, 2, 3, 2, 3]);
  });
}

for (const rate of [24, 25, 30, 60]) {
  test(`steps through ${rate} frames per second without the start time of a sought frame`, async () => {
    const video = filmOf(1 / rate);
    video.mozFrameDelay = 0;
    video.show = () => {
      const index = Math.floor(video.at / video.frame + 1e-9);
      for (const callback of video.callbacks.splice(0)) callback(0, { mediaTime: video.at, presentedFrames: 1 });
      return index;
    };
    video.at = 2;
    const copies = [];
    globalThis.document = {
      createElement: () => {
        const copy = filmOf(1 / rate);
        copies.push(copy);
        copy.play = async () => {
          for (let index = 0; index < 9; index += 1) {
            for (const callback of copy.callbacks.splice(0)) callback(0, { mediaTime: 2 + index / rate, presentedFrames: index + 1 });
          }
        };
        return Object.assign(copy, { removeAttribute() {}, load() { copy.ended = true; } });
      },
    };
    const stepper = new Stepper(video, new AbortController().signal);
    stepper.listen(() => {});
    const first = Math.floor(2 * rate);
    const seen = [];
    for (const frames of [1, 1, 1, -1, -3, 5]) {
      await stepper.step(frames);
      video.dispatchEvent(new Event("seeking"));
      await settle();
      seen.push(video.show() - first);
    }
    assert.deepEqual(seen, [1, 2, 3, 2, -1, 4]);
    assert.deepEqual(copies.map(({ ended, currentTime, muted }) => [ended, currentTime, muted]), [[true, 2, true]]);
  });
}

test("an empty copy does not change the assumed frame", async () => {
  const video = filmOf(1 / 30);
  video.mozFrameDelay = 0;
  video.at = 1;
  globalThis.document = {
    createElement: () => Object.assign(filmOf(1 / 30), { removeAttribute() {}, load() {}, play: () => Promise.reject(new Error("no")) }),
  };
  const stepper = new Stepper(video, new AbortController().signal);
  stepper.listen(() => {});
  await stepper.step(1);
  assert.equal(stepper.clock.frame_s, null);
  assert.equal(video.at, 1 + 1 / 30);
});

test("a step waits for the pending seek, and several are merged", async () => {
  const video = filmOf(1 / 30);
  const stepper = new Stepper(video, new AbortController().signal);
  stepper.listen(() => {});
  video.show();
  video.seeking = true;
  video.at = 2;
  const steps = [stepper.step(1), stepper.step(2), stepper.step(-1)];
  assert.equal(video.sought, 0);
  video.seeking = false;
  video.show();
  await Promise.all(steps);
  assert.equal(video.show(), 62);
  video.seeking = true;
  const late = stepper.step(1);
  video.at = 7;
  video.seeking = false;
  video.show();
  await late;
  assert.equal(video.at, 7, "the user has seeked elsewhere");
});

test("a step beyond the end stays at the end", async () => {
  const video = filmOf(1 / 25, 1);
  const stepper = new Stepper(video, new AbortController().signal);
  stepper.listen(() => {});
  video.at = 0.98;
  video.show();
  await stepper.step(1);
  assert.equal(video.at, 1);
  await stepper.step(-1);
  assert.ok(video.at < 1);
});

test("a later step cancels the retries of an earlier one", async () => {
  const video = filmOf(1 / 2);
  const stepper = new Stepper(video, new AbortController().signal);
  stepper.listen(() => {});
  video.show();
  const first = stepper.step(1);
  stepper.step(10);
  await first;
  assert.equal(video.sought, 2);
});

test("rates advance step by step and stop at the last", () => {
  const cases = [[1, 1, 1.25], [1, -1, 0.75], [3, 1, 3], [0.25, -1, 0.25], [1.1, 1, 1.25], [1.1, -1, 1], [16, -1, 3], [1, 2, 1.5]];
  for (const [rate, steps, next] of cases) assert.equal(nextRate(rate, steps), next, `${rate} ${steps}`);
  assert.equal(rateName(0.75), "0.75×");
});

test("a saved frame is named after its video and time, in characters that every system allows", () => {
  assert.equal(snapshotName("a film: part 1/2.mp4", 3661.25), "a film_ part 1_2 1h01m01.250s.png");
  assert.equal(snapshotName(".mp4", 0), "video 0h00m00.000s.png");
});

test("the position of a time is clamped to the timeline", () => {
  const cases = [[5, 10, 0.5], [-1, 10, 0], [11, 10, 1], [1, 0, 0], [1, NaN, 0], [1, Infinity, 0]];
  for (const [seconds, duration, place] of cases) assert.equal(fraction(seconds, duration), place);
});

test("markers are those of Python and those that it has not received yet", () => {
  const markers = new Markers("view");
  markers.update([{ id: "python-1", t_s: 5, label: "goal" }, { id: 7 }, null, { id: "x", t_s: NaN, label: "" }]);
  const own = markers.add(2.12345678);
  assert.deepEqual(markers.all(), [{ id: "view-1", t_s: 2.123457, label: "" }, { id: "python-1", t_s: 5, label: "goal" }]);
  markers.update([...markers.confirmed, { ...own, label: "named" }]);
  assert.deepEqual(markers.all().map(({ label }) => label), ["named", "goal"], "Python's word counts");
  markers.remove("python-1");
  assert.deepEqual(markers.all().map(({ id }) => id), ["view-1"], "removed before Python confirms it");
  markers.update([{ ...own }]);
  markers.update([{ ...own }, { id: "python-1", t_s: 5, label: "again" }]);
  assert.equal(markers.all().length, 2, "one that Python sets later is shown");
  markers.update("nonsense");
  assert.deepEqual(markers.all(), []);
});

test("an audio file is recognised by its name", () => {
  for (const name of ["a.mp3", "b.M4A", "c.opus"]) assert.ok(isAudioFile(name));
  for (const name of ["a.mp4", "mp3", "a.mp3.webm"]) assert.ok(!isAudioFile(name));
});
