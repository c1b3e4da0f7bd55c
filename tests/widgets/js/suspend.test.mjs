// Suspending and resuming a video, and the view group of one player.
import assert from "node:assert/strict";
import { test } from "node:test";

import { isReported, suspendDelay } from "../../../vidnb/widgets/js/suspend.js";
import { followerCommand } from "../../../vidnb/widgets/js/view_group.js";
import { DIRECT, last, page, settle, texts } from "./fake_dom.mjs";

const LIMITS = { hidden_ms: 5000, idle_ms: 60000 };
const view = (more) => ({
  hasFrame: true, isBusy: false, isPinned: false, isAttended: false, isVisible: true, hidden_ms: 0, idle_ms: 0, ...more,
});

for (const [name, state, wait] of [
  ["in view it is suspended after a long pause", { idle_ms: 20000 }, 40000],
  ["immediately after the limit", { idle_ms: 70000 }, 0],
  ["out of view it is suspended sooner", { isVisible: false, hidden_ms: 1000, idle_ms: 9000 }, 4000],
  ["but not directly after a pause", { isVisible: false, hidden_ms: 50000, idle_ms: 1000 }, 4000],
  ["out of view for long", { isVisible: false, hidden_ms: 50000, idle_ms: 50000 }, 0],
  ["a video without a frame is not suspended", { hasFrame: false, isVisible: false, hidden_ms: 1e9, idle_ms: 1e9 }, Infinity],
  ["a playing video is not suspended", { isBusy: true, isVisible: false, hidden_ms: 1e9, idle_ms: 1e9 }, Infinity],
  ["a video in picture-in-picture is not suspended", { isPinned: true, isVisible: false, hidden_ms: 1e9, idle_ms: 1e9 }, Infinity],
  ["a video under the pointer is not suspended", { isAttended: true, idle_ms: 1e9 }, Infinity],
  ["a focused video that is out of view is suspended", { isAttended: true, isVisible: false, hidden_ms: 9e3, idle_ms: 9e3 }, 0],
]) test(`suspend: ${name}`, () => assert.equal(suspendDelay(view(state), LIMITS), wait));

test("of a suspended video only user actions are reported", () => {
  const suspended = { isResuming: false, sought: false };
  const resuming = { isResuming: true, sought: false };
  const resumingWithSeek = { isResuming: true, sought: true };
  const reported = (memory) => ["loadedmetadata", "durationchange", "ended", "seeking", "seeked", "play", "pause", "ratechange"]
    .filter((event) => isReported(event, memory));
  assert.equal(reported(null).length, 8);
  assert.deepEqual(reported(suspended), ["ratechange"]);
  assert.deepEqual(reported(resuming), ["play", "pause", "ratechange"]);
  assert.deepEqual(reported(resumingWithSeek), ["seeking", "seeked", "play", "pause", "ratechange"]);
});

const follower = (more) => ({
  own_s: 5, duration_s: 10, rate: 1, paused: false, seeking: false, ended: false, loop: false, since_seek_s: 9, seek_duration_s: 0.05, ...more,
});
const lead = (more) => ({ t_s: 5, rate: 1, playing: true, isSteady: true, ...more });
for (const [name, own, leads, command] of [
  ["a synchronised follower needs no command", {}, {}, {}],
  ["a follower plays and pauses with the leader", { paused: true }, {}, { playing: true }],
  ["a paused follower seeks to the exact position of the leader", { own_s: 5.1 }, { playing: false }, { playing: false, seek_s: 5 }],
  ["a small drift is corrected by the rate", { own_s: 5.05 }, {}, { rate: 0.9 }],
  ["a larger drift is corrected by a larger rate change", { own_s: 4.5 }, {}, { rate: 1.5 }],
  ["the correction ends without drift", { own_s: 5.001, rate: 0.9 }, {}, { rate: 1 }],
  ["a large drift is corrected by a seek ahead", { own_s: 3 }, {}, { seek_s: 5.05 }],
  ["but not directly after another seek", { own_s: 3, since_seek_s: 0.5 }, {}, {}],
  ["nor during a seek", { own_s: 3, seeking: true }, {}, {}],
  ["a leader that is seeking has no position to follow", { own_s: 3 }, { isSteady: false }, {}],
  ["a follower that ended first waits at its end", { own_s: 10, paused: true, ended: true }, { t_s: 9.9 }, {}],
  ["a follower that looped first is not moved back", { own_s: 0.1, loop: true }, { t_s: 9.9 }, {}],
  ["a follower has the rate of the leader", {}, { rate: 2, t_s: 5 }, { rate: 2 }],
]) {
  test(`view group: ${name}`, () => {
    const { rate, ...actual } = followerCommand(follower(own), lead(leads));
    const { rate: wanted, ...others } = command;
    assert.deepEqual(actual, others);
    assert.equal(rate === undefined, wanted === undefined);
    if (wanted !== undefined) assert.ok(Math.abs(rate - wanted) < 1e-9, String(rate));
  });
}

