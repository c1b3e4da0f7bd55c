// The thumbnails of the timeline: what is asked, kept and shown.
import assert from "node:assert/strict";
import { test } from "node:test";

import { page } from "./fake_dom.mjs";

import { MAX_KEPT, Thumbnails } from "../../../vidnb/widgets/js/thumbnails.js";

const jpeg = (...bytes) => [new DataView(Uint8Array.from([0, ...bytes]).buffer, 1)];
const answer = (from_s, until_s) => ({ from_s, until_s, is_off: false });

function make() {
  const asked = [];
  const controller = new AbortController();
  let answers = 0;
  const thumbnails = new Thumbnails((t_s) => asked.push(t_s), () => { answers += 1; }, controller.signal);
  thumbnails.isOn = true;
  return { thumbnails, asked, controller, count: () => answers, end: () => controller.abort() };
}

test("one question is under way, and the newest is asked next", () => {
  const { thumbnails, asked, end } = make();
  for (const t_s of [1, 2, 3, 4]) assert.equal(thumbnails.get(t_s), null);
  assert.deepEqual(asked, [1]);
  thumbnails.handleAnswer(answer(0, 1.5), jpeg(255, 216));
  assert.deepEqual(asked, [1, 4]);
  thumbnails.handleAnswer(answer(3, null), jpeg(1));
  assert.deepEqual(asked, [1, 4]);
  assert.equal(thumbnails.get(0.5).url, "data:image/jpeg;base64,/9g=");
  assert.equal(thumbnails.get(1e9).url, "data:image/jpeg;base64,AQ==", "the last one has no end");
  assert.deepEqual(asked, [1, 4], "pictures that are here are not asked for");
  assert.equal(thumbnails.get(1.5), null, "a range ends before its end");
  end();
});

test("the times of an answer are shifted to those of the view", () => {
  const { thumbnails, asked, end } = make();
  thumbnails.get(0.2);
  thumbnails.handleAnswer(answer(1.4, 3.4), jpeg(1), 1.4);
  assert.deepEqual([thumbnails.get(0)?.from_s, thumbnails.get(1.9)?.until_s, asked], [0, 2, [0.2]]);
  thumbnails.handleAnswer(answer(3.4, null), jpeg(1), 1.4);
  assert.equal(thumbnails.get(50)?.until_s, Infinity);
  end();
});

test("the last picture wanted is not asked for when it is there by then, or the pointer has left", () => {
  const { thumbnails, asked, end } = make();
  thumbnails.get(1);
  thumbnails.get(2);
  thumbnails.cancel();
  thumbnails.handleAnswer(answer(0, 1.5), jpeg(1));
  assert.deepEqual(asked, [1]);
  thumbnails.get(2);
  thumbnails.get(1);
  thumbnails.handleAnswer(answer(1.5, 3), jpeg(1));
  assert.deepEqual(asked, [1, 2]);
  end();
});

test("they are off until the frames are known, and once Python says so", () => {
  const { thumbnails, asked, end } = make();
  thumbnails.isOn = false;
  assert.equal(thumbnails.get(1), null);
  assert.deepEqual(asked, []);
  thumbnails.isOn = true;
  thumbnails.get(1);
  thumbnails.get(2);
  thumbnails.handleAnswer({ is_off: true });
  assert.deepEqual([asked, thumbnails.get(3)], [[1], null]);
  end();
});

test("what is not downloaded yet is asked for again, a damaged key frame is not", () => {
  const { thumbnails, asked, count, end } = make();
  thumbnails.get(1);
  thumbnails.handleAnswer({ is_off: false });
  assert.equal(thumbnails.get(1), null);
  assert.deepEqual(asked, [1, 1]);
  thumbnails.handleAnswer(answer(0, 2), []);
  assert.deepEqual(thumbnails.get(1.5), { from_s: 0, until_s: 2, url: "" });
  assert.deepEqual([asked, count()], [[1, 1], 2]);
  end();
});

test("so many are kept, the most recently used", () => {
  const { thumbnails, end } = make();
  for (let n = 0; n <= MAX_KEPT; n += 1) {
    if (n === MAX_KEPT) assert.ok(thumbnails.get(0), "it is used");
    thumbnails.handleAnswer(answer(n, n + 1), jpeg(n % 256));
  }
  assert.equal(thumbnails.kept.length, MAX_KEPT);
  assert.deepEqual([thumbnails.get(0)?.from_s, thumbnails.get(1), thumbnails.get(2)?.from_s], [0, null, 2]);
  thumbnails.handleAnswer(answer(2, 3), jpeg(9));
  assert.equal(thumbnails.kept.filter(({ from_s }) => from_s === 2).length, 1);
  end();
});

