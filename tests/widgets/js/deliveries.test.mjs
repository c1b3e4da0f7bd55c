// The choice of a delivery, and a player that is fed by each route.
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import { FILE, PROXY, page, settle, texts } from "./fake_dom.mjs";
import { REMUX, TRANSCODE, TYPE, encode, fakeMediaSource, playlistText } from "./fake_media_source.mjs";

import { chooseDelivery, hasPicture } from "../../../vidnb/widgets/js/deliveries.js";

afterEach(() => { delete globalThis.MediaSource; });

const MKV = { ...FILE, type: 'video/x-matroska; codecs="avc1.64001F"' };
const ALL = [MKV, REMUX, TRANSCODE];

for (const [what, deliveries, route, plays, expected] of [
  ["a file that the browser plays", ALL, "direct", [MKV], MKV],
  ["a file of unknown type", [FILE, REMUX], "proxy", [REMUX], FILE],
  ["a file that it does not play", ALL, "direct", [REMUX, TRANSCODE], REMUX],
  ["segments of which it plays some", ALL, "template", [TRANSCODE], TRANSCODE],
  ["a file of which it plays nothing", ALL, "direct", [], MKV],
  ["Jupyter's files", ALL, "files", [MKV, REMUX], MKV],
  ["Jupyter's files where it needs segments", ALL, "files", [REMUX], null],
  ["Jupyter's files where nothing plays", ALL, "files", [], MKV],
  ["the kernel channel", ALL, "kernel", [MKV, REMUX, TRANSCODE], REMUX],
  ["the kernel channel where it plays the file alone", ALL, "kernel", [MKV], MKV],
  ["the kernel channel without the file", [TRANSCODE], "kernel", [], null],
  ["no file", [REMUX, TRANSCODE], "proxy", [TRANSCODE], TRANSCODE],
  ["nothing", [], "proxy", [], null],
]) {
  test(`the delivery of ${what}`, () => {
    const supports = (kinds) => (type) => plays.some((one) => kinds.includes(one.kind) && one.type === type);
    // Both segment types are the same text in these tests.
    const list = deliveries.map((one) => (one === TRANSCODE ? { ...one, type: `${TYPE}h264` } : one));
    const typed = (type) => plays.some((one) => one.kind !== "direct" && (one === TRANSCODE ? `${TYPE}h264` : one.type) === type);
    const found = chooseDelivery(list, route, supports(["direct"]), typed);
    assert.equal(found?.variant ?? null, expected?.variant ?? null);
    assert.equal(found?.kind ?? null, expected?.kind ?? null);
  });
}

test("a type names a picture or none", () => {
  for (const type of ['video/mp4; codecs="avc1.64001F,mp4a.40.2"', 'video/mp4; codecs="mp4a.40.2, hvc1.1.6.L93.B0"',
    'video/webm; codecs="opus,vp9"', 'video/webm; codecs="vp09.00.10.08"', 'video/mp4; codecs="av01.0.04M.08"']) {
    assert.ok(hasPicture(type), type);
  }
  for (const type of ["", "video/mp4", 'audio/mp4; codecs="mp4a.40.2"', 'video/webm; codecs="opus"', 'audio/ogg; codecs="vorbis"']) {
    assert.ok(!hasPicture(type), type);
  }
});

// A player with a feeder

const ROUTE = { ...PROXY, endpoint: "/proxy/9/~/E/" };
const FILES = { route: "files", url: "/files/film.mkv", endpoint: "", needs: "" };
const problem = (text) => () => new Response(`${text}\n`, { status: 422, headers: { "Content-Type": "text/plain; charset=utf-8" } });

async function wait(turns = 10) {
  for (let turn = 0; turn < turns; turn += 1) await settle();
}

/** A player whose server responds, except for the URLs with these ends. */
async function fed({ deliveries = [REMUX], urls = [ROUTE], responses = {}, browser = {}, ...traits } = {}) {
  const mse = fakeMediaSource(browser);
  const respond = async (url) => {
    const end = Object.keys(responses).find((text) => String(url).includes(text));
    if (end) return responses[end]();
    if (url.endsWith("ping")) return new Response("vidnb\n");
    if (url.includes("/~/")) return new Response(null, { status: 204 });
    return new Response(url.includes("index.m3u8") ? playlistText() : url.split("/").at(-1).split("?")[0]);
  };
  const shown = page({ urls, deliveries, respond, ...traits });
  mse.feed(shown.video);
  await wait();
  const playlists = () => shown.made.requests.map(String).filter((url) => url.includes("index.m3u8"));
  return Object.assign(shown, { mse, playlists });
}

test("a remuxed file is fed by the route, with a label that says why", async () => {
  const { made, mse, root, video, end } = await fed();
  for (const name of ["index.m3u8", "init.mp4", "0.m4s"]) assert.ok(made.requests.includes(`/proxy/9/T/copy.copy/${name}`));
  assert.equal(video.src, "blob:1");
  const label = root.find("vidnb-delivery");
  assert.deepEqual([label.textContent, label.title, label.hidden], ["remuxed", REMUX.reason, false]);
  await end();
  assert.deepEqual(mse.revoked, ["blob:1"]);
});

