// The player on a fake DOM.
import assert from "node:assert/strict";
import { test } from "node:test";

import { DIRECT, PROXY, last, page, settle, texts } from "./fake_dom.mjs";

import { timeCode } from "../../../vidnb/widgets/js/messages.js";
import { isLoopback } from "../../../vidnb/widgets/js/routes.js";

test("a time code is h:mm:ss.mmm", () => {
  const cases = [[0, "0:00:00.000"], [1.0005, "0:00:01.001"], [59.9996, "0:01:00.000"], [3661.25, "1:01:01.250"],
    [36000, "10:00:00.000"], [-1, "0:00:00.000"], [null, "-:--:--.---"], [NaN, "-:--:--.---"], [Infinity, "-:--:--.---"]];
  for (const [seconds, text] of cases) assert.equal(timeCode(seconds), text);
});

test("loopback hosts are recognised by name", () => {
  for (const name of ["localhost", "a.localhost", "127.0.0.1", "127.1.2.3", "[::1]"]) assert.ok(isLoopback(name), name);
  for (const name of ["", "hub.example", "localhost.example", "127.0.0.1.example", "10.0.0.1"]) assert.ok(!isLoopback(name), name);
});

test("a view reports that it is ready, hides the card, and reads its traits", () => {
  const { sent, root, video } = page({ start_muted: true, start_loop: true, width: 320, pending_command: { v: 1 } });
  assert.deepEqual(sent.map(({ kind }) => kind), ["ready"]);
  assert.equal(sent[0].v, 1);
  assert.deepEqual([video.muted, video.loop, video.controls, video.preload, video.src], [true, true, true, "metadata", DIRECT.url]);
  assert.equal(root.style.maxWidth, "320px");
  assert.equal(root.getAttribute("aria-label"), "Video player: film.mp4");
  const style = root.children.find(({ tag }) => tag === "style").textContent;
  assert.match(style, /^\.vidnb-card-1 \{ display: none !important; \}$/m);
});

test("traits may change while the player is shown", () => {
  const { set, root } = page();
  set("width", 200);
  assert.equal(root.style.maxWidth, "200px");
});

test("the player starts at start_s, also in its first report", () => {
  const { sent, video, root } = page({ start_s: 4 });
  assert.match(root.find("vidnb-current-time").textContent, /^0:00:04\.000$/);
  video.arrive();
  assert.equal(video.currentTime, 4);
  assert.deepEqual(sent.filter(({ kind }) => kind === "state").map(({ current_time }) => current_time), [4, 4]);
  assert.equal(last(sent, "loadedmetadata").duration, 10);
  assert.equal(last(sent, "route").route, "direct");
  assert.equal(root.find("vidnb-route").textContent, "direct");
  assert.equal(root.find("vidnb-current-time").textContent, "0:00:04.000");
  assert.equal(root.find("vidnb-duration").textContent, " / 0:00:10.000");
});

test("a start_s beyond the end is clamped to the end", () => {
  const { video } = page({ start_s: 99 });
  video.arrive();
  assert.equal(video.currentTime, 10);
});

test("autoplay plays once the video is loaded", async () => {
  const { video } = page({ autoplay: true });
  assert.ok(video.paused);
  video.arrive();
  await settle();
  assert.ok(!video.paused);
});

test("a blocked autoplay shows a message until the video plays", async () => {
  const { video, root } = page({ autoplay: true });
  video.refusal = "NotAllowedError";
  video.arrive();
  await settle();
  assert.match(texts(root).message, /press play, or pass muted=True/);
  video.fire("playing");
  assert.equal(texts(root).message, "");
});

test("commands sent before the view existed are applied and reported", async () => {
  const { sent, video } = page({ pending_command: { v: 1, seq: 3, t_s: 6, playing: true } });
  assert.equal(last(sent, "command").seq, 3);
  assert.equal(last(sent, "command").current_time, 6);
  video.arrive();
  await settle();
  assert.deepEqual([video.currentTime, video.paused], [6, false]);
});

