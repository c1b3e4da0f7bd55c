// Feeding a video piece by piece: what is asked for, in which order, what is let go, and when it is given up.
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import { FakeVideo, page, settle, texts } from "./fake_dom.mjs";

import { KernelReader } from "../../../vidnb/widgets/js/kernel_channel.js";
import { SegmentFeeder } from "../../../vidnb/widgets/js/segment_feeder.js";

const MIB = 2 ** 20;
const INIT = 1000;
const PIECE_S = 4; // of each MiB
const TYPE = 'video/mp4; codecs="avc1.64001F"';
const timeOf = (offset) => (Math.max(0, offset - INIT) / MIB) * PIECE_S;

/** A source buffer that knows by the first bytes of what it is given where in the file that stands. */
class FakeBuffer {
  constructor(media) {
    Object.assign(this, { media, spans: [], acts: [], holds: Infinity, updating: false, breaksAt: Infinity, deaf: false });
  }
  appendBuffer(bytes) {
    assert.ok(!this.updating);
    const at = bytes.getFloat64(0);
    const span = [timeOf(at), timeOf(at + bytes.byteLength)];
    if (this.seconds() + span[1] - span[0] > this.holds) throw new DOMException("full", "QuotaExceededError");
    this.acts.push(["append", at]);
    this.media.readyState = "open";
    this.update(() => {
      if (at >= this.breaksAt) {
        this.onerror();
        return;
      }
      if (this.deaf) return;
      const all = [...this.spans, span].sort((a, b) => a[0] - b[0]);
      this.spans = all.reduce((merged, [from, to]) => {
        const last = merged.at(-1);
        if (last && from <= last[1] + 0.01) last[1] = Math.max(last[1], to);
        else merged.push([from, to]);
        return merged;
      }, []);
      this.media.video.readyState ||= 1;
    });
  }
  remove(from, to) {
    assert.ok(!this.updating);
    this.acts.push(["remove", from, to]);
    this.media.readyState = "open";
    this.update(() => {
      this.spans = this.spans.flatMap(([start, end]) =>
        [[start, Math.min(end, from)], [Math.max(start, to), end]].filter(([a, b]) => a < b));
    });
  }
  abort() {
    assert.ok(!this.updating);
    assert.equal(this.media.readyState, "open");
    this.acts.push(["abort"]);
  }
  update(change) {
    this.updating = true;
    setImmediate(() => {
      this.updating = false;
      change();
      this.onupdateend();
    });
  }
  seconds() { return this.spans.reduce((sum, [from, to]) => sum + to - from, 0); }
}

const ends = [];
afterEach(() => {
  ends.splice(0).forEach((end) => end());
  delete globalThis.MediaSource;
});

/** A browser that can be fed, with what it was told. */
function feedable({ supports = () => true, refuses = false } = {}) {
  const made = { urls: [], revoked: [] };
  globalThis.MediaSource = class extends EventTarget {
    static isTypeSupported = supports;
    constructor() {
      super();
      Object.assign(this, { readyState: "closed", duration: NaN, ended: 0 });
      made.media = this;
      setImmediate(() => {
        this.readyState = "open";
        this.dispatchEvent(new Event("sourceopen"));
      });
    }
    addSourceBuffer(type) {
      if (refuses) throw new DOMException("no", "NotSupportedError");
      made.type = type;
      this.video = made.video;
      made.buffer = new FakeBuffer(this);
      return made.buffer;
    }
    endOfStream() {
      assert.equal(this.readyState, "open");
      this.readyState = "ended";
      this.ended += 1;
    }
  };
  URL.createObjectURL = (object) => {
    made.urls.push(object);
    return `blob:${made.urls.length}`;
  };
  URL.revokeObjectURL = (url) => made.revoked.push(url);
  return made;
}

const spansOf = (spans) => ({ length: spans.length, start: (n) => spans[n][0], end: (n) => spans[n][1] });

