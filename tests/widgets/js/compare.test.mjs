// The comparison on a fake DOM: its videos, their models, and its keys.
import assert from "node:assert/strict";
import { test } from "node:test";

import compare from "../../../vidnb/widgets/js/compare.js";
import { FILE, FakeElement, FakeVideo, settle, texts } from "./fake_dom.mjs";

/** A video whose seeks end with settle(). */
class SeekingVideo extends FakeVideo {
  constructor() {
    super();
    delete this.currentTime;
    Object.assign(this, { at: 0, videoWidth: 640, buffered: { length: 1, start: () => 0, end: () => this.duration / 2 } });
  }
  get currentTime() { return this.at; }
  set currentTime(seconds) {
    this.at = seconds;
    this.ended = false;
    this.seeking = true;
  }
  arrive(duration = 10) {
    super.arrive(duration);
    this.readyState = 4;
  }
  settle() {
    this.seeking = false;
    this.fire("seeked");
  }
  pause() { this.paused = true; }
}

function fakeModel(state) {
  const sent = [];
  const listeners = [];
  const deliver = (content) => listeners.filter(({ name }) => name === "msg:custom").forEach(({ callback }) => callback({ v: 1, ...content }));
  return {
    sent, state, listeners, deliver,
    get: (name) => state[name],
    send: (content) => (content.kind === "hello" ? deliver({ kind: "ack", view: content.view }) : sent.push(content)),
    on: (name, callback) => listeners.push({ name, callback }),
    off: (name, callback) => listeners.splice(listeners.findIndex((one) => one.name === name && one.callback === callback), 1),
  };
}

/** A page with a comparison of two videos, or as many as there are lengths. */
async function page({ lengths = [10, 10], missing = false, ...traits } = {}) {
  const videos = [];
  globalThis.document = {
    createElement: (tag) => {
      const made = tag === "video" ? new SeekingVideo() : new FakeElement(tag);
      if (tag === "video") videos.push(made);
      return made;
    },
    createElementNS: (_space, tag) => new FakeElement(tag),
    getElementById: () => ({ textContent: '{"baseUrl": "/"}' }),
  };
  globalThis.location = { hostname: "localhost", origin: "http://localhost:8888", href: "http://localhost:8888/lab" };
  globalThis.window = Object.assign(new EventTarget(), { setTimeout, clearTimeout });
  globalThis.CSS = { escape: (text) => text };
  globalThis.fetch = () => Promise.reject(new TypeError("bye"));
  const players = lengths.map((_, index) => fakeModel({
    name: `${index}.mp4`, urls: [{ route: "direct", url: `http://127.0.0.1:9/${index}.mp4`, needs: "loopback" }], start_s: 0,
    width: 960, tracks: [], poster: [], marker_list: [], card_id: `card-${index}`, pending_command: {}, start_muted: false, deliveries: [FILE],
  }));
  const model = fakeModel({
    models: players.map((_, index) => `IPY_MODEL_${index}`), labels: players.map((_, index) => `Video ${index}`),
    offsets_s: lengths.map(() => 0), columns: 2, card_id: "card", pending_command: {}, ...traits,
  });
  model.widget_manager = { get_model: async (id) => (missing ? Promise.reject(new Error("none")) : players[id]) };
  const el = new FakeElement("div");
  const controller = new AbortController();
  compare.render({ model, el, signal: controller.signal });
  const end = async () => {
    controller.abort();
    await null;
  };
  await settle();
  videos.forEach((video, index) => video.arrive(lengths[index]));
  for (const video of videos) if (video.seeking) video.settle();
  const root = el.children[0];
  const press = (key) => {
    const event = Object.assign(new Event("keydown", { cancelable: true }), { key });
    root.dispatchEvent(event);
    return event;
  };
  const ready = () => videos.forEach((video) => video.settle());
  return { el, root, end, model, players, videos, press, ready };
}

/** Runs a test with a page and ends the page, which stops its timer. */
function onPage(name, options, check) {
  test(name, async () => {
    const made = await page(options);
    try {
      await check(made);
    } finally {
      made.end();
    }
  });
}