test("the file itself has no label", async () => {
  const { root, video } = await fed({ deliveries: [FILE, REMUX] });
  video.arrive(40);
  assert.equal(root.find("vidnb-delivery").hidden, true);
});

test("a browser without MediaSource reads the playlist itself", async () => {
  const shown = page({ urls: [ROUTE], deliveries: [FILE, REMUX], respond: async () => new Response("vidnb\n") });
  shown.video.canPlayType = (type) => (type.includes("matroska") ? "" : "maybe");
  await wait(2);
  assert.equal(shown.video.src, "/proxy/9/T/film.mp4");
  shown.set("deliveries", [MKV, REMUX]);
  shown.video.fail(4);
  await wait(2);
  assert.equal(shown.video.src, "/proxy/9/T/copy.copy/index.m3u8");
});

test("the view waits until the deliveries are known", async () => {
  const { video, set, playlists } = await fed({ deliveries: null });
  assert.deepEqual([video.src, playlists()], [undefined, []]);
  set("deliveries", [FILE]);
  assert.equal(video.src, "/proxy/9/T/film.mp4");
  set("deliveries", [REMUX]);
  assert.equal(video.src, "/proxy/9/T/film.mp4", "it is loaded already");
});

test("a seek beyond the end of a video that grows waits until it is there", async () => {
  let list = { count: 2, isComplete: false };
  const responses = { "index.m3u8": () => new Response(playlistText(list)) };
  const { deliver, mse, video } = await fed({ deliveries: [TRANSCODE], responses });
  assert.deepEqual([video.readyState > 0, mse.media.duration], [true, 4]);
  Object.defineProperty(video, "duration", { get: () => mse.media.duration });
  deliver({ kind: "command", seq: 1, t_s: 7 });
  await wait();
  assert.equal(video.currentTime, 0);
  list = { count: 5 };
  deliver({ kind: "command", seq: 2, t_s: 9 });
  await wait();
  assert.deepEqual([video.currentTime, mse.media.duration], [9, 10]);
  deliver({ kind: "command", seq: 3, t_s: 99 });
  await wait();
  assert.equal(video.currentTime, Math.min(99, video.duration), "a complete one ends there");
});

test("a file that changed waits for its new deliveries, and has URLs of its own", async () => {
  const { deliver, playlists, root, set } = await fed();
  root.find("vidnb-download").classList = { toggle() {} };
  set("deliveries", null);
  deliver({ kind: "download_state", state: "downloading", ranges: [], generation: 1, note: "" });
  await wait();
  assert.equal(playlists().length, 1);
  set("deliveries", [TRANSCODE]);
  await wait();
  assert.equal(playlists().at(-1), "/proxy/9/T/h264.aac/index.m3u8?generation=1");
});

for (const [what, deliveries, spoil, position_s] of [
  ["a direct file", [FILE, TRANSCODE], (video) => video.fail(3), 17],
  ["a direct file of which it plays nothing", [FILE, TRANSCODE], (video) => { video.readyState = 0; video.fail(4); }, 0],
  ["a remuxed file", [REMUX, TRANSCODE], (video) => video.fail(3), 17],
  ["a file without a picture", [{ ...FILE, type: 'video/mp4; codecs="hvc1.1.6.L93.B0,mp4a.40.2"' }, TRANSCODE],
    (video) => Object.assign(video, { videoWidth: 0 }).arrive(40), 17],
]) {
  test(`${what} that the browser cannot decode is delivered in the next way, at the same position`, async () => {
    const { root, video, playlists } = await fed({ deliveries });
    if (position_s && !what.includes("picture")) video.arrive(40);
    Object.assign(video, { currentTime: position_s, paused: false });
    // A new source resets the video.
    Object.defineProperty(video, "src", {
      set: () => Object.assign(video, { readyState: 0, currentTime: 0, error: null, videoWidth: 640, paused: true }),
    });
    spoil(video);
    await wait();
    assert.equal(playlists().at(-1), "/proxy/9/T/h264.aac/index.m3u8");
    assert.equal(root.find("vidnb-delivery").textContent, "transcoded");
    assert.equal(video.currentTime, position_s);
    assert.equal(video.paused, false);
    assert.equal(texts(root).error, "");
  });
}

test("where no way is left the sentence about the first one is shown, and a retry starts anew", async () => {
  const { root, playlists } = await fed({
    deliveries: [REMUX, TRANSCODE],
    responses: { "copy.copy/index.m3u8": problem("The index is damaged."), "h264.aac/init.mp4": problem("There is no decoder.") },
  });
  assert.equal(texts(root).error, "The index is damaged.");
  assert.equal(playlists().length, 2);
  root.find("vidnb-retry").click();
  await wait();
  assert.deepEqual(playlists().slice(2), playlists().slice(0, 2));
});