test("nothing is asked or kept after the end of the view", () => {
  const { thumbnails, asked, end } = make();
  thumbnails.get(1);
  thumbnails.get(2);
  end();
  thumbnails.handleAnswer(answer(0, 1.5), jpeg(1));
  assert.deepEqual([asked, thumbnails.kept, thumbnails.get(1)], [[1], [], null]);
});

/** A player of ten seconds; `frames()` is Python's message that it can read the frames. */
function player(options) {
  const shown = page(options);
  shown.video.arrive(10);
  const { root, deliver, call, view } = shown;
  const at = (name, clientX, target = "vidnb-slider") =>
    root.find(target).dispatchEvent(Object.assign(new Event(name), { clientX, button: 0 }));
  const frames = () => deliver({ kind: "frame_times", view: "", count: 3, first: 0, interval: 1, tick_s: 1 });
  const asked = () => shown.sent.filter(({ kind }) => kind === "thumbnail").map(({ t_s }) => t_s);
  const send = (content, buffers) => call("msg:custom", { v: 1, kind: "thumbnail", view, is_off: false, ...content }, buffers);
  return { ...shown, at, frames, asked, send, picture: root.find("vidnb-thumbnail"), tip: root.find("vidnb-tooltip-text") };
}

test("nothing is asked before Python can read the frames", () => {
  const { at, asked, frames, picture } = player();
  at("pointermove", 150);
  assert.deepEqual([asked(), picture.hidden], [[], true]);
  frames();
  assert.deepEqual(asked(), [], "only a pointer asks");
  at("pointermove", 150);
  assert.deepEqual(asked(), [2.5]);
});

test("the picture is above the time under the pointer, dimmed until it is the right one", () => {
  const { at, asked, frames, send, picture, tip, root } = player();
  frames();
  at("pointermove", 150);
  assert.ok(picture.hidden);
  send({ from_s: 2, until_s: 4 }, jpeg(1));
  assert.deepEqual([picture.hidden, picture.src, picture.style.opacity], [false, "data:image/jpeg;base64,AQ==", "1"]);
  assert.equal(tip.textContent, "0:00:02.500");
  at("pointermove", 200);
  assert.deepEqual([picture.hidden, picture.style.opacity, tip.textContent], [false, "0.3", "0:00:05.000"]);
  send({ from_s: 4, until_s: null }, jpeg(2));
  assert.deepEqual([picture.src, picture.style.opacity, asked()], ["data:image/jpeg;base64,Ag==", "1", [2.5, 5]]);
  at("pointerleave", 0, "vidnb-timeline");
  assert.deepEqual([picture.hidden, root.find("vidnb-tooltip").hidden], [true, true]);
  send({ from_s: 0, until_s: 1 }, jpeg(3));
  assert.ok(picture.hidden, "an answer that comes late shows nothing");
});

test("a key frame without a picture shows the time alone", () => {
  const { at, frames, send, picture, tip } = player();
  frames();
  at("pointermove", 150);
  send({ from_s: 2, until_s: 4 }, jpeg(1));
  at("pointermove", 200);
  send({ from_s: 4, until_s: 6 }, undefined);
  assert.deepEqual([picture.hidden, tip.textContent], [true, "0:00:05.000"]);
});

test("a press shows the picture, too: a finger does not move before", () => {
  const { at, asked, frames } = player();
  frames();
  at("pointerdown", 200);
  assert.deepEqual(asked(), [5]);
});

test("a marker shows its name and the picture at its time in the same place", () => {
  const { root, asked, frames, tip } = player({ marker_list: [{ id: "python-1", t_s: 7, label: "goal" }] });
  frames();
  root.find("vidnb-marker").dispatchEvent(new Event("focus"));
  assert.deepEqual([asked(), tip.textContent], [[7], "goal · 0:00:07.000"]);
});

test("the answers for another view are ignored", () => {
  const { at, frames, send, picture } = player();
  frames();
  at("pointermove", 150);
  send({ from_s: 2, until_s: 4, view: "another" }, jpeg(1));
  assert.ok(picture.hidden);
});

test("a file that changed at its source loses its pictures", () => {
  const { at, frames, send, asked, deliver, root } = player();
  root.find("vidnb-download").classList = { toggle() {} };
  frames();
  at("pointermove", 150);
  send({ from_s: 2, until_s: 4 }, jpeg(1));
  deliver({ kind: "download_state", view: "", state: "downloading", ranges: [], note: "", generation: 1 });
  at("pointermove", 150);
  assert.deepEqual(asked(), [2.5, 2.5]);
});
