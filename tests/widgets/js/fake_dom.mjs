// A fake DOM with the parts that the player and the comparison use.
import { setMaxListeners } from "node:events";
import { afterEach } from "node:test";

import player from "../../../vidnb/widgets/js/player.js";

setMaxListeners(0); // one signal ends all listeners of a view, by design

export class FakeElement extends EventTarget {
  constructor(tag) {
    super();
    Object.assign(this, { tag, children: [], attributes: {}, style: {}, textContent: "", parent: null });
  }
  get tagName() { return this.tag.toUpperCase(); }
  replaceChildren(...children) {
    for (const child of this.children) child.parent = null;
    this.children = [];
    this.append(...children);
  }
  getBoundingClientRect() { return { left: 100, width: 200 }; }
  click() { this.dispatchEvent(new Event("click")); }
  append(...children) {
    for (const child of children) {
      child.parent = this;
      this.children.push(child);
    }
  }
  remove() {
    if (this.parent) this.parent.children = this.parent.children.filter((child) => child !== this);
    this.parent = null;
  }
  setAttribute(name, value) { this.attributes[name] = value; }
  getAttribute(name) { return this.attributes[name] ?? null; }
  removeAttribute(name) {
    delete this.attributes[name];
    delete this[name];
  }
  focus() {}
  contains(other) { return this === other || this.children.some((child) => child.contains?.(other)); }
  get isConnected() { return !this.detached; }
  all(className) {
    const own = this.className?.split(" ").includes(className) ? [this] : [];
    return [...own, ...this.children.flatMap((child) => child.all?.(className) ?? [])];
  }
  find(className) {
    if (this.className?.split(" ").includes(className)) return this;
    for (const child of this.children) {
      const found = child.find?.(className);
      if (found) return found;
    }
    return undefined;
  }
}

export class FakeVideo extends FakeElement {
  constructor() {
    super("video");
    Object.assign(this, {
      readyState: 0, currentTime: 0, duration: NaN, paused: true, ended: false, seeking: false,
      error: null, loads: 0, refusal: null, playbackRate: 1, defaultPlaybackRate: 1, volume: 1, muted: false,
      buffered: { length: 0 }, frames: [],
    });
  }
  fire(event) { this.dispatchEvent(new Event(event)); }
  arrive(duration = 10) {
    Object.assign(this, { readyState: 1, duration });
    this.fire("loadedmetadata");
  }
  fail(code) {
    this.error = { code };
    this.fire("error");
  }
  async play() {
    if (this.refusal) throw Object.assign(new Error("no"), { name: this.refusal });
    this.paused = false;
    this.fire("play");
  }
  pause() {
    if (!this.paused) {
      this.paused = true;
      this.fire("pause");
    }
  }
  load() { this.loads += 1; }
  canPlayType() { return "maybe"; }
  requestVideoFrameCallback(callback) { this.frames.push(callback); }
  showFrame(mediaTime, presentedFrames) {
    for (const callback of this.frames.splice(0)) callback(0, { mediaTime, presentedFrames });
  }
}

export const DIRECT = { route: "direct", url: "http://127.0.0.1:9/T/film.mp4", needs: "loopback" };
export const FILE = { kind: "direct", variant: "", type: "", reason: "" };
export const PROXY = { route: "proxy", url: "/proxy/9/T/film.mp4", needs: "" };
export const settle = () => new Promise((resolve) => setTimeout(resolve, 5));

const open = [];
afterEach(() => open.splice(0).forEach((end) => end())); // a view that waits for a route has a timer

/** A page with one player on it. */
export function page({ hostname = "localhost", widget = player, respond = () => Promise.reject(new TypeError("no response")), ...traits } = {}) {
  const state = {
    name: "film.mp4", urls: [DIRECT], start_s: 0, autoplay: false, start_muted: false, start_loop: false,
    width: 960, tracks: [], poster: [], marker_list: [], deliveries: [FILE], card_id: "vidnb-card-1", pending_command: {}, ...traits,
  };
  const sent = [];
  const listeners = new Map();
  const made = { requests: [] };
  globalThis.document = {
    createElement: (tag) => (tag === "video" ? (made.video = new FakeVideo()) : new FakeElement(tag)),
    createElementNS: (_space, tag) => new FakeElement(tag),
    getElementById: () => ({ textContent: '{"baseUrl": "/user/me/"}' }),
  };
  globalThis.location = { hostname, origin: `http://${hostname}:8888`, href: `http://${hostname}:8888/lab` };
  globalThis.window = new EventTarget();
  for (const name of ["vidnb.probes", "vidnb.view_groups"]) delete globalThis[Symbol.for(name)];
  delete globalThis[Symbol.for("vidnb.route")]
  globalThis.CSS = { escape: (text) => text };
  globalThis.fetch = (url, options) => {
    made.requests.push(url);
    return respond(url, options);
  };
  const model = {
    get: (name) => state[name],
    send: (content) => {
      if (content.kind === "hello") call("msg:custom", { v: 1, kind: "ack", view: content.view });
      else sent.push(content);
    },
    on: (name, callback) => listeners.set(name, [...(listeners.get(name) ?? []), callback]),
    off: (name, callback) => listeners.set(name, listeners.get(name).filter((other) => other !== callback)),
  };
  const call = (name, ...values) => (listeners.get(name) ?? []).forEach((callback) => callback(...values));
  /** Shows another view of the player. */
  const show = () => {
    const el = new FakeElement("div");
    const before = sent.length;
    const controller = new AbortController();
    /** Ends the view as anywidget does; resolves when it has ended. */
    const end = async () => {
      controller.abort();
      await null;
    };
    widget.render({ model, el, signal: controller.signal });
    open.push(end);
    return { video: made.video, el, end, root: el.children[0], view: sent[before].view };
  };
  const deliver = (content) => call("msg:custom", { v: 1, ...content });
  const set = (name, value) => {
    state[name] = value;
    call(`change:${name}`);
  };
  return { made, sent, deliver, set, call, listeners, show, ...show() };
}

export const last = (sent, event) => sent.findLast((message) => message.event === event);

/** The texts in the message area of a view, "" where there is none. */
export const texts = (root) => ({
  message: root.find("vidnb-message").textContent,
  notice: root.find("vidnb-notice").textContent,
  error: root.find("vidnb-error").textContent,
});