test("commands are applied once, in order", async () => {
  const { deliver, video, sent } = page();
  video.arrive();
  deliver({ kind: "command", seq: 2, t_s: 5 });
  deliver({ kind: "command", seq: 1, t_s: 1 });
  deliver({ kind: "command", seq: 2, t_s: 2 });
  assert.equal(video.currentTime, 5);
  deliver({ kind: "command", seq: 3, playing: true });
  await settle();
  assert.ok(!video.paused);
  deliver({ kind: "command", seq: 4, playing: false });
  assert.ok(video.paused);
  assert.equal(last(sent, "command").seq, 4);
});

test("pause cancels a play that waits for the video", async () => {
  const { deliver, video } = page({ autoplay: true });
  deliver({ kind: "command", seq: 1, playing: false });
  video.arrive();
  await settle();
  assert.ok(video.paused);
});

test("unknown messages are ignored", () => {
  const { deliver, video } = page();
  video.arrive();
  for (const content of [{ v: 2, kind: "command", seq: 9, t_s: 5 }, { kind: "other" }, { kind: "command" }, { kind: "restore", t_s: 5 },
    { kind: "restore", view: "another", t_s: 5 }]) deliver(content);
  assert.equal(video.currentTime, 0);
});

test("a restored view seeks to the position unless the user has seeked", () => {
  const first = page();
  first.video.arrive();
  first.deliver({ kind: "restore", view: first.view, t_s: 7 });
  assert.equal(first.video.currentTime, 7);
  const second = page();
  second.video.arrive();
  second.root.dispatchEvent(new Event("pointerdown"));
  second.deliver({ kind: "restore", view: second.view, t_s: 7 });
  assert.equal(second.video.currentTime, 0);
});

test("ticks are sent at 4 Hz, at most two without an ack, and continue after an ack", (t) => {
  const { sent, video, deliver, view } = page();
  let now = 1000;
  t.mock.method(performance, "now", () => now);
  video.arrive();
  const ticks = () => sent.filter(({ event }) => event === "timeupdate").map(({ tick }) => tick);
  const play = (ms) => {
    now += ms;
    video.currentTime += ms / 1000;
    video.fire("timeupdate");
  };
  play(250);
  play(100);
  assert.deepEqual(ticks(), [1]);
  play(150);
  play(250);
  play(250);
  assert.deepEqual(ticks(), [1, 2]);
  deliver({ kind: "state_ack", view, tick: 1 });
  assert.deepEqual(ticks(), [1, 2, 3], "the withheld one follows at once");
  video.fire("seeked");
  assert.equal(last(sent, "seeked").current_time, 1, "events are never withheld");
  deliver({ kind: "state_ack", view: "another", tick: 3 });
  play(250);
  assert.deepEqual(ticks(), [1, 2, 3]);
});

test("from another host the loopback route is not tried, and the message names a solution", () => {
  const { video, root, sent } = page({ hostname: "hub.example" });
  assert.equal(video.src, undefined);
  assert.match(texts(root).error, /route="http:\/\/hub\.example:8888\/user\/me\/proxy\/\{port\}\/\{path\}"/);
  assert.equal(root.find("vidnb-retry"), undefined);
  assert.match(last(sent, "error").error, /cannot reach it\. Tried: direct \(this page comes from hub\.example/);
});

test("routes are tried in order", async () => {
  const { video, sent, root } = page({ urls: [DIRECT, PROXY], poster: [{ ...PROXY, url: "/poster" }] });
  assert.equal(video.src, DIRECT.url);
  video.fail(4);
  await settle();
  assert.equal(video.src, PROXY.url);
  assert.equal(video.poster, "/poster");
  assert.equal(texts(root).error, "");
  video.arrive();
  assert.equal(last(sent, "route").route, "proxy");
});

test("after a route without a response the next one is tried", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { video } = page({ urls: [DIRECT, PROXY] });
  t.mock.timers.tick(4000);
  assert.equal(video.src, PROXY.url);
  t.mock.timers.tick(60000);
  assert.equal(video.src, PROXY.url, "the last route has no timeout");
});

const status = (code) => (url, { mode } = {}) =>
  code === null || (code === 0 && mode !== "no-cors") ? Promise.reject(new TypeError("no")) : Promise.resolve({ status: code, ok: code < 400 });
