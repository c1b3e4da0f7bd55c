// The segment feeder: which ranges are requested, in which order, what is evicted, and when it fails.
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import { FakeVideo, page, settle, texts } from "./fake_dom.mjs";

import { KernelReader } from "../../../vidnb/widgets/js/kernel_channel.js";
import { SegmentFeeder } from "../../../vidnb/widgets/js/segment_feeder.js";

const MIB = 2 ** 20;
const INIT = 1000;
const SEGMENT_S = 4; // per MiB
const TYPE = 'video/mp4; codecs="avc1.64001F"';
const timeOf = (offset) => (Math.max(0, offset - INIT) / MIB) * SEGMENT_S;

/** A source buffer; the first bytes of appended data are their offset in the file. */
class FakeBuffer {
  constructor(media) {
    Object.assign(this, { media, ranges: [], calls: [], quota_s: Infinity, updating: false, failsAt: Infinity, ignoresData: false });
  }
  appendBuffer(bytes) {
    assert.ok(!this.updating);
    const at = bytes.getFloat64(0);
    const range = [timeOf(at), timeOf(at + bytes.byteLength)];
    if (this.seconds() + range[1] - range[0] > this.quota_s) throw new DOMException("full", "QuotaExceededError");
    this.calls.push(["append", at]);
    this.media.readyState = "open";
    this.update(() => {
      if (at >= this.failsAt) {
        this.onerror();
        return;
      }
      if (this.ignoresData) return;
      const all = [...this.ranges, range].sort((a, b) => a[0] - b[0]);
      this.ranges = all.reduce((merged, [from, to]) => {
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
    this.calls.push(["remove", from, to]);
    this.media.readyState = "open";
    this.update(() => {
      this.ranges = this.ranges.flatMap(([start, end]) =>
        [[start, Math.min(end, from)], [Math.max(start, to), end]].filter(([a, b]) => a < b));
    });
  }
  abort() {
    assert.ok(!this.updating);
    assert.equal(this.media.readyState, "open");
    this.calls.push(["abort"]);
  }
  update(change) {
    this.updating = true;
    setImmediate(() => {
      this.updating = false;
      change();
      this.onupdateend();
    });
  }
  seconds() { return this.ranges.reduce((sum, [from, to]) => sum + to - from, 0); }
}

const ends = [];
afterEach(() => {
  ends.splice(0).forEach((end) => end());
  delete globalThis.MediaSource;
});

/** A fake MediaSource, and the object URLs that were created and revoked. */
function fakeMediaSource({ supports = () => true, refuses = false } = {}) {
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

const timeRanges = (ranges) => ({ length: ranges.length, start: (n) => ranges[n][0], end: (n) => ranges[n][1] });

/** A feeder with a kernel that responds at once unless `responds` is false. */
function makeFeeder({ mib = 40, entries = 40, responds = true, change = (content) => content, ...browser } = {}) {
  const made = fakeMediaSource(browser);
  const size = INIT + mib * MIB;
  const video = new FakeVideo();
  Object.defineProperty(video, "buffered", { get: () => timeRanges(made.buffer?.ranges ?? []) });
  made.video = video;
  const requests = [];
  const reports = [];
  const files = new KernelReader((message) => {
    requests.push(message);
    if (made.responds) setImmediate(() => made.respond(message));
  });
  made.responds = responds;
  made.respond = ({ number, start, stop }) => {
    const bytes = new DataView(new ArrayBuffer(stop - start));
    bytes.setFloat64(0, start);
    files.handleResponse(change({ number, tag: "t", size_bytes: size }, requests.length), [bytes]);
  };
  const index = Array.from({ length: entries }, (_, n) => [n * SEGMENT_S, INIT + n * MIB]);
  const info = { size, tag: "t", index: { mime: TYPE, init_bytes: INIT, duration_s: mib * SEGMENT_S, index } };
  const events = {
    onBusy: (isBusy) => reports.push(["busy", isBusy]),
    onScan: (isScanning) => reports.push(["scan", isScanning]),
    onReadError: (reason) => reports.push(["readError", reason]),
    onFeedError: () => reports.push(["feedError"]),
  };
  const feeder = new SegmentFeeder(video, files, "video", info, events);
  ends.push(() => feeder.end());
  const seek = async (seconds, event = "seeking") => {
    video.currentTime = seconds;
    video.fire(event);
    await idle();
  };
  /** Waits until no more ranges are requested. */
  const idle = async () => {
    for (let seen = -1; seen !== requests.length; ) {
      seen = requests.length;
      for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate);
    }
  };
  const starts = () => requests.map(({ start }) => start);
  return Object.assign(made, { feeder, requests, reports, seek, idle, starts, size, files });
}

test("ranges are requested in order, a few ahead while paused and more while playing", async () => {
  const made = makeFeeder();
  await made.idle();
  assert.equal(made.video.src, "blob:1");
  assert.equal(made.type, TYPE);
  assert.equal(made.media.duration, 160);
  assert.deepEqual(made.starts(), [0, MIB, 2 * MIB, 3 * MIB]); // the last one is appended when it is needed
  assert.ok(made.requests.every(({ kind, resource, start, stop }) => kind === "byte_range" && resource === "video" && stop - start === MIB));
  await made.video.play();
  await made.idle();
  assert.deepEqual(made.starts(), [0, 1, 2, 3, 4, 5, 6, 7, 8].map((n) => n * MIB));
  await made.seek(9, "timeupdate");
  assert.deepEqual(made.starts().slice(9), [9, 10].map((n) => n * MIB));
  assert.deepEqual(made.reports, []);
  assert.ok(!made.buffer.calls.some(([call]) => call !== "append"));
});

test("after a seek it requests from the index entry on, and nothing before", async () => {
  const made = makeFeeder();
  await made.idle();
  await made.seek(57);
  assert.deepEqual(made.starts().slice(4), [14, 15, 16, 17].map((n) => INIT + n * MIB));
  assert.deepEqual(made.buffer.calls[3], ["abort"]);
  assert.deepEqual(made.buffer.ranges.map(([from]) => from), [0, 56]);
  await made.seek(1.5); // still buffered, with enough after it
  assert.equal(made.requests.length, 8);
  await made.seek(40.1); // the next entry is too near: its audio or video may start later
  assert.equal(made.requests[8].start, INIT + 9 * MIB);
});

test("where two buffered ranges meet it continues after the later one", async () => {
  const made = makeFeeder();
  await made.idle();
  await made.seek(21);
  await made.seek(5);
  await made.video.play();
  await made.idle();
  assert.deepEqual(made.buffer.ranges.length, 1);
  assert.equal(made.starts().filter((start) => start === INIT + 6 * MIB).length, 1, "it was requested once");
});

test("a seek does not wait for the response in flight", async () => {
  const made = makeFeeder({ responds: false });
  await made.idle();
  made.respond(made.requests[0]);
  await made.idle();
  assert.deepEqual(made.starts(), [0, MIB]);
  await made.seek(80);
  assert.equal(made.requests.at(-1).start, INIT + 19 * MIB);
  made.respond(made.requests[1]);
  await made.idle();
  assert.deepEqual(made.buffer.calls, [["append", 0], ["abort"]]);
});

test("data far behind the position are removed, up to the start of a segment", async () => {
  const made = makeFeeder();
  await made.video.play();
  for (let seconds = 0; seconds <= 100; seconds += 4) await made.seek(seconds, "timeupdate");
  const removed = made.buffer.calls.filter(([call]) => call === "remove");
  assert.ok(removed.length > 0);
  for (const [, from, to] of removed) assert.deepEqual([from, to % SEGMENT_S], [0, 0]);
  const [[from, to]] = made.buffer.ranges;
  assert.ok(from > 20 && from <= 70 && to >= 130, `${from} to ${to}`);
});

test("a full buffer evicts what is farthest from the position, or waits", async () => {
  const made = makeFeeder();
  made.video.fire("waiting");
  await made.idle();
  made.buffer.quota_s = 24;
  await made.video.play();
  await made.idle();
  assert.deepEqual(made.reports, [], "it waits");
  for (let seconds = 2; seconds <= 140; seconds += 2) {
    await made.seek(seconds, "timeupdate");
    assert.ok(made.buffer.ranges.some(([from, to]) => from <= seconds && seconds < to), `at ${seconds}`);
  }
  assert.deepEqual(made.reports, []);
  await made.seek(5); // data ahead are removed now
  assert.ok(made.buffer.ranges.some(([from, to]) => from <= 5 && 5 < to));
  assert.deepEqual(made.reports, []);
});

test("a buffer that accepts nothing is an error", async () => {
  const made = makeFeeder();
  await made.idle();
  made.buffer.quota_s = 0;
  await made.seek(100);
  assert.deepEqual(made.reports, [["feedError"]]);
});

test("the stream is ended at its end, and a seek back reopens it", async () => {
  const made = makeFeeder({ mib: 3, entries: 3 });
  await made.idle();
  assert.deepEqual(made.requests.map(({ stop }) => stop), [MIB, 2 * MIB, 3 * MIB, made.size]);
  assert.equal(made.media.ended, 0);
  await made.seek(7);
  assert.equal(made.media.ended, 1);
  await made.seek(11, "timeupdate");
  assert.equal(made.media.ended, 1);
  made.buffer.ranges = [[8, 12]]; // the browser evicted the rest
  await made.seek(1);
  assert.equal(made.requests.at(-1).start, INIT + 2 * MIB);
  assert.deepEqual(made.buffer.ranges, [[0, 12]]);
  assert.deepEqual(made.reports, []);
});

test("without an index it reads in order, and reports that it scans", async () => {
  const made = makeFeeder({ entries: 0 });
  await made.idle();
  await made.seek(81);
  assert.deepEqual(made.starts(), made.starts().map((_, n) => n * MIB));
  assert.deepEqual(made.reports, [["scan", true], ["scan", false]]);
  assert.ok(made.buffer.ranges.some(([from, to]) => from <= 81 && 81 < to));
  made.buffer.ranges = made.buffer.ranges.slice(-1).map(([, to]) => [78, to]);
  const before = made.requests.length;
  await made.seek(1);
  assert.equal(made.requests[before].start, INIT, "and from the beginning if necessary");
});

test("after an index entry that starts too late the one before is used", async () => {
  const made = makeFeeder();
  await made.idle();
  made.feeder.info.index.index[25][0] = 97; // the entry says 97, the data start at 100
  await made.seek(98);
  assert.ok(made.buffer.ranges.some(([from, to]) => from <= 98 && 98 < to));
  assert.deepEqual(made.reports, []);
});

test("a position that no index entry reaches is an error", async () => {
  const made = makeFeeder();
  await made.idle();
  for (let entry = 20; entry < 26; entry += 1) made.feeder.info.index.index[entry] = [90 + entry / 10, INIT + 25 * MIB];
  await made.seek(98);
  assert.deepEqual(made.reports, [["feedError"]]);
});

test("reading stops if the data contain no frames", async () => {
  const made = makeFeeder({ mib: 100, entries: 100, responds: false });
  await made.idle();
  made.buffer.ignoresData = made.responds = true;
  made.respond(made.requests[0]);
  await made.idle();
  assert.deepEqual(made.reports, [["feedError"]]);
  assert.ok(made.requests.length < 70);
});

for (const [what, options, prepare, expected] of [
  ["a browser without a source buffer", { refuses: true }, () => {}, ["feedError"]],
  ["a browser that rejects the data", {}, ({ buffer }) => { buffer.failsAt = MIB; }, ["feedError"]],
  ["a file that cannot be read", { change: (content, n) => (n > 1 ? { ...content, reason: "it cannot be read" } : content) }, () => {},
    ["readError", "it cannot be read"]],
  ["a file that changed", { change: (content, n) => ({ ...content, tag: n > 1 ? "other" : "t" }) }, () => {},
    ["readError", "it changed while it was loaded"]],
]) {
  test(`${what} has its own error`, async () => {
    const made = makeFeeder({ responds: false, ...options });
    await made.idle();
    prepare(made);
    made.responds = true;
    if (made.requests[0]) made.respond(made.requests[0]);
    await made.idle();
    assert.deepEqual(made.reports, [expected]);
  });
}

test("a feeder that ends requests no more, and revokes its object URL", async () => {
  const made = makeFeeder({ responds: false });
  await made.idle();
  assert.equal(made.requests.length, 1);
  made.feeder.end();
  made.respond(made.requests[0]);
  await made.seek(50);
  assert.equal(made.requests.length, 1);
  assert.deepEqual(made.revoked, ["blob:1"]);
  assert.deepEqual([made.reports, made.buffer.calls], [[], []]);
});

test("a busy kernel is reported only while a response is pending", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const made = makeFeeder({ responds: false });
  await made.idle();
  t.mock.timers.tick(20000);
  assert.deepEqual(made.reports, [["busy", true]]);
  made.responds = true;
  made.respond(made.requests[0]);
  await made.idle();
  assert.deepEqual(made.reports, [["busy", true], ["busy", false]]);
  t.mock.timers.tick(60000);
  made.responds = false;
  await made.seek(57); // without a response
  await made.seek(0.5); // already buffered
  t.mock.timers.tick(60000);
  assert.deepEqual(made.reports, [["busy", true], ["busy", false]]);
});

// The kernel route with a feeder

const KERNEL = { urls: [{ route: "kernel", url: "", endpoint: "", needs: "" }] };
const INDEX = { mime: TYPE, init_bytes: INIT, duration_s: 40, index: [] };
const messagesOf = (sent, kind) => sent.filter((message) => message.kind === kind);

async function byKernel({ index = INDEX, reason = undefined, ...browser } = {}) {
  const made = fakeMediaSource(browser);
  const shown = page(KERNEL);
  const { sent, deliver, view } = shown;
  made.video = shown.video;
  Object.defineProperty(made.video, "buffered", { get: () => timeRanges(made.buffer?.ranges ?? []) });
  const [request] = messagesOf(sent, "index");
  assert.equal(request.resource, "video");
  deliver({ kind: "index", view, number: request.number, size_bytes: 40 * MIB, tag: "t", index, reason });
  for (let turn = 0; turn < 10; turn += 1) await settle();
  return { ...shown, made };
}

test("a fragmented file on the kernel route needs no progress bar and is not read completely", async () => {
  const { root, sent, video, made, end } = await byKernel();
  assert.equal(root.find("vidnb-loading"), undefined);
  assert.equal(video.src, "blob:1");
  assert.deepEqual(messagesOf(sent, "byte_range").map(({ start, stop }) => [start, stop]), [[0, MIB]]);
  await end();
  assert.deepEqual(made.revoked, ["blob:1"]);
});

for (const [what, options] of [
  ["that has no index", { index: null }],
  ["whose type the browser does not support", { supports: () => false }],
  ["whose index the kernel cannot read", { reason: "there is nothing of this name" }],
]) {
  test(`a file ${what} is read completely`, async () => {
    const { root, sent, video } = await byKernel(options);
    assert.ok(root.find("vidnb-loading"));
    assert.equal(video.src, undefined);
    assert.deepEqual(messagesOf(sent, "byte_range").map(({ start, stop }) => [start, stop]), [[0, 2 * MIB]]);
  });
}

test("a file that the feeder cannot play is read completely and resumes its position", async () => {
  const { root, sent, video, made, deliver, view } = await byKernel();
  video.arrive(40);
  video.currentTime = 17;
  video.paused = false;
  video.fail(3);
  await settle();
  assert.ok(root.find("vidnb-loading"));
  assert.deepEqual(made.revoked, ["blob:1"]);
  const request = messagesOf(sent, "byte_range").at(-1);
  assert.deepEqual([request.start, request.stop], [0, 2 * MIB]);
  Object.assign(video, { readyState: 0, currentTime: 0, paused: true, error: null });
  deliver({ kind: "bytes", view, number: request.number, size_bytes: 9, tag: "t", media_type: "video/mp4" });
  await settle();
  assert.match(texts(root).error, /Tried: kernel \(the kernel sent no bytes\)/);
});

test("after a restart of the kernel playback ends", async () => {
  const { call, root, video } = await byKernel();
  video.arrive(40);
  call("comm_live_update");
  assert.match(texts(root).error, /was restarted: run the cell again/);
});

test("without an index a seek shows a message that it takes a while", async () => {
  const { call, root, sent, video, view } = await byKernel();
  const [{ number }] = messagesOf(sent, "byte_range");
  const bytes = new DataView(new ArrayBuffer(MIB));
  call("msg:custom", { v: 1, kind: "bytes", view, number, size_bytes: 40 * MIB, tag: "t" }, [bytes]);
  await settle();
  video.arrive(40);
  video.currentTime = 30;
  video.fire("seeking");
  await settle();
  assert.match(texts(root).message, /has no index, so the file is read up to the requested position/);
});
