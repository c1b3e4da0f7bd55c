// The segment feeder and its readers: which segments are read, in which order, what is evicted, how it fails.
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import { FakeVideo } from "./fake_dom.mjs";
import { SEGMENT_S, TYPE, encode, fakeMediaSource, playlistText } from "./fake_media_source.mjs";

import { FileError } from "../../../vidnb/widgets/js/kernel_channel.js";
import { SegmentFeeder } from "../../../vidnb/widgets/js/segment_feeder.js";
import { ReadError, httpReader, parsePlaylist, segmentUrl } from "../../../vidnb/widgets/js/segment_reader.js";

const ends = [];
afterEach(() => {
  ends.splice(0).forEach((end) => end());
  delete globalThis.MediaSource;
});

/** A feeder whose segments arrive at once, except those in `held`. */
function makeFeeder({ playlist = {}, held = [], reads = {}, ...browser } = {}) {
  const made = fakeMediaSource(browser);
  const video = new FakeVideo();
  made.feed(video);
  Object.assign(made, { requests: [], aborted: [], errors: [], playlist, held: new Map(held.map((name) => [name, null])) });
  const read = (name, signal) => new Promise((resolve, reject) => {
    made.requests.push(name);
    let isSettled = false;
    const settleWith = (text) => {
      isSettled = true;
      resolve(encode(text));
    };
    signal.addEventListener("abort", () => {
      if (!isSettled) made.aborted.push(name);
      reject(new Error("aborted"));
    });
    if (reads[name]) reject(reads[name]);
    else if (made.held.has(name)) made.held.set(name, () => settleWith(name));
    else setImmediate(() => settleWith(name === "index.m3u8" ? playlistText(made.playlist) : name));
  });
  const feeder = new SegmentFeeder(video, read, TYPE, (error) => made.errors.push(error));
  ends.push(() => feeder.end());
  /** Waits until nothing more is read. */
  const idle = async () => {
    for (let seen = -1; seen !== made.requests.length; ) {
      seen = made.requests.length;
      for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate);
    }
  };
  const seek = async (seconds, event = "seeking") => {
    video.currentTime = seconds;
    video.fire(event);
    await idle();
  };
  const numbers = () => made.requests.filter((name) => name.endsWith(".m4s")).map((name) => Number.parseInt(name, 10));
  return Object.assign(made, { feeder, idle, seek, numbers });
}

