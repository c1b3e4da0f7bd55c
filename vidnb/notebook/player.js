// @ts-check
/**
 * The browser's half of vidnb.Player: plain ESM, no build step. Its modules are joined as they are
 * (player_script.py), since a widget is one script; so a name stands for one thing in all of them.
 *
 * The video is the browser's own <video controls>. This file finds the road to its bytes, obeys
 * Python's wishes, tells Python what happens, and turns the browser's errors into sentences.
 * Traits are read, never written; the protocol is described at the top of player.py.
 *
 * @typedef {import("./player_roads.js").Road} Road
 * @typedef {{ label: string, lang: string, urls: Road[] }} Track
 * @typedef {{ v: 1, seq: number, t_s?: number, playing?: boolean }} Wish
 * @typedef {{
 *   get(name: string): any,
 *   send(content: object): void,
 *   on(name: string, callback: (...args: any[]) => void): void,
 * }} Model
 */

import { make } from "./player_elements.js";
import { ask, jupyterBase, sortRoads } from "./player_roads.js";
import { languageName, noRoad, sentence, timeCode } from "./player_words.js";

const VERSION = 1;
const TICK_MS = 240; // Chromium's timeupdate comes each 250 ms, Firefox's more often
const MAX_UNHEARD = 2; // ticks under way to a kernel that may be busy
const ROAD_MS = 4000; // how long one road may take to the first metadata while others are left
const EVENTS = ["loadedmetadata", "durationchange", "play", "playing", "pause", "seeking", "seeked", "ended"];

/** One place where a player is shown. */
class View {
  constructor(/** @type {Model} */ model, /** @type {HTMLElement} */ el) {
    this.model = model;
    this.id = Array.from(crypto.getRandomValues(new Uint8Array(8)), (n) => n.toString(16)).join("");
    this.name = String(model.get("name"));
    this.seq = 0; // the last wish obeyed
    this.touched = false; // a person or a wish has moved it
    this.tick = 0;
    this.heard = 0;
    this.withheld = false;
    this.lastTickMs = -Infinity;
    /** @type {string | null} */
    this.error = null;
    /** @type {string | null} */
    this.route = null;
    this.lastTime = 0;
    this.wantTime = Number(model.get("start_s")) || 0;
    this.wantPlaying = Boolean(model.get("autoplay"));
    const { open, closed } = sortRoads(model.get("urls") ?? [], location.hostname);
    this.roads = open;
    this.closed = closed;
    this.at = 0; // the road being tried
    this.timer = 0;
    /** @type {string[]} */
    this.blobs = [];
    this.ends = new AbortController();

    this.build(el);
    this.listen();
    this.fit();
    this.send({ kind: "ready" });
    this.obey(model.get("wish"));
    this.load();
  }

  build(/** @type {HTMLElement} */ el) {
    this.root = make("div", "vidnb-player");
    this.root.setAttribute("role", "group");
    this.root.setAttribute("aria-label", `Video player: ${this.name}`);
    // JupyterLab's keys (arrows, m, space) would move cells while a person steers the video.
    this.root.setAttribute("data-lm-suppress-shortcuts", "true");

    this.video = make("video", "vidnb-video");
    this.video.controls = true;
    this.video.preload = "metadata";
    this.video.playsInline = true;
    this.video.tabIndex = 0;
    this.video.setAttribute("aria-label", this.name);

    const strip = make("div", "vidnb-strip");
    const name = make("span", "vidnb-name", this.name);
    name.title = this.name;
    this.clock = make("span", "vidnb-clock");
    this.mark = make("span", "vidnb-mark");
    this.mark.hidden = true;
    strip.append(name, this.clock, this.mark);

    this.root.append(this.video, strip, this.cardHider());
    el.append(this.root);
    this.showClock();
  }

  /**
   * The saved card of this player (found by class) is hidden by a style sheet inside the player, so that it comes
   * back by itself whenever the player leaves the page. The output's frame goes too, where it
   * holds only the card; :has() stands apart, since a browser without it drops the whole rule.
   */
  cardHider() {
    const card = `.${CSS.escape(String(this.model.get("card_id")))}`;
    const style = document.createElement("style");
    style.textContent =
      `${card} { display: none !important; }\n` +
      `.jp-OutputArea-child:has(${card}):not(:has(.vidnb-player)) { display: none !important; }`;
    return style;
  }