for (const [name, code, responseStatus, pattern] of [
  ["the server does not respond", 2, null, /^The server of film\.mp4 does not respond/],
  ["the file is no longer served", 4, 404, /^film\.mp4 is no longer served at its URL: run the cell again/],
  ["the server fails", 4, 503, /^The server responded with status 503 for film\.mp4/],
  ["the connection broke", 2, 200, /failed at 0:00:02\.000: try again to continue from there/],
  ["the file is damaged", 3, 200, /cannot decode film\.mp4 from 0:00:02\.000 on/],
  ["there is no decoder", 4, 200, /no decoder for film\.mp4/],
  ["the URL is unknown", 4, 0, /^film\.mp4 is no longer served/],
  ["the file is damaged, and the status is secret", 3, 0, /cannot decode film\.mp4/],
]) {
  test(`an error is shown as a message: ${name}`, async () => {
    const { video, root, sent } = page({ respond: status(responseStatus) });
    video.arrive();
    video.currentTime = 2;
    video.fire("seeked");
    video.fail(code);
    await settle();
    if (name === "the connection broke") { // a second time, after one retry
      assert.equal(texts(root).error, "");
      video.fail(code);
      await settle();
    }
    assert.match(texts(root).error, pattern);
    assert.match(last(sent, "error").error, pattern);
    root.find("vidnb-retry").dispatchEvent(new Event("click"));
    assert.equal(texts(root).error, "");
    assert.equal(last(sent, "recovered").error, null);
    video.currentTime = 0;
    video.arrive();
    assert.equal(video.currentTime, 2, "it goes on where it was");
  });
}

test("an aborted load is no error", async () => {
  const { video, root } = page({ respond: status(200) });
  video.fail(1);
  await settle();
  assert.equal(texts(root).error, "");
});

test("subtitles are fetched on the video's route and the first is the default", async () => {
  const tracks = [
    { label: "", lang: "de", urls: [{ ...DIRECT, url: "/direct.vtt" }, { ...PROXY, url: "/proxy.vtt" }] },
    { label: "Missing", lang: "", urls: [{ ...PROXY, url: "/missing.vtt" }] },
    { label: "English", lang: "", urls: [{ ...PROXY, url: "/en.vtt" }] },
  ];
  const respond = (url) => Promise.resolve({ ok: url !== "/missing.vtt", status: 404, arrayBuffer: async () => new ArrayBuffer(4) });
  const { video, made, root, end } = page({ urls: [PROXY], tracks, respond });
  video.arrive();
  await settle();
  assert.deepEqual(made.requests, ["/proxy.vtt", "/missing.vtt", "/en.vtt"]);
  assert.deepEqual(video.children.map(({ srclang, kind, default: first }) => [srclang, kind, first]), [["de", "subtitles", true], ["", "subtitles", false]]);
  assert.notEqual(video.children[0].label, "de", "the browser provides the name of the language");
  assert.match(video.children[0].src, /^blob:/);
  assert.match(texts(root).message, /The subtitles "Missing" could not be loaded/);
  await end();
});

test("a view that ends stops its video and releases the connection", async () => {
  const { video, end, sent, el } = page();
  video.arrive();
  video.paused = false;
  await end();
  assert.deepEqual([video.paused, video.src, video.loads, el.children.length], [true, undefined, 1, 0]);
  assert.equal(sent.at(-1).kind, "bye");
  video.fire("timeupdate");
  assert.equal(sent.at(-1).kind, "bye");
});

test("a page that is unloaded sends bye", () => {
  const { sent } = page();
  globalThis.window.dispatchEvent(new Event("pagehide"));
  assert.equal(sent.at(-1).kind, "bye");
});

test("the video handles keys, but Tab and Escape leave it", () => {
  const { root } = page();
  const press = (key) => {
    const event = Object.assign(new Event("keydown"), { key });
    let stopped = false;
    event.stopPropagation = () => { stopped = true; };
    root.dispatchEvent(event);
    return stopped;
  };
  assert.deepEqual(["m", " ", "ArrowUp", "Tab", "Escape"].map(press), [true, true, true, false, false]);
  assert.equal(root.getAttribute("data-lm-suppress-shortcuts"), "true");
});