onPage("the comparison has a label, and its videos have no native controls", {}, ({ root, videos, model }) => {
  assert.equal(root.getAttribute("aria-label"), "Comparison of 2 videos: Video 0, Video 1");
  assert.deepEqual(videos.map(({ controls, tabIndex, muted }) => [controls, tabIndex, muted]), [[false, -1, false], [false, -1, true]]);
  assert.deepEqual(root.all("vidnb-label").map(({ textContent }) => textContent), ["Video 0", "Video 1"]);
  assert.deepEqual(model.sent.filter(({ kind }) => kind === "ready").length, 1);
  assert.equal(root.all("vidnb-duration").at(-1).textContent, " / 0:00:10.000");
});

onPage("space plays all and pauses all", {}, ({ press, videos, model, root }) => {
  assert.ok(press(" ").defaultPrevented);
  assert.deepEqual(videos.map(({ paused }) => paused), [false, false]);
  assert.equal(model.sent.at(-1).paused, false);
  assert.ok(root.all("vidnb-button").some((button) => button.getAttribute("aria-label") === "Pause all"));
  press(" ");
  assert.deepEqual(videos.map(({ paused }) => paused), [true, true]);
  assert.equal(model.sent.at(-1).event, "pause");
});

onPage("a click on any video plays all", {}, ({ videos }) => {
  videos[1].click();
  assert.deepEqual(videos.map(({ paused }) => paused), [false, false]);
});

onPage("keys seek, step and change the rate of all videos", { offsets_s: [0, 2] }, ({ press, videos, ready }) => {
  press("ArrowRight");
  assert.deepEqual(videos.map(({ currentTime }) => currentTime), [5, 7]);
  ready();
  press(".");
  assert.deepEqual(videos.map(({ currentTime }) => Math.round(currentTime * 30)), [151, 211]);
  press(">");
  assert.deepEqual(videos.map(({ playbackRate }) => playbackRate), [1.25, 1.25]);
  press("Home");
  assert.deepEqual(videos.map(({ currentTime }) => currentTime), [0, 2]);
  assert.ok(!press("Tab").defaultPrevented);
  assert.ok(!press("x").defaultPrevented);
});

onPage("a video that waits for data pauses the others until it can play", { lengths: [10, 10, 10] }, ({ press, videos, model }) => {
  press(" ");
  videos[2].readyState = 2;
  videos[2].fire("waiting");
  assert.deepEqual(videos.map(({ paused }) => paused), [true, true, false]);
  assert.equal(model.sent.at(-1).event, "waiting");
  assert.equal(model.sent.at(-1).paused, false);
  videos[2].readyState = 4;
  videos[2].fire("canplay");
  assert.deepEqual(videos.map(({ paused }) => paused), [false, false, false]);
  assert.equal(model.sent.at(-1).event, "playing");
});

onPage("players report the common state, not pauses and rates of the synchronisation", {}, ({ press, videos, players }) => {
  press(" ");
  videos[1].playbackRate = 1.03;
  const before = players[1].sent.length;
  videos[1].fire("ratechange");
  videos[1].fire("pause");
  assert.equal(players[1].sent.length, before);
  videos[1].fire("seeked");
  const lastReports = () => players.map(({ sent }) => [sent.at(-1).event, sent.at(-1).playback_rate, sent.at(-1).paused]);
  assert.deepEqual(lastReports()[1], ["seeked", 1, false]);
  videos[0].readyState = 2;
  videos[0].fire("waiting");
  press(" ");
  assert.deepEqual(lastReports(), [["pause", 1, true], ["pause", 1, true]]);
  press(">");
  assert.deepEqual(lastReports(), [["ratechange", 1.25, true], ["ratechange", 1.25, true]]);
});

onPage("a command of the comparison is applied to all videos", {}, ({ model, videos, ready }) => {
  model.deliver({ kind: "command", seq: 1, t_s: 3, rate: 0.5 });
  assert.deepEqual(videos.map(({ currentTime, playbackRate }) => [currentTime, playbackRate]), [[3, 0.5], [3, 0.5]]);
  ready();
  model.deliver({ kind: "command", seq: 2, playing: true });
  assert.deepEqual(videos.map(({ paused }) => paused), [false, false]);
  assert.equal(model.sent.at(-1).seq, 2);
  model.deliver({ kind: "command", seq: 2, playing: false });
  model.deliver({ v: 2, kind: "command", seq: 3, playing: false });
  assert.deepEqual(videos.map(({ paused }) => paused), [false, false]);
});