/** A page whose videos have a frame to show while they are suspended. */
function pageWithFrames(t, traits = {}) {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  let now = 1000;
  t.mock.method(performance, "now", () => now);
  const made = page(traits);
  const { createElement } = document;
  document.createElement = (tag) => Object.assign(createElement(tag), tag === "canvas" && { getContext: () => ({
    drawImage() {}, getImageData: () => ({ data: [0, 0, 0, 255] }), beginPath() {}, arc() {}, fill() {}, moveTo() {}, lineTo() {},
  }) });
  const pass = (ms) => {
    now += ms;
    t.mock.timers.tick(ms);
  };
  const load = (video = made.video) => {
    Object.assign(video, { readyState: 4, duration: 10, videoWidth: 640, videoHeight: 360, clientWidth: 320, ended: false });
    video.seeking = true;
    video.fire("loadedmetadata");
    video.fire("loadeddata");
    video.seeking = false;
    video.fire("seeked");
  };
  return { ...made, pass, load };
}

test("a video that is paused for long is suspended, and resumed at its position", (t) => {
  const { video, root, sent, pass, load, deliver } = pageWithFrames(t, { start_s: 4 });
  load();
  deliver({ kind: "command", seq: 1, rate: 1.5 });
  video.fire("ratechange");
  const before = sent.length;
  pass(59000);
  assert.equal(video.src, DIRECT.url);
  pass(2000);
  assert.equal(video.src, undefined);
  assert.equal(video.controls, false);
  Object.assign(video, { readyState: 0, currentTime: 0, duration: NaN, playbackRate: video.defaultPlaybackRate });
  for (const event of ["emptied", "durationchange", "timeupdate"]) video.fire(event);
  assert.equal(root.all("vidnb-last-frame").length, 1);
  assert.equal(root.find("vidnb-current-time").textContent, "0:00:04.000");
  assert.equal(sent.length, before, "a suspension is not reported");
  root.dispatchEvent(new Event("pointerenter"));
  assert.equal(video.src, DIRECT.url);
  load();
  pass(1000);
  assert.deepEqual([video.currentTime, video.playbackRate, video.controls], [4, 1.5, true]);
  assert.equal(root.all("vidnb-last-frame").length, 0);
  assert.equal(sent.length, before);
  pass(100000);
  assert.equal(video.src, DIRECT.url, "the pointer is on it");
});

test("a suspended video seeks, and reports as if it had not been suspended", (t) => {
  const { video, sent, pass, load, deliver } = pageWithFrames(t);
  load();
  pass(61000);
  Object.assign(video, { readyState: 0, currentTime: 0, duration: NaN });
  deliver({ kind: "command", seq: 1, t_s: 99, playing: true });
  assert.deepEqual([last(sent, "command").current_time, last(sent, "command").duration, last(sent, "command").paused], [10, 10, false]);
  const before = sent.length;
  load();
  assert.equal(video.currentTime, 10);
  assert.ok(!video.paused);
  assert.deepEqual(sent.slice(before).map(({ event }) => event), ["play", "seeked"]);
});

test("a suspended video whose route fails shows an error and keeps its frame and position", async (t) => {
  const { video, root, sent, pass, load } = pageWithFrames(t, { start_s: 4 });
  load();
  pass(61000);
  Object.assign(video, { readyState: 0, currentTime: 0, duration: NaN });
  root.dispatchEvent(new Event("pointerenter"));
  t.mock.timers.reset();
  video.fail(4);
  await settle();
  assert.match(last(sent, "error").error, /^The server of film\.mp4 does not respond/);
  assert.equal(last(sent, "error").current_time, 4);
  assert.equal(root.all("vidnb-last-frame").length, 1);
  root.find("vidnb-retry").click();
  assert.equal(video.src, DIRECT.url);
  load();
  assert.equal(video.currentTime, 4);
});

test("a restart of the kernel ends its players with a message", (t) => {
  const { video, root, sent, call, load } = pageWithFrames(t);
  load();
  video.paused = false;
  const before = sent.length;
  call("comm_live_update");
  call("comm_live_update");
  assert.deepEqual([video.paused, video.src], [true, undefined]);
  assert.match(texts(root).error, /^The kernel that served film\.mp4 was restarted: run the cell again\.$/);
  assert.equal(root.all("vidnb-last-frame").length, 1);
  root.find("vidnb-last-frame").click();
  root.dispatchEvent(new Event("pointerdown"));
  assert.equal(video.src, undefined, "no kernel can serve the video");
  assert.deepEqual(sent.slice(before).filter(({ kind }) => kind !== "state"), []);
});