  listen() {
    const { video, model } = this;
    const options = { signal: this.ends.signal };
    // First of all, so that no report tells the beginning where start_s or a wish says otherwise.
    video.addEventListener("loadedmetadata", () => this.arrived(), options);
    for (const event of EVENTS) {
      video.addEventListener(event, () => {
        this.showClock();
        this.report(event);
      }, options);
    }
    video.addEventListener("timeupdate", () => this.moved(), options);
    video.addEventListener("error", () => this.failed(), options);
    video.addEventListener("playing", () => this.hush(), options);
    for (const event of ["pointerdown", "keydown"]) {
      this.root.addEventListener(event, () => { this.touched = true; }, options);
    }
    // The notebook must not take a key that was meant for the video; Tab and Escape lead out.
    this.root.addEventListener("keydown", (event) => {
      if (event.key !== "Tab" && event.key !== "Escape") event.stopPropagation();
    }, options);

    // A page that is left or loaded anew removes no view; if it comes back, it reports again.
    window.addEventListener("pagehide", () => this.send({ kind: "gone" }), options);

    model.on("msg:custom", (content) => this.told(content));
    model.on("change:width", () => this.fit());
    model.on("change:loop", () => { video.loop = Boolean(model.get("loop")); });
    model.on("change:muted", () => { video.muted = Boolean(model.get("muted")); });
    video.loop = Boolean(model.get("loop"));
    video.muted = Boolean(model.get("muted"));

    if ("requestVideoFrameCallback" in video) {
      const onFrame = () => {
        if (this.ends.signal.aborted) return;
        this.showClock();
        video.requestVideoFrameCallback(onFrame);
      };
      video.requestVideoFrameCallback(onFrame);
    }
  }

  // The road to the bytes

  load() {
    clearTimeout(this.timer);
    const road = this.roads[this.at];
    if (!road) {
      const base = location.origin + jupyterBase();
      if (this.closed.length) this.complain(noRoad(this.name, location.hostname, base));
      return;
    }
    const poster = this.pick(this.model.get("poster"), road);
    if (poster) this.video.poster = poster;
    this.video.src = road.url;
    if (this.at + 1 < this.roads.length) this.timer = setTimeout(() => this.next(), ROAD_MS);
  }

  next() {
    this.at += 1;
    this.load();
  }

  /** The address of a companion of the video on the same road. */
  pick(/** @type {Road[] | undefined} */ roads, /** @type {Road} */ road) {
    return (roads?.find((other) => other.route === road.route) ?? roads?.[0])?.url;
  }

  arrived() {
    clearTimeout(this.timer);
    const road = this.roads[this.at];
    if (this.wantTime > 0) this.seek(this.wantTime);
    this.wantTime = 0;
    if (this.route !== road.route) {
      this.route = road.route;
      this.mark.textContent = road.route;
      this.mark.title = `The video comes from ${new URL(road.url, location.href).host}.`;
      this.mark.hidden = false;
      this.addTracks(road);
      this.report("route");
    }
    if (this.wantPlaying) this.start();
    this.wantPlaying = false;
  }

  async addTracks(/** @type {Road} */ road) {
    /** @type {Track[]} */
    const tracks = this.model.get("tracks") ?? [];
    const { signal } = this.ends;
    const texts = tracks.map(async (track) => {
      const answer = await fetch(this.pick(track.urls, road) ?? "", { signal });
      if (!answer.ok) throw new Error(String(answer.status));
      return new Blob([await answer.arrayBuffer()], { type: "text/vtt" });
    });
    let shown = false;
    for (const [index, text] of (await Promise.allSettled(texts)).entries()) {
      if (signal.aborted) return;
      const { lang } = tracks[index];
      const label = tracks[index].label || languageName(lang);
      if (text.status === "rejected") {
        this.say(`The subtitles "${label}" could not be loaded: run the cell again.`);
        continue;
      }
      const url = URL.createObjectURL(text.value);
      this.blobs.push(url);
      const track = document.createElement("track");
      // The browser shows the default one; told so by `mode` instead, Chromium picks others too.
      Object.assign(track, { kind: "subtitles", label, srclang: lang, src: url, default: !shown });
      this.video.append(track);
      shown = true;
    }
  }

  async failed() {
    const { code = 0 } = this.video.error ?? {};
    if (!this.video.error) return;
    if (this.route === null && this.at + 1 < this.roads.length) {
      this.next();
      return;
    }
    const { lastTime } = this;
    const text = sentence(code, this.name, lastTime, await ask(this.roads[this.at].url));
    if (text && !this.ends.signal.aborted) this.complain(text);
  }

  // Obeying Python

