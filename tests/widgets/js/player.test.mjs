// player.js on a page of straw: what it does with a <video>.
import assert from "node:assert/strict";
import { test } from "node:test";

import { DIRECT, PROXY, last, page, player, settle } from "./straw.mjs";

test("a time code is h:mm:ss.mmm", () => {
  const cases = [[0, "0:00:00.000"], [1.0005, "0:00:01.001"], [59.9996, "0:01:00.000"], [3661.25, "1:01:01.250"],
    [36000, "10:00:00.000"], [-1, "0:00:00.000"], [null, "-:--:--.---"], [NaN, "-:--:--.---"], [Infinity, "-:--:--.---"]];
  for (const [seconds, text] of cases) assert.equal(player.timeCode(seconds), text);
});

test("loopback is known by name", () => {
  for (const name of ["localhost", "a.localhost", "127.0.0.1", "127.1.2.3", "[::1]"]) assert.ok(player.isLoopback(name), name);
  for (const name of ["", "hub.example", "localhost.example", "127.0.0.1.example", "10.0.0.1"]) assert.ok(!player.isLoopback(name), name);
});

test("a view says that it is there, hides its card, and reads its traits", () => {
  const { sent, root, video } = page({ start_muted: true, start_loop: true, width: 320, wish: { v: 1 } });
  assert.deepEqual(sent.map(({ kind }) => kind), ["ready"]);
  assert.equal(sent[0].v, 1);
  assert.deepEqual([video.muted, video.loop, video.controls, video.preload, video.src], [true, true, true, "metadata", DIRECT.url]);
  assert.equal(root.style.maxWidth, "320px");
  assert.equal(root.getAttribute("aria-label"), "Video player: film.mp4");
  const style = root.children.find(({ tag }) => tag === "style").textContent;
  assert.match(style, /^\.vidnb-card-1 \{ display: none !important; \}$/m);
});

test("traits may change while it is shown", () => {
  const { set, root } = page();
  set("width", 200);
  assert.equal(root.style.maxWidth, "200px");
});

test("it begins at start_s, and says so from its first report", () => {
  const { sent, video, root } = page({ start_s: 4 });
  assert.match(root.find("vidnb-clock").textContent, /^0:00:04\.000$/);
  video.arrive();
  assert.equal(video.currentTime, 4);
  assert.deepEqual(sent.filter(({ kind }) => kind === "state").map(({ current_time }) => current_time), [4, 4]);
  assert.equal(last(sent, "loadedmetadata").duration, 10);
  assert.equal(last(sent, "route").route, "direct");
  assert.equal(root.find("vidnb-mark").textContent, "direct");
  assert.equal(root.find("vidnb-clock").textContent, "0:00:04.000");
  assert.equal(root.find("vidnb-whole").textContent, " / 0:00:10.000");
});

test("a start beyond the end is the end", () => {
  const { video } = page({ start_s: 99 });
  video.arrive();
  assert.equal(video.currentTime, 10);
});

test("autoplay plays once the video is there", async () => {
  const { video } = page({ autoplay: true });
  assert.ok(video.paused);
  video.arrive();
  await settle();
  assert.ok(!video.paused);
});

test("where the browser wants a click first, it says so until it plays", async () => {
  const { video, root } = page({ autoplay: true });
  video.refusal = "NotAllowedError";
  video.arrive();
  await settle();
  assert.match(root.find("vidnb-message").textContent, /press play, or pass muted=True/);
  assert.equal(root.find("vidnb-message").getAttribute("role"), "status");
  video.fire("playing");
  assert.equal(root.find("vidnb-message"), undefined);
});

test("wishes that came before the view are obeyed and told", async () => {
  const { sent, video } = page({ wish: { v: 1, seq: 3, t_s: 6, playing: true } });
  assert.equal(last(sent, "wish").seq, 3);
  assert.equal(last(sent, "wish").current_time, 6);
  video.arrive();
  await settle();
  assert.deepEqual([video.currentTime, video.paused], [6, false]);
});