const PROBED = { ...DIRECT, endpoint: "http://127.0.0.1:9/~/ENDPOINT/" };
const THROUGH = { ...PROXY, endpoint: "/proxy/9/~/ENDPOINT/" };
const FILES = { route: "files", url: "/files/film.mp4", endpoint: "", needs: "" };
/** Answers pings and reads of the addresses that are alive. */
const alive = (...starts) => (url) =>
  !starts.some((start) => url.startsWith(start)) ? Promise.reject(new TypeError("refused"))
  : Promise.resolve(url.endsWith("ping") ? new Response("vidnb\n") : new Response(null, { status: url.includes("/~/") ? 204 : 200 }));

test("a route that fails its probe is not tried, and the reason is reported", async () => {
  const { video, sent } = page({ urls: [PROBED, THROUGH], respond: alive("/proxy") });
  assert.equal(video.src, undefined);
  await settle();
  assert.equal(video.src, THROUGH.url);
  video.arrive();
  await settle();
  assert.deepEqual(sent.filter(({ kind }) => kind === "state").length, 0, "it is posted, not sent by the kernel");
});

test("loopback is probed alone, the others in parallel", async () => {
  const here = page({ urls: [PROBED, THROUGH, FILES], respond: alive("http://127.0.0.1:9", "/proxy") });
  await settle();
  assert.deepEqual(here.made.requests, ["http://127.0.0.1:9/~/ENDPOINT/ping"]);
  const remote = page({ hostname: "hub.example", urls: [PROBED, THROUGH, FILES], respond: alive("/files") });
  await settle();
  assert.deepEqual(remote.made.requests, ["/proxy/9/~/ENDPOINT/ping", "/files/film.mp4"]);
});

test("if no route works, the message lists what was tried", async () => {
  const { video, root, sent } = page({ urls: [PROBED, FILES], respond: alive() });
  await settle();
  assert.equal(video.src, undefined);
  assert.match(texts(root).error,
    /Tried: direct \(no response\), files \(no response\)/);
  assert.deepEqual(last(sent, "error").routes_tried.map(([route]) => route), ["direct", "files"]);
});

test("playback continues on the next route if one fails", async () => {
  let reachable = ["http://127.0.0.1:9", "/proxy"];
  const { video, root } = page({ urls: [PROBED, THROUGH], respond: (url) => alive(...reachable)(url) });
  await settle();
  assert.deepEqual([video.src, video.crossOrigin], [PROBED.url, "anonymous"]);
  video.arrive();
  video.play();
  video.currentTime = 6;
  video.fire("seeked");
  reachable = ["/proxy"];
  video.fail(2);
  await settle();
  assert.deepEqual([video.src, video.crossOrigin], [THROUGH.url, null]);
  assert.equal(texts(root).error, "");
  Object.assign(video, { currentTime: 0, paused: true, error: null });
  video.arrive();
  await settle();
  assert.deepEqual([video.currentTime, video.paused], [6, false]);
  assert.equal(root.find("vidnb-route").textContent, "proxy");
});

test("a file that the browser cannot decode is not tried on other routes", async () => {
  const { video, root } = page({ urls: [PROBED, THROUGH], respond: alive("http://127.0.0.1:9", "/proxy") });
  await settle();
  video.fail(4);
  await settle();
  assert.equal(video.src, PROBED.url);
  assert.match(texts(root).error, /no decoder/);
});

test("the route of a stalled video is probed again", async (t) => {
  let reachable = ["http://127.0.0.1:9", "/proxy"];
  const { video } = page({ urls: [PROBED, THROUGH], respond: (url) => alive(...reachable)(url) });
  await settle();
  video.arrive();
  const stand = async () => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    video.fire("waiting");
    t.mock.timers.tick(5000);
    t.mock.timers.reset();
    await settle();
  };
  video.play();
  await stand();
  assert.equal(video.src, PROBED.url, "its route is open");
  reachable = ["/proxy"];
  video.paused = true;
  await stand();
  assert.equal(video.src, PROBED.url, "one that is paused need not move");
  video.paused = false;
  await stand();
  assert.equal(video.src, THROUGH.url);
});