test("a video that is not served by the kernel plays on after its restart", async () => {
  const files = { route: "files", url: "/files/film.mp4", endpoint: "", needs: "" };
  const respond = async () => new Response("x", { status: 206, headers: { "Content-Range": "bytes 0-0/9" } });
  const { video, root, sent, call } = page({ urls: [files], respond });
  await settle();
  video.arrive();
  await video.play();
  const before = sent.length;
  call("comm_live_update");
  assert.match(texts(root).message, /^The kernel was restarted\. film\.mp4 still plays here/);
  assert.deepEqual([video.src, video.paused], ["/files/film.mp4", false]);
  video.pause();
  assert.equal(sent.length, before, "no message is sent");
});

/** Two loaded views of one player. */
function pair(t) {
  const one = pageWithFrames(t);
  one.load();
  const other = one.show();
  one.load(other.video);
  return { one, other };
}
const states = (sent, view) => sent.filter((message) => message.kind === "state" && message.view === view);

test("an action in one view is applied to all, and only the leader reports", async (t) => {
  const { one, other } = pair(t);
  assert.deepEqual([one.video.muted, other.video.muted], [false, true]);
  one.deliver({ kind: "command", seq: 1, playing: true });
  assert.deepEqual([one.video.paused, other.video.paused], [false, false]);
  one.video.currentTime = 6;
  one.video.fire("seeking");
  assert.equal(other.video.currentTime, 6);
  other.video.fire("seeking");
  one.video.playbackRate = 2;
  one.video.fire("ratechange");
  other.video.fire("ratechange");
  assert.equal(other.video.playbackRate, 2);
  one.deliver({ kind: "command", seq: 2, playing: false });
  assert.deepEqual([one.video.paused, other.video.paused], [true, true]);
  assert.deepEqual(states(one.sent, other.view), [], "one video");
});

test("the view in which the user acts becomes the leader", (t) => {
  const { one, other } = pair(t);
  other.video.currentTime = 3;
  other.video.fire("seeking");
  assert.equal(one.video.currentTime, 3);
  assert.deepEqual([one.video.muted, other.video.muted], [true, false]);
  assert.equal(states(one.sent, other.view)[0].is_leader, true);
  one.video.muted = false;
  one.video.fire("volumechange");
  assert.deepEqual([one.video.muted, other.video.muted], [false, true], "the leader has the sound");
  other.video.play();
  assert.ok(!one.video.paused);
});

test("another view leads when the leader ends, and a later view starts at its position", async (t) => {
  const { one, other } = pair(t);
  one.deliver({ kind: "command", seq: 1, t_s: 5, playing: true });
  one.video.fire("seeking");
  await one.end();
  assert.deepEqual([other.video.muted, other.video.paused], [false, false]);
  assert.equal(states(one.sent, other.view)[0].is_leader, true);
  const third = one.show();
  one.load(third.video);
  assert.deepEqual([third.video.currentTime, third.video.paused, third.video.muted], [5, false, true]);
  await third.end();
  assert.ok(!other.video.paused);
});

test("the rate of a follower is corrected without a report", (t) => {
  const { one, other } = pair(t);
  one.deliver({ kind: "command", seq: 1, playing: true });
  one.video.currentTime = 2;
  other.video.currentTime = 2.1;
  one.pass(300);
  assert.ok(other.video.playbackRate < 1);
  other.video.fire("ratechange");
  assert.equal(one.video.playbackRate, 1);
  assert.equal(other.root.find("vidnb-rate").value, "1");
});

test("a user action is not reverted before its event arrives", (t) => {
  const { one, other } = pair(t);
  other.video.paused = false;
  one.pass(300);
  assert.ok(!other.video.paused);
  other.video.fire("play");
  assert.ok(!one.video.paused);
  one.video.paused = true;
  one.pass(300);
  assert.ok(one.video.paused);
  one.pass(3000);
  assert.ok(!one.video.paused, "without an event the state is restored");
});

test("an element that is removed from the page pauses alone", (t) => {
  const { one, other } = pair(t);
  one.deliver({ kind: "command", seq: 1, playing: true });
  one.root.detached = true;
  one.video.pause();
  assert.deepEqual([other.video.paused, other.video.muted], [false, false]);
});

test("a player that Python closes posts nothing to its closed endpoint", async () => {
  const probed = { ...DIRECT, endpoint: "http://127.0.0.1:9/~/ENDPOINT/" };
  const { made, listeners, end, sent, video } = page({ urls: [probed], respond: async () => new Response("vidnb\n") });
  await settle();
  video.arrive();
  await settle();
  const requests = made.requests.length;
  assert.ok(requests > 1, "messages were posted before");
  // In the order of anywidget: its own handler aborts the signal before those of the view run.
  const handlers = listeners.get("destroy");
  const ended = end();
  handlers.forEach((handler) => handler());
  await ended;
  await settle();
  assert.equal(made.requests.length, requests);
  assert.equal(sent.at(-1).kind, "bye");
});