test("wishes are obeyed once, in order", async () => {
  const { tell, video, sent } = page();
  video.arrive();
  tell({ kind: "wish", seq: 2, t_s: 5 });
  tell({ kind: "wish", seq: 1, t_s: 1 });
  tell({ kind: "wish", seq: 2, t_s: 2 });
  assert.equal(video.currentTime, 5);
  tell({ kind: "wish", seq: 3, playing: true });
  await settle();
  assert.ok(!video.paused);
  tell({ kind: "wish", seq: 4, playing: false });
  assert.ok(video.paused);
  assert.equal(last(sent, "wish").seq, 4);
});

test("pause takes back a play that was waiting for the video", async () => {
  const { tell, video } = page({ autoplay: true });
  tell({ kind: "wish", seq: 1, playing: false });
  video.arrive();
  await settle();
  assert.ok(video.paused);
});

test("what it does not understand it ignores", () => {
  const { tell, video } = page();
  video.arrive();
  for (const content of [{ v: 2, kind: "wish", seq: 9, t_s: 5 }, { kind: "other" }, { kind: "wish" }, { kind: "resume", t_s: 5 },
    { kind: "resume", view: "another", t_s: 5 }]) tell(content);
  assert.equal(video.currentTime, 0);
});

test("a view that comes back resumes, unless somebody has touched it", () => {
  const first = page();
  first.video.arrive();
  first.tell({ kind: "resume", view: first.view, t_s: 7 });
  assert.equal(first.video.currentTime, 7);
  const second = page();
  second.video.arrive();
  second.root.dispatchEvent(new Event("pointerdown"));
  second.tell({ kind: "resume", view: second.view, t_s: 7 });
  assert.equal(second.video.currentTime, 0);
});

test("ticks come at 4 Hz, at most two unheard, and go on when heard", (t) => {
  const { sent, video, tell, view } = page();
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
  tell({ kind: "heard", view, tick: 1 });
  assert.deepEqual(ticks(), [1, 2, 3], "the withheld one follows at once");
  video.fire("seeked");
  assert.equal(last(sent, "seeked").current_time, 1, "events are never withheld");
  tell({ kind: "heard", view: "another", tick: 3 });
  play(250);
  assert.deepEqual(ticks(), [1, 2, 3]);
});

test("from another host the loopback road is not tried, and a sentence says what would help", () => {
  const { video, root, sent } = page({ hostname: "hub.example" });
  assert.equal(video.src, undefined);
  const message = root.find("vidnb-message");
  assert.equal(message.getAttribute("role"), "alert");
  assert.match(message.children[0].textContent, /route="http:\/\/hub\.example:8888\/user\/me\/proxy\/\{port\}\/\{path\}"/);
  assert.equal(root.find("vidnb-again"), undefined);
  assert.match(last(sent, "error").error, /cannot reach it\. Tried: direct \(this page comes from hub\.example/);
});

test("roads are tried in order", async () => {
  const { video, sent, root } = page({ urls: [DIRECT, PROXY], poster: [{ ...PROXY, url: "/poster" }] });
  assert.equal(video.src, DIRECT.url);
  video.fail(4);
  await settle();
  assert.equal(video.src, PROXY.url);
  assert.equal(video.poster, "/poster");
  assert.equal(root.find("vidnb-message"), undefined);
  video.arrive();
  assert.equal(last(sent, "route").route, "proxy");
});

test("a road without an answer is left for the next", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { video } = page({ urls: [DIRECT, PROXY] });
  t.mock.timers.tick(4000);
  assert.equal(video.src, PROXY.url);
  t.mock.timers.tick(60000);
  assert.equal(video.src, PROXY.url, "the last one may take its time");
});

const status = (code) => (url, { mode } = {}) =>
  code === null || (code === 0 && mode !== "no-cors") ? Promise.reject(new TypeError("no")) : Promise.resolve({ status: code, ok: code < 400 });