  told(/** @type {any} */ content) {
    if (content?.v !== VERSION) return;
    if (content.kind === "wish") this.obey(content);
    if (content.view !== this.id) return;
    if (content.kind === "heard") {
      this.heard = content.tick;
      if (this.withheld) this.moved();
    } else if (content.kind === "resume" && !this.touched && typeof content.t_s === "number") {
      this.seek(content.t_s);
    }
  }

  obey(/** @type {Wish | undefined} */ wish) {
    if (wish?.v !== VERSION || !(wish.seq > this.seq)) return;
    this.seq = wish.seq;
    this.touched = true;
    if (typeof wish.t_s === "number") this.seek(wish.t_s);
    if (wish.playing === true) this.start();
    if (wish.playing === false) this.stop();
    this.report("wish");
  }

  seek(/** @type {number} */ seconds) {
    if (this.video.readyState === 0) {
      this.wantTime = seconds;
    } else {
      const { duration } = this.video;
      this.video.currentTime = Number.isFinite(duration) ? Math.min(seconds, duration) : seconds;
    }
  }

  start() {
    if (this.video.readyState === 0) {
      this.wantPlaying = true;
      return;
    }
    this.video.play().catch((/** @type {Error} */ reason) => {
      // Any other reason comes as an error event, or is a pause that was asked for.
      if (reason.name === "NotAllowedError") {
        this.say("The browser plays sound only after a click in the page: press play, or pass muted=True.");
      }
    });
  }

  stop() {
    this.wantPlaying = false;
    this.video.pause();
  }

  // Telling Python

  moved() {
    const now = performance.now();
    this.showClock();
    this.withheld = this.tick - this.heard >= MAX_UNHEARD;
    if (this.withheld || now - this.lastTickMs < TICK_MS) return;
    this.lastTickMs = now;
    this.tick += 1;
    this.report("timeupdate", { tick: this.tick });
  }

  report(/** @type {string} */ event, extra = {}) {
    const { video } = this;
    if (video.readyState > 0) this.lastTime = video.currentTime;
    this.send({
      kind: "state",
      event,
      seq: this.seq,
      current_time: this.now(),
      duration: Number.isFinite(video.duration) ? video.duration : null,
      paused: video.paused,
      ended: video.ended,
      seeking: video.seeking,
      error: this.error,
      route: this.route,
      ...extra,
    });
  }

  send(/** @type {object} */ content) {
    try {
      this.model.send({ v: VERSION, view: this.id, ...content });
    } catch {
      // The kernel is gone; the video itself goes on.
    }
  }

  /** The position, or the one it will begin at (s). */
  now() {
    return this.video.readyState > 0 ? this.video.currentTime : this.wantTime || this.lastTime;
  }

  // What a person sees

  fit() {
    this.root.style.maxWidth = `${this.model.get("width")}px`;
  }

  showClock() {
    const text = `${timeCode(this.now())} / ${timeCode(this.video.duration)}`;
    if (this.clock.textContent !== text) this.clock.textContent = text;
  }

  /** Shows a sentence that needs no action at once. */
  say(/** @type {string} */ text) {
    this.hush();
    this.message = make("div", "vidnb-message", text);
    this.message.setAttribute("role", "status");
    this.root.append(this.message);
  }

  /** Shows why the video cannot be played, with a way to try again. */
  complain(/** @type {string} */ text) {
    this.hush();
    this.error = text;
    this.message = make("div", "vidnb-message vidnb-error");
    this.message.setAttribute("role", "alert");
    this.message.append(make("span", "", text));
    if (this.roads.length) {
      const again = make("button", "vidnb-again", "Try again");
      again.type = "button";
      again.addEventListener("click", () => this.again(), { signal: this.ends.signal });
      this.message.append(again);
    }
    this.root.append(this.message);
    this.report("error");
  }

  hush() {
    this.message?.remove();
    if (this.error === null) return;
    this.error = null;
    this.report("recovered");
  }

  again() {
    this.hush();
    this.wantTime = this.lastTime;
    this.at = 0;
    this.load();
    this.video.focus();
  }

  /** Stops, and frees the connection: without a source the browser drops it. */
  end() {
    clearTimeout(this.timer);
    this.ends.abort();
    this.video.pause();
    this.video.removeAttribute("src");
    this.video.load();
    for (const url of this.blobs) URL.revokeObjectURL(url);
    this.send({ kind: "gone" });
    this.root.remove();
  }
}

function render(/** @type {{ model: Model, el: HTMLElement }} */ { model, el }) {
  const view = new View(model, el);
  return () => view.end();
}

export default { render };