onPage("a command of one player seeks all videos, and mutes only its own", { offsets_s: [0, 1] }, ({ players, videos }) => {
  players[1].deliver({ kind: "command", seq: 1, t_s: 4, muted: false });
  assert.deepEqual(videos.map(({ currentTime, muted }) => [currentTime, muted]), [[3, false], [4, false]]);
  assert.equal(players[1].sent.at(-1).seq, 1);
});

onPage("a pending command is applied at once", { pending_command: { v: 1, seq: 4, t_s: 6 }, offsets_s: [0, 1] }, ({ videos, model }) => {
  assert.deepEqual(videos.map(({ currentTime }) => currentTime), [6, 7]);
  assert.equal(model.sent.findLast(({ event }) => event === "command").seq, 4);
});

onPage("the position of Python is restored unless the user has seeked", {}, ({ model, videos, press }) => {
  const { view } = model.sent[0];
  model.deliver({ kind: "restore", view: "another", t_s: 8 });
  assert.equal(videos[0].currentTime, 0);
  model.deliver({ kind: "restore", view, t_s: 8, rate: 2 });
  assert.deepEqual([videos[0].currentTime, videos[0].playbackRate], [8, 2]);
  press("Home");
  model.deliver({ kind: "restore", view, t_s: 8, rate: 2 });
  assert.equal(videos[0].currentTime, 0);
});

onPage("a blocked autoplay pauses all and shows a message", {}, async ({ press, videos, root }) => {
  videos[0].refusal = "NotAllowedError";
  press(" ");
  await settle();
  assert.deepEqual(videos.map(({ paused }) => paused), [true, true]);
  assert.match(root.all("vidnb-notice").at(-1).textContent, /only after a click/);
});

onPage("each video has its own sound, and M mutes all", {}, ({ root, videos, press }) => {
  const soundButtons = root.all("vidnb-caption").map((foot) => foot.find("vidnb-button"));
  soundButtons[1].click();
  assert.deepEqual(videos.map(({ muted }) => muted), [false, false]);
  videos[1].fire("volumechange");
  assert.equal(soundButtons[1].getAttribute("aria-pressed"), "true");
  press("M");
  assert.deepEqual(videos.map(({ muted }) => muted), [true, true]);
  press("M");
  assert.deepEqual(videos.map(({ muted }) => muted), [false, true]);
});

onPage("playback stops at the end, and starts again from the beginning", { lengths: [4, 10] }, ({ press, videos, ready, model }) => {
  press("9");
  ready();
  assert.deepEqual(videos.map(({ currentTime }) => currentTime), [4, 9]);
  press("End");
  ready();
  press(" ");
  assert.deepEqual(videos.map(({ currentTime }) => currentTime), [0, 0]);
  ready();
  assert.deepEqual(videos.map(({ paused }) => paused), [false, false]);
  press("9");
  Object.assign(videos[0], { ended: true, paused: true });
  ready();
  videos[1].at = 9.9;
  videos[1].fire("canplay");
  Object.assign(videos[1], { at: 10, ended: true, paused: true });
  videos[1].fire("ended");
  assert.deepEqual([model.sent.at(-1).event, model.sent.at(-1).paused, model.sent.at(-1).current_time], ["ended", true, 10]);
});

onPage("the timeline shows the ranges that all videos have buffered", { lengths: [10, 4] }, ({ root }) => {
  const present = root.children.find(({ className }) => className === "vidnb-timeline").find("vidnb-buffered");
  assert.match(present.style.backgroundImage, /currentColor 0\.000% 20\.000%/);
});

test("a comparison that ends pauses its videos, removes its listeners and sends bye", async () => {
  const { end, el, players, videos, model } = await page();
  await end();
  assert.equal(el.children.length, 0);
  assert.deepEqual(players.map(({ listeners }) => listeners.length), [0, 0]);
  assert.ok(videos.every(({ paused }) => paused));
  assert.equal(model.sent.at(-1).kind, "bye");
});

onPage("missing players cause an error message", { missing: true }, ({ root }) => {
  assert.match(texts(root).error, /run the cell again/);
});