for (const [name, code, answer, pattern] of [
  ["the server is gone", 2, null, /^Nothing answers at the address of film\.mp4/],
  ["the file is no longer served", 4, 404, /^film\.mp4 is no longer served at its address: run the cell again/],
  ["the server fails", 4, 503, /^The server answered 503 for film\.mp4/],
  ["the connection broke", 2, 200, /broke at 0:00:02\.000: try again, it goes on from there/],
  ["the file is damaged", 3, 200, /cannot decode film\.mp4 from 0:00:02\.000 on/],
  ["there is no decoder", 4, 200, /no decoder for film\.mp4/],
  ["the address is unknown, which is kept secret", 4, 0, /^film\.mp4 is no longer served/],
  ["the file is damaged, and the status is secret", 3, 0, /cannot decode film\.mp4/],
]) {
  test(`an error becomes a sentence: ${name}`, async () => {
    const { video, root, sent } = page({ answer: status(answer) });
    video.arrive();
    video.currentTime = 2;
    video.fire("seeked");
    video.fail(code);
    await settle();
    if (name === "the connection broke") { // and broke again after it was taken up once
      assert.equal(root.find("vidnb-message"), undefined);
      video.fail(code);
      await settle();
    }
    const message = root.find("vidnb-message");
    assert.equal(message.getAttribute("role"), "alert");
    assert.match(message.children[0].textContent, pattern);
    assert.match(last(sent, "error").error, pattern);
    root.find("vidnb-again").dispatchEvent(new Event("click"));
    assert.equal(root.find("vidnb-message"), undefined);
    assert.equal(last(sent, "recovered").error, null);
    video.currentTime = 0;
    video.arrive();
    assert.equal(video.currentTime, 2, "it goes on where it was");
  });
}

test("an aborted load is no error", async () => {
  const { video, root } = page({ answer: status(200) });
  video.fail(1);
  await settle();
  assert.equal(root.find("vidnb-message"), undefined);
});

test("subtitles are fetched on the video's road and the first is the default", async () => {
  const tracks = [
    { label: "", lang: "de", urls: [{ ...DIRECT, url: "/direct.vtt" }, { ...PROXY, url: "/proxy.vtt" }] },
    { label: "Gone", lang: "", urls: [{ ...PROXY, url: "/gone.vtt" }] },
    { label: "English", lang: "", urls: [{ ...PROXY, url: "/en.vtt" }] },
  ];
  const answer = (url) => Promise.resolve({ ok: url !== "/gone.vtt", status: 404, arrayBuffer: async () => new ArrayBuffer(4) });
  const { video, made, root, end } = page({ urls: [PROXY], tracks, answer });
  video.arrive();
  await settle();
  assert.deepEqual(made.asked, ["/proxy.vtt", "/gone.vtt", "/en.vtt"]);
  assert.deepEqual(video.children.map(({ srclang, kind, default: first }) => [srclang, kind, first]), [["de", "subtitles", true], ["", "subtitles", false]]);
  assert.notEqual(video.children[0].label, "de", "the browser knows the language's name");
  assert.match(video.children[0].src, /^blob:/);
  assert.match(root.find("vidnb-message").textContent, /The subtitles "Gone" could not be loaded/);
  end();
});

test("a view that goes stops its video and frees the connection", () => {
  const { video, end, sent, el } = page();
  video.arrive();
  video.paused = false;
  end();
  assert.deepEqual([video.paused, video.src, video.loads, el.children.length], [true, undefined, 1, 0]);
  assert.equal(sent.at(-1).kind, "gone");
  video.fire("timeupdate");
  assert.equal(sent.at(-1).kind, "gone");
});

test("a page that is left says so", () => {
  const { sent } = page();
  globalThis.window.dispatchEvent(new Event("pagehide"));
  assert.equal(sent.at(-1).kind, "gone");
});