/** A feeder with a kernel that answers at once, unless it is told to hold back. */
function feeder({ mib = 40, places = 40, answers = true, change = (content) => content, ...browser } = {}) {
  const made = feedable(browser);
  const size = INIT + mib * MIB;
  const video = new FakeVideo();
  Object.defineProperty(video, "buffered", { get: () => spansOf(made.buffer?.spans ?? []) });
  made.video = video;
  const asked = [];
  const told = [];
  const files = new KernelReader((message) => {
    asked.push(message);
    if (made.answers) setImmediate(() => made.answer(message));
  });
  made.answers = answers;
  made.answer = ({ number, start, stop }) => {
    const bytes = new DataView(new ArrayBuffer(stop - start));
    bytes.setFloat64(0, start);
    files.handleResponse(change({ number, tag: "t", size_bytes: size }, asked.length), [bytes]);
  };
  const index = Array.from({ length: places }, (_, n) => [n * PIECE_S, INIT + n * MIB]);
  const info = { size, tag: "t", index: { mime: TYPE, init_bytes: INIT, duration_s: mib * PIECE_S, index } };
  const events = {
    onBusy: (isBusy) => told.push(["busy", isBusy]),
    onScan: (isScanning) => told.push(["scan", isScanning]),
    onReadError: (reason) => told.push(["readError", reason]),
    onFeedError: () => told.push(["feedError"]),
  };
  const its = new SegmentFeeder(video, files, "video", info, events);
  ends.push(() => its.end());
  const go = async (seconds, event = "seeking") => {
    video.currentTime = seconds;
    video.fire(event);
    await rest();
  };
  /** Waits until nothing more is asked for. */
  const rest = async () => {
    for (let seen = -1; seen !== asked.length; ) {
      seen = asked.length;
      for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate);
    }
  };
  const starts = () => asked.map(({ start }) => start);
  return Object.assign(made, { its, asked, told, go, rest, starts, size, files });
}

test("it is fed in order from the beginning, paused but a little ahead, playing more", async () => {
  const made = feeder();
  await made.rest();
  assert.equal(made.video.src, "blob:1");
  assert.equal(made.type, TYPE);
  assert.equal(made.media.duration, 160);
  assert.deepEqual(made.starts(), [0, MIB, 2 * MIB, 3 * MIB]); // the last one waits until it is needed
  assert.ok(made.asked.every(({ kind, resource, start, stop }) => kind === "byte_range" && resource === "video" && stop - start === MIB));
  await made.video.play();
  await made.rest();
  assert.deepEqual(made.starts(), [0, 1, 2, 3, 4, 5, 6, 7, 8].map((n) => n * MIB));
  await made.go(9, "timeupdate");
  assert.deepEqual(made.starts().slice(9), [9, 10].map((n) => n * MIB));
  assert.deepEqual(made.told, []);
  assert.ok(!made.buffer.acts.some(([act]) => act !== "append"));
});

test("after a seek it begins at the place that the index names, and asks for nothing between", async () => {
  const made = feeder();
  await made.rest();
  await made.go(57);
  assert.deepEqual(made.starts().slice(4), [14, 15, 16, 17].map((n) => INIT + n * MIB));
  assert.deepEqual(made.buffer.acts[3], ["abort"]);
  assert.deepEqual(made.buffer.spans.map(([from]) => from), [0, 56]);
  await made.go(1.5); // held still, and so is enough of what follows
  assert.equal(made.asked.length, 8);
  await made.go(40.1); // the next place is too near: its sound or pictures may begin later
  assert.equal(made.asked[8].start, INIT + 9 * MIB);
});

test("where two spans meet it goes on behind the later one", async () => {
  const made = feeder();
  await made.rest();
  await made.go(21);
  await made.go(5);
  await made.video.play();
  await made.rest();
  assert.deepEqual(made.buffer.spans.length, 1);
  assert.equal(made.starts().filter((start) => start === INIT + 6 * MIB).length, 1, "it did not come twice");
});

test("a seek does not wait for what is under way", async () => {
  const made = feeder({ answers: false });
  await made.rest();
  made.answer(made.asked[0]);
  await made.rest();
  assert.deepEqual(made.starts(), [0, MIB]);
  await made.go(80);
  assert.equal(made.asked.at(-1).start, INIT + 19 * MIB);
  made.answer(made.asked[1]);
  await made.rest();
  assert.deepEqual(made.buffer.acts, [["append", 0], ["abort"]]);
});

test("what lies far behind is let go, up to the beginning of a piece", async () => {
  const made = feeder();
  await made.video.play();
  for (let seconds = 0; seconds <= 100; seconds += 4) await made.go(seconds, "timeupdate");
  const removed = made.buffer.acts.filter(([act]) => act === "remove");
  assert.ok(removed.length > 0);
  for (const [, from, to] of removed) assert.deepEqual([from, to % PIECE_S], [0, 0]);
  const [[from, to]] = made.buffer.spans;
  assert.ok(from > 20 && from <= 70 && to >= 130, `${from} to ${to}`);
});