test("segments are read in order, a few ahead while paused and more while playing", async () => {
  const made = makeFeeder();
  await made.idle();
  assert.deepEqual([made.video.src, made.type, made.media.duration, made.buffer.timestampOffset], ["blob:1", TYPE, 40, 0]);
  assert.deepEqual(made.requests, ["index.m3u8", "init.mp4", "0.m4s", "1.m4s", "2.m4s", "3.m4s", "4.m4s"]);
  await made.video.play();
  await made.idle();
  assert.deepEqual(made.numbers().slice(5), [5, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
  await made.seek(1.5, "timeupdate");
  assert.deepEqual(made.numbers().slice(15), [15]);
  assert.ok(made.buffer.calls.every((call) => call.startsWith("append")));
  assert.deepEqual(made.errors, []);
});

test("a player that starts at a position reads nothing before it", async () => {
  const made = makeFeeder();
  made.video.addEventListener("loadedmetadata", () => { made.video.currentTime = 31; });
  await made.idle();
  assert.deepEqual(made.numbers(), [15, 16, 17, 18, 19]);
});

test("the start of the container's clock alone shifts the times", async () => {
  const made = makeFeeder({ playlist: { start_s: 1.4 } });
  await made.idle();
  assert.ok(Math.abs(made.buffer.timestampOffset + 1.4) < 2e-6);
  assert.ok(made.buffer.timestampOffset + 1.4 > 0, "a first frame just before 0 would be dropped");
});

test("after a seek it reads from the segment at the position on, and nothing twice", async () => {
  const made = makeFeeder();
  await made.idle();
  await made.seek(21);
  assert.deepEqual(made.numbers().slice(5), [10, 11, 12, 13, 14, 15]);
  await made.seek(1.5);
  assert.deepEqual(made.numbers().slice(11), [5]);
  await made.video.play();
  await made.idle();
  assert.deepEqual(made.numbers().slice(12), [6, 7, 8, 9], "up to where the buffered ranges meet");
  assert.equal(made.buffer.ranges.length, 1);
});

test("a seek aborts the segment in flight that it does not need", async () => {
  const made = makeFeeder({ held: ["1.m4s"] });
  await made.idle();
  await made.seek(30);
  assert.deepEqual(made.aborted, ["1.m4s"]);
  assert.deepEqual(made.numbers(), [0, 1, 15, 16, 17, 18, 19]);
  assert.ok(!made.buffer.calls.includes("append 1.m4s"));
});

test("a seek keeps the segment in flight that it needs", async () => {
  const made = makeFeeder({ held: ["1.m4s"] });
  await made.idle();
  await made.seek(2.5);
  made.held.get("1.m4s")();
  await made.idle();
  assert.deepEqual(made.aborted, []);
  assert.deepEqual(made.numbers().slice(0, 3), [0, 1, 2]);
});

test("where its segment does not lead to the position the ones around it are read, a few at most", async () => {
  const made = makeFeeder();
  const { rangeOf } = made;
  await made.idle();
  // The frame at the start of segment 10 is in the one before, that at the end of segment 15 in the next one.
  made.rangeOf = (name) => ({ "9.m4s": [18, 20.5], "10.m4s": [20.5, 22], "15.m4s": [30, 31.8], "16.m4s": [31.8, 34] })[name] ?? rangeOf(name);
  await made.seek(20.1);
  assert.deepEqual(made.numbers().slice(5, 8), [10, 11, 9]);
  assert.equal(made.buffer.ranges.at(-1)[0], 18);
  const first = made.numbers().length;
  await made.seek(31.9);
  assert.deepEqual(made.numbers().slice(first, first + 3), [15, 16, 17]);
  made.rangeOf = (name) => (["4.m4s", "5.m4s", "6.m4s", "7.m4s"].includes(name) ? null : rangeOf(name));
  made.buffer.ranges = [];
  const before = made.numbers().length;
  await made.seek(14.5);
  assert.deepEqual(made.numbers().slice(before, before + 6), [7, 8, 6, 5, 4, 9], "then it reads on");
  assert.deepEqual(made.errors, []);
});

test("a position in a gap of the file continues behind it", async (t) => {
  const made = makeFeeder();
  const { rangeOf } = made;
  await made.idle();
  made.rangeOf = (name) => (name === "10.m4s" ? [21, 22] : rangeOf(name));
  Object.assign(made.video, { seeking: true, readyState: 1 });
  t.mock.timers.enable({ apis: ["setTimeout"] });
  await made.seek(20.5);
  assert.equal(made.video.currentTime, 20.5, "the browser may still show it");
  t.mock.timers.tick(600);
  await made.idle();
  assert.equal(made.video.currentTime, 21);
});

test("media far behind the position are removed, in whole segments", async () => {
  const made = makeFeeder({ playlist: { count: 100 } });
  await made.video.play();
  for (let seconds = 0; seconds <= 100; seconds += 4) await made.seek(seconds, "timeupdate");
  const removed = made.buffer.calls.filter((call) => call.startsWith("remove"));
  assert.ok(removed.length > 0);
  for (const call of removed) assert.equal(Number(call.split(" ")[2]) % SEGMENT_S, 0);
  const [[from, to]] = made.buffer.ranges;
  assert.ok(from > 20 && from <= 70 && to >= 130, `${from} to ${to}`);
});

test("a full buffer evicts what is farthest from the position, or waits", async () => {
  const made = makeFeeder({ playlist: { count: 100 } });
  await made.idle();
  made.buffer.quota_s = 24;
  await made.video.play();
  await made.idle();
  for (let seconds = 2; seconds <= 140; seconds += 2) {
    await made.seek(seconds, "timeupdate");
    assert.ok(made.buffer.ranges.some(([from, to]) => from <= seconds && seconds < to), `at ${seconds}`);
  }
  await made.seek(5); // media ahead are removed now
  assert.ok(made.buffer.ranges.some(([from, to]) => from <= 5 && 5 < to));
  assert.deepEqual(made.errors, []);
});

test("what the browser itself evicts ahead of the position is read again", async () => {
  const made = makeFeeder();
  await made.idle();
  made.buffer.ranges = [[0, 4]];
  await made.seek(1, "timeupdate");
  assert.deepEqual(made.numbers().slice(5), [2, 3, 4, 5]);
});

test("the stream is ended behind the last segment, however short, and a seek back reopens it", async () => {
  const made = makeFeeder({ playlist: { count: 7, last_s: 0.04 } });
  const { rangeOf } = made;
  made.rangeOf = (name) => (name === "6.m4s" ? [12, 12.04] : rangeOf(name));
  await made.idle();
  assert.deepEqual([made.numbers(), made.media.ended], [[0, 1, 2, 3, 4], 0]);
  await made.seek(8);
  assert.deepEqual([made.numbers(), made.media.ended], [[0, 1, 2, 3, 4, 5, 6], 1]);
  await made.seek(12.04, "timeupdate");
  assert.equal(made.media.ended, 1);
  made.buffer.ranges = [[8, 12.04]];
  await made.seek(3);
  assert.equal(made.media.ended, 2);
  assert.deepEqual(made.buffer.ranges, [[2, 12.04]]);
});

test("sound that ends before the picture does not keep the stream open", async () => {
  const made = makeFeeder({ playlist: { count: 3 } });
  made.rangeOf = (name) => ({ "0.m4s": [0, 2], "1.m4s": [2, 3.2] })[name] ?? null;
  await made.idle();
  assert.deepEqual([made.numbers(), made.media.ended], [[0, 1, 2], 1]);
});

test("a playlist that grows is read again while more is needed, until it is complete", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let now = 0;
  t.mock.method(performance, "now", () => now);
  const made = makeFeeder({ playlist: { count: 0, isComplete: false } });
  const pass = async (ms) => {
    now += ms;
    t.mock.timers.tick(ms);
    await made.idle();
  };
  const polls = () => made.requests.filter((name) => name === "index.m3u8").length;
  await made.idle();
  assert.deepEqual(made.requests, ["index.m3u8"]);
  made.playlist = { count: 2, isComplete: false };
  await pass(500);
  assert.deepEqual([made.numbers(), made.media.duration, polls()], [[0, 1], 4, 2]);
  await made.video.play();
  for (let n = 0; n < 10; n += 1) await made.seek(0.2 * n, "timeupdate");
  assert.equal(polls(), 2, "events cause no more requests");
  made.playlist = { count: 9, isComplete: false };
  await pass(500);
  assert.deepEqual([made.numbers().length, made.media.duration, polls(), made.media.ended], [9, 18, 3, 0]);
  made.playlist = { count: 10 };
  await pass(500);
  assert.deepEqual([made.numbers().length, made.media.duration, made.media.ended], [10, 20, 1]);
  await pass(60_000);
  assert.equal(polls(), 4);
});

test("a time that a growing video does not reach yet is waited for", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let now = 60_000;
  t.mock.method(performance, "now", () => now);
  const made = makeFeeder({ playlist: { count: 5, isComplete: false } });
  const { feeder } = made;
  const pass = async (ms) => {
    now += ms;
    t.mock.timers.tick(ms);
    await made.idle();
  };
  await made.idle();
  assert.deepEqual([feeder.isShorterThan(10), feeder.isShorterThan(10.1)], [false, true]);
  const reached = [];
  feeder.reach(15).then(() => reached.push(15));
  made.playlist = { count: 6, isComplete: false };
  await made.idle();
  assert.equal(made.media.duration, 12, "the playlist is read at once");
  feeder.reach(14).then(() => reached.push(14));
  await made.idle();
  assert.deepEqual(reached, []);
  made.playlist = { count: 7, isComplete: false };
  await pass(500);
  assert.deepEqual(reached, [14], "the last one counts");
  feeder.reach(99).then(() => reached.push(99));
  await made.idle();
  await made.seek(1);
  made.playlist = { count: 8, isComplete: false };
  feeder.reach(50).then(() => reached.push(50));
  await made.idle();
  assert.deepEqual(reached, [14], "a seek to another position ends the wait");
  made.playlist = { count: 9 };
  await pass(500);
  assert.deepEqual(reached, [14, 50], "a complete video gets no longer");
  assert.equal(feeder.isShorterThan(99), false);
});