test("by the kernel channel the file is loaded as a whole, with a progress bar", async () => {
  const { video, root, sent, deliver, view } = page({ urls: [{ route: "kernel", url: "", endpoint: "", needs: "" }] });
  await settle();
  const request = sent.find(({ kind }) => kind === "byte_range");
  assert.deepEqual([request.resource, request.start], ["video", 0]);
  assert.ok(root.find("vidnb-loading"));
  deliver({ kind: "bytes", view: "another", number: request.number, size_bytes: 1, tag: "t" });
  assert.equal(video.src, undefined);
  deliver({ kind: "bytes", view, number: request.number, reason: "it cannot be read" });
  await settle();
  assert.equal(root.find("vidnb-loading"), undefined);
  assert.match(texts(root).error, /Tried: kernel \(it cannot be read\)/);
});

const key = (target, name, more = {}) => {
  const event = Object.assign(new Event("keydown", { cancelable: true }), { key: name, ...more });
  Object.defineProperty(event, "target", { value: target });
  return event;
};

test("keys act on the video once it is loaded", async () => {
  const { root, video, sent } = page();
  const press = (name, target = video) => {
    const event = key(target, name);
    root.dispatchEvent(event);
    return event.defaultPrevented;
  };
  press("m");
  assert.ok(!sent.some(({ kind }) => kind === "marker"), "there is no time yet that could be marked");
  video.arrive(100);
  assert.ok(press("5"));
  assert.equal(video.currentTime, 50);
  press("ArrowRight");
  press("j");
  assert.equal(video.currentTime, 45);
  press("k");
  await settle();
  assert.ok(!video.paused);
  press(" ");
  assert.ok(video.paused);
  press("M");
  press(">");
  press("ArrowDown");
  assert.deepEqual([video.muted, video.playbackRate, video.volume], [true, 1.25, 0.95]);
  press("ArrowUp");
  assert.deepEqual([video.muted, video.volume], [false, 1], "making it louder unmutes");
  assert.ok(!press("a"));
  assert.ok(!press(" ", { tagName: "BUTTON" }), "a button handles the space bar itself");
  press("End");
  assert.equal(video.currentTime, 100);
});

test("after Tab the native controls handle their keys", () => {
  const { root, video } = page();
  video.arrive(100);
  const press = (name) => root.dispatchEvent(key(video, name));
  press("Tab");
  assert.ok(press("ArrowRight"), "not prevented");
  assert.equal(video.currentTime, 0);
  press("l");
  assert.equal(video.currentTime, 10, "messages are still the player's");
  video.fire("focus");
  press("ArrowRight");
  assert.equal(video.currentTime, 15);
});

test("a marker set in the view is shown and reported at once, and can be removed", () => {
  const { root, video, sent, set, view } = page({ marker_list: [{ id: "python-1", t_s: 5, label: "goal" }] });
  assert.equal(root.all("vidnb-marker").length, 0, "without a length there is no place for it");
  video.arrive(10);
  const pins = () => root.all("vidnb-marker").map((pin) => [pin.style.left, pin.getAttribute("aria-label")]);
  assert.deepEqual(pins(), [["50.000%", "Marker goal · 0:00:05.000"]]);
  video.currentTime = 2.5;
  root.dispatchEvent(key(video, "m"));
  const { n, ...own } = sent.at(-1);
  assert.deepEqual(own, { v: 1, view, kind: "marker", action: "add", id: `${view}-1`, t_s: 2.5, label: "" });
  assert.deepEqual(pins()[0], ["25.000%", "Marker 0:00:02.500"]);
  set("marker_list", [{ id: own.id, t_s: 2.5, label: "" }, { id: "python-1", t_s: 5, label: "goal" }]);
  assert.equal(pins().length, 2);
  root.all("vidnb-marker")[1].click();
  assert.equal(video.currentTime, 5);
  root.all("vidnb-marker")[1].dispatchEvent(key(null, "Delete"));
  assert.deepEqual([sent.at(-1).action, sent.at(-1).id], ["remove", "python-1"]);
  assert.equal(pins().length, 1);
});