test("a browser without room lets go of what it needs least, and waits where there is nothing", async () => {
  const made = feeder();
  made.video.fire("waiting");
  await made.rest();
  made.buffer.holds = 24;
  await made.video.play();
  await made.rest();
  assert.deepEqual(made.told, [], "it waits");
  for (let seconds = 2; seconds <= 140; seconds += 2) {
    await made.go(seconds, "timeupdate");
    assert.ok(made.buffer.spans.some(([from, to]) => from <= seconds && seconds < to), `at ${seconds}`);
  }
  assert.deepEqual(made.told, []);
  await made.go(5); // what lies ahead goes now
  assert.ok(made.buffer.spans.some(([from, to]) => from <= 5 && 5 < to));
  assert.deepEqual(made.told, []);
});

test("one that takes nothing at all is given up", async () => {
  const made = feeder();
  await made.rest();
  made.buffer.holds = 0;
  await made.go(100);
  assert.deepEqual(made.told, [["feedError"]]);
});

test("at the end it says so, and goes back from there", async () => {
  const made = feeder({ mib: 3, places: 3 });
  await made.rest();
  assert.deepEqual(made.asked.map(({ stop }) => stop), [MIB, 2 * MIB, 3 * MIB, made.size]);
  assert.equal(made.media.ended, 0);
  await made.go(7);
  assert.equal(made.media.ended, 1);
  await made.go(11, "timeupdate");
  assert.equal(made.media.ended, 1);
  made.buffer.spans = [[8, 12]]; // the browser let the rest go
  await made.go(1);
  assert.equal(made.asked.at(-1).start, INIT + 2 * MIB);
  assert.deepEqual(made.buffer.spans, [[0, 12]]);
  assert.deepEqual(made.told, []);
});

test("without an index it goes on in order, and says that it takes a while", async () => {
  const made = feeder({ places: 0 });
  await made.rest();
  await made.go(81);
  assert.deepEqual(made.starts(), made.starts().map((_, n) => n * MIB));
  assert.deepEqual(made.told, [["scan", true], ["scan", false]]);
  assert.ok(made.buffer.spans.some(([from, to]) => from <= 81 && 81 < to));
  made.buffer.spans = made.buffer.spans.slice(-1).map(([, to]) => [78, to]);
  const before = made.asked.length;
  await made.go(1);
  assert.equal(made.asked[before].start, INIT, "and from the beginning where it has to");
});

test("a place that leads too far is left for the one before it", async () => {
  const made = feeder();
  await made.rest();
  made.its.info.index.index[25][0] = 97; // it says to begin at 97, and begins at 100
  await made.go(98);
  assert.ok(made.buffer.spans.some(([from, to]) => from <= 98 && 98 < to));
  assert.deepEqual(made.told, []);
});

test("where no place leads to a position, it is given up", async () => {
  const made = feeder();
  await made.rest();
  for (let place = 20; place < 26; place += 1) made.its.info.index.index[place] = [90 + place / 10, INIT + 25 * MIB];
  await made.go(98);
  assert.deepEqual(made.told, [["feedError"]]);
});

test("bytes without pictures are not read for ever", async () => {
  const made = feeder({ mib: 100, places: 100, answers: false });
  await made.rest();
  made.buffer.deaf = made.answers = true;
  made.answer(made.asked[0]);
  await made.rest();
  assert.deepEqual(made.told, [["feedError"]]);
  assert.ok(made.asked.length < 70);
});

for (const [what, options, spoil, expected] of [
  ["a browser that makes no buffer", { refuses: true }, () => {}, ["feedError"]],
  ["a browser that cannot take it in", {}, ({ buffer }) => { buffer.breaksAt = MIB; }, ["feedError"]],
  ["a file that is gone", { change: (content, n) => (n > 1 ? { ...content, reason: "it cannot be read" } : content) }, () => {},
    ["readError", "it cannot be read"]],
  ["a file that changed", { change: (content, n) => ({ ...content, tag: n > 1 ? "other" : "t" }) }, () => {},
    ["readError", "it changed while it was loaded"]],
]) {
  test(`${what} is told apart`, async () => {
    const made = feeder({ answers: false, ...options });
    await made.rest();
    spoil(made);
    made.answers = true;
    if (made.asked[0]) made.answer(made.asked[0]);
    await made.rest();
    assert.deepEqual(made.told, [expected]);
  });
}