test("a file that no delivery plays shows Python's sentence, but not while it plays", async () => {
  const playback_problem = "film.mp4 needs the extra media.";
  const { root } = await fed({ deliveries: [], playback_problem });
  assert.equal(texts(root).error, playback_problem);
  const other = await fed({ deliveries: [FILE], playback_problem });
  other.video.arrive(10);
  assert.equal(texts(other.root).message, "");
  other.video.fail(3);
  await wait(2);
  assert.equal(texts(other.root).error, playback_problem);
});

test("of a file that ends early no other way is tried", async () => {
  const file_problem = "film.mp4 ends early, so it plays up to there.";
  const { root, video, playlists } = await fed({ deliveries: [FILE, REMUX], file_problem });
  video.arrive(10);
  video.fail(3);
  await wait(2);
  assert.deepEqual([texts(root).error, playlists()], [file_problem, []]);
});

test("Jupyter's files deliver the file alone: a later route is taken for segments", async () => {
  const range = () => new Response("", { status: 206, headers: { "Content-Range": "bytes 0-0/5" } });
  const { playlists } = await fed({ urls: [FILES, ROUTE], responses: { "/files/": range } });
  assert.deepEqual(playlists(), ["/proxy/9/T/copy.copy/index.m3u8"]);
});

test("a route that fails while segments are read is replaced by the next one", async () => {
  const first = { route: "template", url: "/ports/9/T/film.mkv", endpoint: "/ports/9/~/E/", needs: "" };
  const { made } = await fed({ urls: [first, ROUTE], responses: { "/ports/9/T/copy.copy/1.m4s": () => new Response("", { status: 502 }) } });
  await wait(140);
  assert.ok(made.requests.includes("/ports/9/T/copy.copy/0.m4s"));
  assert.ok(made.requests.includes("/proxy/9/T/copy.copy/1.m4s"));
});

test("frame times and thumbnails of a fed video are shifted by its start", async () => {
  const { deliver, root, video, view } = await fed({ responses: { "index.m3u8": () => new Response(playlistText({ start_s: 1.4 })) } });
  deliver({ kind: "frame_times", view, count: 200, first: 35, interval: 1, tick_s: 0.04, start_s: 1.4 });
  video.currentTime = 1.01;
  video.fire("seeked");
  assert.match(root.find("vidnb-frame").textContent, /frame 25$/, "that at 2.41 s of the file");
});

// By the kernel channel

const KERNEL = { route: "kernel", url: "", endpoint: "", needs: "" };
const messagesOf = (sent, kind) => sent.filter((message) => message.kind === kind);

/** The kernel responds to each request for a part. */
async function byKernel({ deliveries = [FILE, REMUX], change = () => ({}), ...browser } = {}) {
  const shown = await fed({ urls: [KERNEL], deliveries, browser });
  const { sent, call, view } = shown;
  const answered = new Set();
  for (let turn = 0; turn < 80; turn += 1) {
    for (const { number, name, resource, variant } of messagesOf(sent, "segment")) {
      if (answered.has(number)) continue;
      answered.add(number);
      assert.deepEqual([resource, variant], ["video", "copy.copy"]);
      const bytes = new DataView(encode(name === "index.m3u8" ? playlistText() : name));
      call("msg:custom", { v: 1, kind: "bytes", view, number, ...change(name) }, [bytes]);
    }
    await new Promise(setImmediate);
  }
  return shown;
}

test("on the kernel route segments come first, without a progress bar", async () => {
  const { root, sent, video, mse, end } = await byKernel();
  assert.equal(root.find("vidnb-loading"), undefined);
  assert.equal(video.src, "blob:1");
  assert.deepEqual(messagesOf(sent, "segment").map(({ name }) => name),
    ["index.m3u8", "init.mp4", "0.m4s", "1.m4s", "2.m4s", "3.m4s", "4.m4s"]);
  assert.deepEqual(messagesOf(sent, "byte_range"), []);
  assert.equal(messagesOf(sent, "state").at(-1).delivery, "remux");
  await end();
  assert.deepEqual(mse.revoked, ["blob:1"]);
});

for (const [what, options] of [
  ["that has no segments", { deliveries: [FILE] }],
  ["whose segments the browser does not support", { supports: () => false }],
  ["of which Python can make no segments", { change: (name) => (name === "init.mp4" ? { problem: "It has no frames." } : {}) }],
]) {
  test(`on the kernel route a file ${what} is read completely`, async () => {
    const { root, sent } = await byKernel(options);
    assert.ok(root.find("vidnb-loading"));
    assert.deepEqual(messagesOf(sent, "byte_range").map(({ start, stop }) => [start, stop]), [[0, 2 ** 21]]);
  });
}

test("segments that the kernel cannot read end its route with the reason", async () => {
  const { root } = await byKernel({ change: (name) => (name === "init.mp4" ? { reason: "it cannot be read (gone)" } : {}) });
  assert.match(texts(root).error, /Tried: kernel \(it cannot be read \(gone\)\)/);
});

test("after a restart of the kernel playback by its channel ends", async () => {
  const { call, root, mse } = await byKernel();
  call("comm_live_update");
  assert.match(texts(root).error, /was restarted: run the cell again/);
  assert.deepEqual(mse.revoked, ["blob:1"]);
});