test("keys stay with the video, but Tab and Escape lead out", () => {
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

const BOXED = { ...DIRECT, box: "http://127.0.0.1:9/~/BOX/" };
const THROUGH = { ...PROXY, box: "/proxy/9/~/BOX/" };
const FILES = { route: "files", url: "/files/film.mp4", box: "", needs: "" };
/** Answers pings and reads of the addresses that are alive. */
const alive = (...starts) => (url) =>
  !starts.some((start) => url.startsWith(start)) ? Promise.reject(new TypeError("refused"))
  : Promise.resolve(url.endsWith("ping") ? new Response("vidnb\n") : new Response(null, { status: url.includes("/~/") ? 204 : 200 }));

test("a road that gives no sign of life is not tried, and Python learns why", async () => {
  const { video, sent } = page({ urls: [BOXED, THROUGH], answer: alive("/proxy") });
  assert.equal(video.src, undefined);
  await settle();
  assert.equal(video.src, THROUGH.url);
  video.arrive();
  await settle();
  assert.deepEqual(sent.filter(({ kind }) => kind === "state").length, 0, "it is posted, not sent by the kernel");
});

test("loopback is asked alone, the others at once", async () => {
  const here = page({ urls: [BOXED, THROUGH, FILES], answer: alive("http://127.0.0.1:9", "/proxy") });
  await settle();
  assert.deepEqual(here.made.asked, ["http://127.0.0.1:9/~/BOX/ping"]);
  const afar = page({ hostname: "hub.example", urls: [BOXED, THROUGH, FILES], answer: alive("/files") });
  await settle();
  assert.deepEqual(afar.made.asked, ["/proxy/9/~/BOX/ping", "/files/film.mp4"]);
});

test("where no road is open, a sentence says what was tried", async () => {
  const { video, root, sent } = page({ urls: [BOXED, FILES], answer: alive() });
  await settle();
  assert.equal(video.src, undefined);
  assert.match(root.find("vidnb-message").children[0].textContent,
    /Tried: direct \(nobody answers at its address\), files \(nobody answers at its address\)/);
  assert.deepEqual(last(sent, "error").routes_tried.map(([route]) => route), ["direct", "files"]);
});

test("a road that dies in mid-play is left for the next, and the play goes on", async () => {
  let up = ["http://127.0.0.1:9", "/proxy"];
  const { video, root } = page({ urls: [BOXED, THROUGH], answer: (url) => alive(...up)(url) });
  await settle();
  assert.deepEqual([video.src, video.crossOrigin], [BOXED.url, "anonymous"]);
  video.arrive();
  video.play();
  video.currentTime = 6;
  video.fire("seeked");
  up = ["/proxy"];
  video.fail(2);
  await settle();
  assert.deepEqual([video.src, video.crossOrigin], [THROUGH.url, null]);
  assert.equal(root.find("vidnb-message"), undefined);
  Object.assign(video, { currentTime: 0, paused: true, error: null });
  video.arrive();
  await settle();
  assert.deepEqual([video.currentTime, video.paused], [6, false]);
  assert.equal(root.find("vidnb-mark").textContent, "proxy");
});

test("a file that no browser decodes is not tried on every road", async () => {
  const { video, root } = page({ urls: [BOXED, THROUGH], answer: alive("http://127.0.0.1:9", "/proxy") });
  await settle();
  video.fail(4);
  await settle();
  assert.equal(video.src, BOXED.url);
  assert.match(root.find("vidnb-message").children[0].textContent, /no decoder/);
});

test("a video that stands still has its road asked again", async (t) => {
  let up = ["http://127.0.0.1:9", "/proxy"];
  const { video } = page({ urls: [BOXED, THROUGH], answer: (url) => alive(...up)(url) });
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
  assert.equal(video.src, BOXED.url, "its road is open");
  up = ["/proxy"];
  video.paused = true;
  await stand();
  assert.equal(video.src, BOXED.url, "one that is paused need not move");
  video.paused = false;
  await stand();
  assert.equal(video.src, THROUGH.url);
});

test("by the kernel the film is collected, and a bar shows how much has come", async () => {
  const { video, root, sent, tell, view } = page({ urls: [{ route: "kernel", url: "", box: "", needs: "" }] });
  await settle();
  const asked = sent.find(({ kind }) => kind === "span");
  assert.deepEqual([asked.of, asked.start], ["video", 0]);
  assert.ok(root.find("vidnb-loading"));
  tell({ kind: "bytes", view: "another", number: asked.number, size_bytes: 1, tag: "t" });
  assert.equal(video.src, undefined);
  tell({ kind: "bytes", view, number: asked.number, reason: "it cannot be read" });
  await settle();
  assert.equal(root.find("vidnb-loading"), undefined);
  assert.match(root.find("vidnb-message").children[0].textContent, /Tried: kernel \(it cannot be read\)/);
});

const key = (target, name, more = {}) => {
  const event = Object.assign(new Event("keydown", { cancelable: true }), { key: name, ...more });
  Object.defineProperty(event, "target", { value: target });
  return event;
};

test("keys steer the video, once it is there", async () => {
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
  assert.deepEqual([video.muted, video.volume], [false, 1], "who turns it up wants to hear it");
  assert.ok(!press("a"));
  assert.ok(!press(" ", { tagName: "BUTTON" }), "a button keeps the space bar");
  press("End");
  assert.equal(video.currentTime, 100);
});

test("whoever goes to the browser's own buttons by Tab keeps their keys", () => {
  const { root, video } = page();
  video.arrive(100);
  const press = (name) => root.dispatchEvent(key(video, name));
  press("Tab");
  assert.ok(press("ArrowRight"), "not prevented");
  assert.equal(video.currentTime, 0);
  press("l");
  assert.equal(video.currentTime, 10, "letters are still the player's");
  video.fire("focus");
  press("ArrowRight");
  assert.equal(video.currentTime, 15);
});

test("a marker set here is shown and told at once, and removed again", () => {
  const { root, video, sent, set, view } = page({ marks: [{ id: "python-1", t_s: 5, label: "goal" }] });
  assert.equal(root.all("vidnb-pin").length, 0, "without a length there is no place for it");
  video.arrive(10);
  const pins = () => root.all("vidnb-pin").map((pin) => [pin.style.left, pin.getAttribute("aria-label")]);
  assert.deepEqual(pins(), [["50.000%", "Marker goal · 0:00:05.000"]]);
  video.currentTime = 2.5;
  root.dispatchEvent(key(video, "m"));
  const { n, ...own } = sent.at(-1);
  assert.deepEqual(own, { v: 1, view, kind: "marker", action: "add", id: `${view}-1`, t_s: 2.5, label: "" });
  assert.deepEqual(pins()[0], ["25.000%", "Marker 0:00:02.500"]);
  set("marks", [{ id: own.id, t_s: 2.5, label: "" }, { id: "python-1", t_s: 5, label: "goal" }]);
  assert.equal(pins().length, 2);
  root.all("vidnb-pin")[1].click();
  assert.equal(video.currentTime, 5);
  root.all("vidnb-pin")[1].dispatchEvent(key(null, "Delete"));
  assert.deepEqual([sent.at(-1).action, sent.at(-1).id], ["remove", "python-1"]);
  assert.equal(pins().length, 1);
});

test("the timeline seeks, tells times, and shows what has arrived", () => {
  const { root, video } = page();
  video.arrive(10);
  const bar = root.find("vidnb-bar");
  const point = (name, clientX) => bar.dispatchEvent(Object.assign(new Event(name), { clientX, button: 0 }));
  point("pointermove", 150);
  assert.equal(video.currentTime, 0, "to point is not to press");
  assert.deepEqual([root.find("vidnb-tip").textContent, root.find("vidnb-tip").hidden], ["0:00:02.500", false]);
  point("pointerdown", 200);
  assert.equal(video.currentTime, 5);
  point("pointermove", 900);
  assert.equal(video.currentTime, 10);
  point("pointerup", 900);
  point("pointermove", 120);
  assert.equal(video.currentTime, 10);
  video.buffered = { length: 2, start: (index) => [0, 5][index], end: (index) => [1, 7.5][index] };
  video.fire("progress");
  const image = root.find("vidnb-present").style.backgroundImage;
  assert.match(image, /currentColor 0\.000% 10\.000%.*currentColor 50\.000% 75\.000%/);
  assert.equal(bar.getAttribute("aria-valuetext"), "0:00:10.000 of 0:00:10.000");
  root.find("vidnb-timeline").dispatchEvent(new Event("pointerleave"));
  assert.ok(root.find("vidnb-tip").hidden);
});

test("every control has a name, and the strip follows the rate", () => {
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

test("Python's wishes for rate, sound, frames and the whole screen are obeyed", async () => {
  const { video, tell, root, sent } = page({ wish: { v: 1, seq: 1, t_s: 4, step: 2, playing: false } });
  video.arrive(10);
  assert.ok(Math.abs(video.currentTime - 4 - 2 / 30) < 1e-9);
  tell({ kind: "wish", seq: 2, rate: 1.5, volume: 0.25, muted: true, loop: true });
  assert.deepEqual([video.playbackRate, video.volume, video.muted, video.loop], [1.5, 0.25, true, true]);
  const { playback_rate, volume, muted, loop } = last(sent, "wish");
  assert.deepEqual([playback_rate, volume, muted, loop], [1.5, 0.25, true, true]);
  video.paused = false;
  tell({ kind: "wish", seq: 3, step: -1 });
  assert.ok(video.paused, "a step is a step of a picture that stands");
  tell({ kind: "wish", seq: 4, fullscreen: true });
  await settle();
  assert.match(root.find("vidnb-message").textContent, /only right after a click or a key/);
});

test("a seek ends the steps that waited before it", () => {
  const { video, tell } = page();
  tell({ kind: "wish", seq: 1, step: 3 });
  tell({ kind: "wish", seq: 2, t_s: 6 });
  video.arrive(10);
  assert.equal(video.currentTime, 6);
});

test("sound without its picture is told, and goes on", () => {
  const { video, root, sent } = page();
  video.videoWidth = 0;
  video.arrive(10);
  assert.match(root.find("vidnb-message").textContent, /^This browser plays only the sound of film\.mp4/);
  assert.equal(last(sent, "loadedmetadata").error, null);
});

test("a file that ends early is told of before the browser finds out, and after", async () => {
  const flaw = "film.mp4 ends early (mdat runs 7 bytes past the end), so it plays up to there.";
  const { video, root, sent } = page({ flaw, answer: () => Promise.resolve({ status: 200 }) });
  video.arrive(10);
  assert.equal(root.find("vidnb-message").textContent, flaw);
  assert.equal(last(sent, "loadedmetadata").error, null, "up to there it plays");
  video.fail(3);
  await settle();
  assert.equal(root.find("vidnb-message").children[0].textContent, flaw);
  assert.equal(last(sent, "error").error, flaw);
});

test("a frame that cannot be saved is a sentence", async () => {
  const { video, root } = page();
  root.all("vidnb-button").find((button) => button.getAttribute("aria-label").startsWith("Save")).click();
  await settle();
  assert.match(root.find("vidnb-message").textContent, /could not be saved: no frame is shown yet/);
  Object.assign(video, { readyState: 4, videoWidth: 4, videoHeight: 2, duration: 10 });
  root.all("vidnb-button").find((button) => button.getAttribute("aria-label").startsWith("Save")).click();
  await settle();
  assert.match(root.find("vidnb-message").textContent, /could not be saved: the browser does not give away a frame/);
});