test("one that ends asks no more, and frees its address", async () => {
  const made = feeder({ answers: false });
  await made.rest();
  assert.equal(made.asked.length, 1);
  made.its.end();
  made.answer(made.asked[0]);
  await made.go(50);
  assert.equal(made.asked.length, 1);
  assert.deepEqual(made.revoked, ["blob:1"]);
  assert.deepEqual([made.told, made.buffer.acts], [[], []]);
});

test("a busy kernel is told of, and when it speaks again; one that owes nothing is not", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const made = feeder({ answers: false });
  await made.rest();
  t.mock.timers.tick(20000);
  assert.deepEqual(made.told, [["busy", true]]);
  made.answers = true;
  made.answer(made.asked[0]);
  await made.rest();
  assert.deepEqual(made.told, [["busy", true], ["busy", false]]);
  t.mock.timers.tick(60000);
  made.answers = false;
  await made.go(57); // asked in vain
  await made.go(0.5); // here it has what it needs
  t.mock.timers.tick(60000);
  assert.deepEqual(made.told, [["busy", true], ["busy", false]]);
});

// The journey by this route

const KERNEL = { urls: [{ route: "kernel", url: "", endpoint: "", needs: "" }] };
const INDEX = { mime: TYPE, init_bytes: INIT, duration_s: 40, index: [] };
const asks = (sent, kind) => sent.filter((message) => message.kind === kind);

async function byKernel({ index = INDEX, reason = undefined, ...browser } = {}) {
  const made = feedable(browser);
  const shown = page(KERNEL);
  const { sent, tell, view } = shown;
  made.video = shown.video;
  Object.defineProperty(made.video, "buffered", { get: () => spansOf(made.buffer?.spans ?? []) });
  const [asked] = asks(sent, "index");
  assert.equal(asked.resource, "video");
  tell({ kind: "index", view, number: asked.number, size_bytes: 40 * MIB, tag: "t", index, reason });
  for (let turn = 0; turn < 10; turn += 1) await settle();
  return { ...shown, made };
}

test("by the kernel a film in pieces needs no bar, and is not whole", async () => {
  const { root, sent, video, made, end } = await byKernel();
  assert.equal(root.find("vidnb-loading"), undefined);
  assert.equal(video.src, "blob:1");
  assert.deepEqual(asks(sent, "byte_range").map(({ start, stop }) => [start, stop]), [[0, MIB]]);
  await end();
  assert.deepEqual(made.revoked, ["blob:1"]);
});

for (const [what, options] of [
  ["that has no index", { index: null }],
  ["whose type the browser does not know", { supports: () => false }],
  ["of which the kernel cannot say", { reason: "there is nothing of this name" }],
]) {
  test(`a film ${what} comes as a whole`, async () => {
    const { root, sent, video } = await byKernel(options);
    assert.ok(root.find("vidnb-loading"));
    assert.equal(video.src, undefined);
    assert.deepEqual(asks(sent, "byte_range").map(({ start, stop }) => [start, stop]), [[0, 2 * MIB]]);
  });
}

test("one that the browser cannot take in comes as a whole, and goes on where it was", async () => {
  const { root, sent, video, made, tell, view } = await byKernel();
  video.arrive(40);
  video.currentTime = 17;
  video.paused = false;
  video.fail(3);
  await settle();
  assert.ok(root.find("vidnb-loading"));
  assert.deepEqual(made.revoked, ["blob:1"]);
  const asked = asks(sent, "byte_range").at(-1);
  assert.deepEqual([asked.start, asked.stop], [0, 2 * MIB]);
  Object.assign(video, { readyState: 0, currentTime: 0, paused: true, error: null });
  tell({ kind: "bytes", view, number: asked.number, size_bytes: 9, tag: "t", media_type: "video/mp4" });
  await settle();
  assert.match(texts(root).error, /Tried: kernel \(the kernel sent no bytes\)/);
});

test("after a restart of the kernel it does not play on", async () => {
  const { call, root, video } = await byKernel();
  video.arrive(40);
  call("comm_live_update");
  assert.match(texts(root).error, /was restarted: run the cell again/);
});

test("one without an index tells that a far position takes a while", async () => {
  const { call, root, sent, video, view } = await byKernel();
  const [{ number }] = asks(sent, "byte_range");
  const bytes = new DataView(new ArrayBuffer(MIB));
  call("msg:custom", { v: 1, kind: "bytes", view, number, size_bytes: 40 * MIB, tag: "t" }, [bytes]);
  await settle();
  video.arrive(40);
  video.currentTime = 30;
  video.fire("seeking");
  await settle();
  assert.match(texts(root).message, /has no index, so the file is read up to the requested position/);
});