for (const [what, options, prepare, kind] of [
  ["a browser without a source buffer", { refuses: true }, () => {}, DOMException],
  ["a browser that rejects the data", {}, (made) => { if (made.buffer) made.buffer.failsAt = "15.m4s"; }, Error],
  ["a buffer that accepts nothing", {}, (made) => { made.buffer.quota_s = 0; }, DOMException],
  ["a route that fails", { reads: { "15.m4s": new ReadError("status 502", 502) } }, () => {}, ReadError],
  ["a file of which no segment can be made", { reads: { "15.m4s": new FileError("It is damaged.") } }, () => {}, FileError],
]) {
  test(`${what} has its own error, once`, async () => {
    const made = makeFeeder(options);
    await made.idle();
    prepare(made);
    await made.seek(30);
    await made.seek(10);
    assert.deepEqual(made.errors.map((error) => error.constructor), [kind]);
  });
}

test("a feeder that ends reads no more, and revokes its object URL", async () => {
  const made = makeFeeder({ held: ["1.m4s"] });
  await made.idle();
  made.feeder.end();
  await made.seek(20);
  assert.deepEqual([made.numbers(), made.aborted, made.revoked, made.errors], [[0, 1], ["1.m4s"], ["blob:1"], []]);
});

// The readers

test("a playlist has the start, the segments with their times, and whether it is complete", () => {
  assert.deepEqual(parsePlaylist(playlistText({ count: 3, start_s: 1.4, last_s: 0.5 })), {
    start_s: 1.4,
    init: "init.mp4",
    duration_s: 4.5,
    isComplete: true,
    segments: [{ name: "0.m4s", start_s: 0, end_s: 2 }, { name: "1.m4s", start_s: 2, end_s: 4 }, { name: "2.m4s", start_s: 4, end_s: 4.5 }],
  });
  assert.equal(parsePlaylist(playlistText({ isComplete: false })).isComplete, false);
  assert.throws(() => parsePlaylist("<html>Sign in</html>"), ReadError);
});