test("the timeline seeks, shows times, and shows the buffered ranges", () => {
  const { root, video } = page();
  video.arrive(10);
  const bar = root.find("vidnb-slider");
  const point = (name, clientX) => bar.dispatchEvent(Object.assign(new Event(name), { clientX, button: 0 }));
  point("pointermove", 150);
  assert.equal(video.currentTime, 0, "to point is not to press");
  assert.deepEqual([root.find("vidnb-tooltip-text").textContent, root.find("vidnb-tooltip").hidden], ["0:00:02.500", false]);
  point("pointerdown", 200);
  assert.equal(video.currentTime, 5);
  point("pointermove", 900);
  assert.equal(video.currentTime, 10);
  point("pointerup", 900);
  point("pointermove", 120);
  assert.equal(video.currentTime, 10);
  video.buffered = { length: 2, start: (index) => [0, 5][index], end: (index) => [1, 7.5][index] };
  video.fire("progress");
  const image = root.find("vidnb-buffered").style.backgroundImage;
  assert.match(image, /currentColor 0\.000% 10\.000%.*currentColor 50\.000% 75\.000%/);
  assert.equal(bar.getAttribute("aria-valuetext"), "0:00:10.000 of 0:00:10.000");
  root.find("vidnb-timeline").dispatchEvent(new Event("pointerleave"));
  assert.ok(root.find("vidnb-tooltip").hidden);
});

test("every control has a name, and the toolbar follows the rate", () => {
  const { root, video } = page();
  for (const button of root.all("vidnb-button")) {
    assert.ok(button.getAttribute("aria-label"), button.title);
    assert.equal(button.type, "button");
  }
  const rate = root.find("vidnb-rate");
  assert.equal(rate.getAttribute("aria-label"), "Playback rate");
  rate.value = "0.5";
  rate.dispatchEvent(new Event("change"));
  assert.equal(video.playbackRate, 0.5);
  video.playbackRate = 2;
  video.fire("ratechange");
  assert.equal(rate.value, "2");
});

test("Python's commands for rate, sound, frames and full screen are applied", async () => {
  const { video, deliver, root, sent } = page({ pending_command: { v: 1, seq: 1, t_s: 4, step: 2, playing: false } });
  video.arrive(10);
  assert.ok(Math.abs(video.currentTime - 4 - 2 / 30) < 1e-9);
  deliver({ kind: "command", seq: 2, rate: 1.5, volume: 0.25, muted: true, loop: true });
  assert.deepEqual([video.playbackRate, video.volume, video.muted, video.loop], [1.5, 0.25, true, true]);
  const { playback_rate, volume, muted, loop } = last(sent, "command");
  assert.deepEqual([playback_rate, volume, muted, loop], [1.5, 0.25, true, true]);
  video.paused = false;
  deliver({ kind: "command", seq: 3, step: -1 });
  assert.ok(video.paused, "a step pauses the video");
  deliver({ kind: "command", seq: 4, fullscreen: true });
  await settle();
  assert.match(texts(root).notice, /only right after a click or a key/);
});

test("a seek cancels pending steps", () => {
  const { video, deliver } = page();
  deliver({ kind: "command", seq: 1, step: 3 });
  deliver({ kind: "command", seq: 2, t_s: 6 });
  video.arrive(10);
  assert.equal(video.currentTime, 6);
});

test("a video without a decodable picture plays its sound and shows a message", () => {
  const { video, root, sent } = page();
  video.videoWidth = 0;
  video.arrive(10);
  assert.match(texts(root).message, /^This browser plays only the sound of film\.mp4/);
  assert.equal(last(sent, "loadedmetadata").error, null);
});

test("a truncated file shows a message before the browser fails, and after", async () => {
  const file_problem = "film.mp4 ends early (mdat runs 7 bytes past the end), so it plays up to there.";
  const { video, root, sent } = page({ file_problem, respond: () => Promise.resolve({ status: 200 }) });
  video.arrive(10);
  assert.equal(texts(root).message, file_problem);
  assert.equal(last(sent, "loadedmetadata").error, null, "the video plays up to there");
  video.fail(3);
  await settle();
  assert.equal(texts(root).error, file_problem);
  assert.equal(last(sent, "error").error, file_problem);
});

test("a frame that cannot be saved causes a message", async () => {
  const { video, root } = page();
  root.all("vidnb-button").find((button) => button.getAttribute("aria-label").startsWith("Save")).click();
  await settle();
  assert.match(texts(root).notice, /could not be saved: no frame is shown yet/);
  Object.assign(video, { readyState: 4, videoWidth: 4, videoHeight: 2, duration: 10 });
  video.requestVideoFrameCallback = (callback) => callback(0, { mediaTime: 0, presentedFrames: 1 });
  root.all("vidnb-button").find((button) => button.getAttribute("aria-label").startsWith("Save")).click();
  await settle();
  assert.match(texts(root).notice, /could not be saved: the browser offers no canvas here|the browser does not allow reading a frame/);
});

test("a view that ends leaves no listener on its model", async () => {
  const { end, listeners, show, call, sent } = page();
  const before = new Map([...listeners].map(([name, callbacks]) => [name, callbacks.length]));
  assert.ok(before.get("msg:custom") > 0);
  const second = show();
  await second.end();
  assert.deepEqual(new Map([...listeners].map(([name, callbacks]) => [name, callbacks.length])), before);
  await end();
  assert.deepEqual([...listeners.values()].flat(), []);
  const { length } = sent;
  call("change:width");
  assert.equal(sent.length, length);
});

test("messages change the text of live regions that stay in the page", async () => {
  const { root, video } = page({ respond: status(200) });
  const regions = () => ["vidnb-messages", "vidnb-error"].map((name) => root.all(name));
  const [[messages], [error]] = regions();
  assert.deepEqual([messages.getAttribute("role"), error.getAttribute("role")], ["status", "alert"]);
  video.videoWidth = 0;
  video.arrive();
  assert.match(messages.children[0].textContent, /plays only the sound/);
  root.all("vidnb-button").find((button) => button.getAttribute("aria-label").startsWith("Save")).click();
  await settle();
  assert.match(messages.children[1].textContent, /could not be saved/);
  video.fail(4);
  await settle();
  assert.match(error.textContent, /no decoder/);
  assert.equal(messages.children[0].textContent, "", "the error replaces the message");
  assert.deepEqual(regions(), [[messages], [error]], "no region was added or replaced");
});

test("PageUp and PageDown move the slider by a tenth", () => {
  const { root, video } = page();
  const slider = root.find("vidnb-slider");
  const press = (name) => {
    const event = key(slider, name);
    slider.dispatchEvent(event);
    return event.defaultPrevented;
  };
  assert.ok(!press("PageUp"), "there is no position yet");
  video.arrive(50);
  assert.ok(press("PageUp"));
  assert.equal(video.currentTime, 5);
  press("PageUp");
  press("PageDown");
  press("PageDown");
  assert.equal(video.currentTime, 0);
  press("PageDown");
  assert.equal(video.currentTime, 0);
  assert.ok(!press("ArrowLeft"), "a key of the whole player");
});

test("a player of frames that are encoded shows how many are, and why they end early", () => {
  const { root, deliver } = page();
  const shown = root.find("vidnb-download");
  const states = [];
  shown.classList = { toggle: (name, isOn) => states.push([name, isOn]) };
  const state = { kind: "download_state", view: "", ranges: [], generation: 0, note: "", problem: "" };
  deliver({ ...state, state: "encoding", text: "encoding 12 frames", note: "encoding 12 frames" });
  assert.deepEqual([shown.textContent, shown.hidden], ["encoding 12 frames", false]);
  deliver({ ...state, state: "saved", text: "" });
  assert.ok(shown.hidden);
  assert.equal(texts(root).message, "");
  deliver({ ...state, state: "failed", text: "failed after 12 frames", problem: "It failed: KeyError." });
  assert.deepEqual([shown.textContent, texts(root).message], ["failed after 12 frames", "It failed: KeyError."]);
  assert.deepEqual(states.at(-1), ["vidnb-failed", true]);
});