test("segments are beside the file, on any route", () => {
  for (const [url, expected] of [
    ["http://127.0.0.1:9/T/film.mkv", "http://127.0.0.1:9/T/copy.copy/3.m4s"],
    ["/user/me/proxy/9/T/~", "/user/me/proxy/9/T/copy.copy/3.m4s"],
    ["https://h/9/T/a%2Fb.mkv?token=x/y&generation=2", "https://h/9/T/copy.copy/3.m4s?token=x/y&generation=2"],
  ]) assert.equal(segmentUrl(url, "copy.copy", "3.m4s"), expected);
});

test("a failed request is repeated once; a sentence of Python is not", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let responses = [];
  let requests = 0;
  globalThis.fetch = async () => {
    requests += 1;
    const next = responses.shift();
    if (next instanceof Error) throw next;
    return next;
  };
  const read = async (...all) => {
    responses = all;
    requests = 0;
    const result = httpReader("/T/film.mkv", "copy.copy")("3.m4s", new AbortController().signal).catch((error) => error);
    for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate);
    t.mock.timers.tick(1000);
    return result;
  };
  const text = (body, status, type) => new Response(body, { status, headers: { "Content-Type": type } });
  assert.equal((await read(new TypeError("reset"), new Response("abc"))).byteLength, 3);
  assert.equal(requests, 2);
  const failed = await read(text("bad", 502, "text/html"), text("gone", 404, "text/plain"));
  assert.deepEqual([failed.constructor, failed.status, requests], [ReadError, 404, 2]);
  assert.equal((await read(new TypeError("x"), new TypeError("x"))).status, null);
  const problem = await read(text("It cannot be decoded.\n", 422, "text/plain; charset=utf-8"));
  assert.deepEqual([problem.constructor, problem.message, requests], [FileError, "It cannot be decoded.", 1]);
  const other = await read(text("{}", 422, "application/json"), text("{}", 422, "application/json"));
  assert.equal(other.constructor, ReadError);
});
