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
 * @typedef {{
 *   v: 1, seq: number, t_s?: number, step?: number, playing?: boolean, rate?: number,
 *   volume?: number, muted?: boolean, loop?: boolean, fullscreen?: boolean,
 * }} Wish
 * @typedef {{
 *   get(name: string): any,
 *   send(content: object, callbacks?: object, buffers?: ArrayBuffer[]): void,
 *   on(name: string, callback: (...args: any[]) => void): void,
 * }} Model
 */

import { Channel } from "./player_channel.js";
import { Deck } from "./player_deck.js";
import { cardHider, make } from "./player_elements.js";
import { KernelFiles } from "./player_kernel.js";
import { listenToKeys } from "./player_keys.js";
import { Marks } from "./player_marks.js";
import { pictureOf } from "./player_picture.js";
import { LATE, ask, canProbe, fillRoad, jupyterBase, probe, recallRoad, rememberRoad, sortRoads } from "./player_roads.js";
import { Strip } from "./player_strip.js";
import { isSound, languageName, noRoad, onlySound, sentence } from "./player_words.js";

const VERSION = 1;
const TICK_MS = 240; // Chromium's timeupdate comes each 250 ms, Firefox's more often
const MAX_UNHEARD = 2; // ticks under way to a kernel that may be busy
const ROAD_MS = 4000; // how long one road may take to the first metadata while others are left
const OPEN_ROAD_MS = 30000; // and one that gave a sign of life, but brings no video
const STUCK_MS = 5000; // a video that plays and does not move for so long has its road asked again
const NOTE_MS = 6000; // long enough to read two lines
const EVENTS = ["loadedmetadata", "loadeddata", "durationchange", "play", "playing", "pause", "seeking", "seeked", "ended",
  "waiting", "ratechange", "volumechange"];

/** One place where a player is shown. */
export class View {
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
    this.wantSeek = false; // Python waits for the end of a seek, also of one to the beginning
    this.wantStep = 0;
    this.marks = new Marks(this.id);
    const { open, closed } = sortRoads(model.get("urls") ?? [], location.hostname);
    this.roads = open;
    this.tried = closed; // the roads that were not taken, and why
    this.at = 0; // the road being tried
    this.turn = 0; // what was begun for an earlier one has no say any more
    /** @type {Road | null} */
    this.road = null; // the one that is taken, with its places filled
    /** @type {Promise<{ road: Road, why: string }>[]} */
    this.answers = [];
    this.retried = false;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.stuck = undefined;
    this.channel = new Channel(model, this.id);
    this.kernel = new KernelFiles((letter) => this.channel.tell(letter));
    /** @type {string[]} */
    this.blobs = [];
    /** @type {HTMLElement | undefined} */
    this.message = undefined;
    /** @type {HTMLElement | undefined} */
    this.noted = undefined;
    this.noteTimer = 0;
    this.ends = new AbortController();
    this.root = make("div", "vidnb-player");
    this.video = make("video", "vidnb-video");
    this.deck = new Deck(this.video, this.root, this.name, this, this.ends.signal);
    this.strip = new Strip(this.deck, this.name, () => this.now(), this.ends.signal);

    this.build(el);
    this.listen();
    this.fit();
    this.send({ kind: "ready" });
    this.obey(model.get("wish"));
    this.load();
  }

  build(/** @type {HTMLElement} */ el) {
    this.root.setAttribute("role", "group");
    this.root.setAttribute("aria-label", `Video player: ${this.name}`);
    // JupyterLab's keys (arrows, m, space) would move cells while a person steers the video.
    this.root.setAttribute("data-lm-suppress-shortcuts", "true");

    this.video.controls = true;
    this.video.preload = "metadata";
    this.video.playsInline = true;
    this.video.tabIndex = 0;
    this.video.setAttribute("aria-label", this.name);

    this.root.append(this.video, this.strip.timeline.root, this.strip.root, cardHider(String(this.model.get("card_id"))));
    el.append(this.root);
    this.strip.show();
  }

  listen() {
    const { video, model } = this;
    const options = { signal: this.ends.signal };
    // First of all, so that no report tells the beginning where start_s or a wish says otherwise.
    video.addEventListener("loadedmetadata", () => this.arrived(), options);
    for (const event of EVENTS) {
      video.addEventListener(event, () => {
        this.strip.show();
        this.report(event);
      }, options);
    }
    video.addEventListener("timeupdate", () => this.moved(), options);
    video.addEventListener("error", () => this.failed(), options);
    video.addEventListener("playing", () => this.hush(), options);
    for (const event of ["waiting", "stalled"]) video.addEventListener(event, () => this.watch(), options);
    for (const event of ["pointerdown", "keydown"]) {
      this.root.addEventListener(event, () => { this.touched = true; }, options);
    }
    listenToKeys(this.root, video, this.deck, this.ends.signal);

    // A page that is left or loaded anew removes no view; if it comes back, it reports again.
    window.addEventListener("pagehide", () => this.channel.leave(), options);

    model.on("msg:custom", (content, buffers) => this.told(content, buffers));
    model.on("change:width", () => this.fit());
    model.on("change:marks", () => this.hearMarks());
    video.loop = Boolean(model.get("start_loop"));
    video.muted = Boolean(model.get("start_muted"));
    this.hearMarks();

    this.deck.stepper.listen(() => this.strip.show());
    video.addEventListener("pause", () => this.strip.showFrame(), options);
  }

  // The road to the bytes

  /** Tries the road that is next. */
  load() {
    this.turn += 1;
    clearTimeout(this.timer);
    clearTimeout(this.stuck);
    const road = this.roads[this.at];
    if (!road) {
      const base = location.origin + jupyterBase();
      this.complain(noRoad(this.name, location.hostname, base, this.tried));
    } else if (canProbe(road)) {
      this.probe(this.turn);
    } else {
      this.take(road);
    }
  }

  /** Asks the road for a sign of life: what is quicker than a wait for a video that never comes. */
  async probe(/** @type {number} */ turn) {
    const asked = (/** @type {Road & { size_bytes?: number }} */ road) =>
      fillRoad(road)
        .then(async (filled) => {
          if (filled.box) this.channel.tellName(filled.box);
          return { road: filled, why: await probe(filled, road.size_bytes ?? null) };
        })
        .catch(() => ({ road, why: "this page has no address for it" }));
    // All at once, so that a dead one delays nothing. But alone where this page knows a good one, and
    // where loopback answers or refuses within milliseconds: each closed road is a line in the console.
    const { route, needs } = this.roads[this.at];
    const others = route === recallRoad() || needs === "loopback" ? [] : this.roads;
    for (const [index, road] of this.roads.entries()) {
      if (index === this.at || (index > this.at && others.includes(road) && canProbe(road))) {
        this.answers[index] ??= asked(road);
      }
    }
    const { road, why } = await this.answers[this.at];
    if (turn !== this.turn || this.ends.signal.aborted) return;
    if (why) this.leave(why);
    else this.take(road);
  }

  take(/** @type {Road} */ road) {
    const { turn } = this;
    this.road = road;
    this.channel.open(road.box ?? "");
    const poster = this.pick(this.model.get("poster"), road);
    if (poster?.url) this.setPoster(poster);
    // A frame may be drawn and read only where the video was asked for as this page's own; by a road
    // that has answered such a question.
    const foreign = road.box && new URL(road.url, location.href).origin !== location.origin;
    this.video.crossOrigin = foreign ? "anonymous" : null;
    if (road.route === "kernel") {
      this.fetchWhole(turn);
      return;
    }
    this.video.src = road.url;
    if (this.at + 1 < this.roads.length) {
      const patience = canProbe(road) ? OPEN_ROAD_MS : ROAD_MS;
      this.timer = setTimeout(() => this.leave("no video came by it in time"), patience);
    }
  }

  /** Leaves a road that is closed, or has died, for the next; the position stays. */
  leave(/** @type {string} */ why) {
    const road = this.roads[this.at];
    this.tried.push([road.route, why]);
    if (recallRoad() === road.route) rememberRoad("");
    if (this.video.readyState > 0) {
      this.wantTime = this.video.currentTime;
      this.wantPlaying = !this.video.paused;
    } else if (this.route !== null) {
      this.wantTime ||= this.lastTime;
    }
    this.at += 1;
    this.load();
  }

  /** Brings the whole file by the kernel's own channel, and shows how much of it has come. */
  async fetchWhole(/** @type {number} */ turn) {
    const bar = make("progress", "vidnb-loading");
    bar.max = 1;
    bar.value = 0;
    bar.style.width = "100%";
    bar.setAttribute("aria-label", `Loading ${this.name} by way of the kernel`);
    this.root.append(bar);
    const waits = (/** @type {boolean} */ silent) => {
      if (silent) this.say(`${this.name} comes by way of the kernel, which is busy: it goes on when its cell has ended.`);
      else if (this.error === null) this.hush();
    };
    try {
      const progress = (/** @type {number} */ share) => { bar.value = share; };
      const file = await this.kernel.fetch("video", progress, waits, this.ends.signal);
      if (turn !== this.turn) return;
      const url = URL.createObjectURL(file);
      this.blobs.push(url);
      this.video.src = url;
    } catch (error) {
      if (turn !== this.turn || this.ends.signal.aborted) return;
      this.leave(/** @type {Error} */ (error).message);
    } finally {
      bar.remove();
    }
  }

  /** The bytes of something beside the video, by the road that is taken. */
  async companion(/** @type {Road} */ way) {
    if (way.route === "kernel") {
      return this.kernel.fetch(String(way.of), () => {}, () => {}, this.ends.signal);
    }
    const answer = await fetch(way.url, { signal: this.ends.signal });
    if (!answer.ok) throw new Error(String(answer.status));
    return new Blob([await answer.arrayBuffer()]);
  }

  async setPoster(/** @type {Road} */ way) {
    if (way.url.startsWith("{")) this.video.poster = (await fillRoad(way)).url;
    else this.video.poster = way.url;
  }

  /**
   * Asks a road again whose video has stopped moving. One that answers nothing in time is given a
   * second chance: its six connections may be busy with other videos.
   */
  watch(doubted = false) {
    clearTimeout(this.stuck);
    const { turn } = this;
    const { currentTime } = this.video;
    this.stuck = setTimeout(async () => {
      const { road, video } = this;
      const stands = () =>
        turn === this.turn && !this.ends.signal.aborted && video.currentTime === currentTime &&
        video.readyState <= 2 && (!video.paused || video.seeking);
      if (!road?.box || !stands()) return;
      const why = await probe(road, null, true);
      if (!why || !stands()) return;
      if (why === LATE && !doubted) this.watch(true);
      else this.leave(`it died: ${why}`);
    }, STUCK_MS);
  }

  /** The way to a companion of the video: on the same road, else by the kernel. */
  pick(/** @type {Road[] | undefined} */ roads, /** @type {Road} */ road) {
    return roads?.find((other) => other.route === road.route) ?? roads?.find((other) => other.route === "given" || other.route === "kernel") ?? roads?.[0];
  }

  arrived() {
    clearTimeout(this.timer);
    const { road } = this;
    if (!road) return;
    if (this.wantTime > 0 || this.wantSeek) this.seek(this.wantTime);
    this.wantTime = 0;
    this.wantSeek = false;
    rememberRoad(road.route);
    if (this.route !== road.route) {
      const first = this.route === null;
      this.route = road.route;
      this.strip.showRoad(road.route, this.origin(road));
      if (first) this.addTracks(road);
      this.report("route");
    }
    if (this.wantStep) this.deck.step(this.wantStep);
    this.wantStep = 0;
    if (this.wantPlaying) this.start();
    this.wantPlaying = false;
    // A browser without the picture's decoder plays the sound alone and calls that no error.
    const flaw = this.model.get("flaw");
    if (flaw) this.say(flaw);
    else if (this.video.videoWidth === 0 && !isSound(this.name)) this.say(onlySound(this.name));
  }

  /** Where the video comes from, for the reader. */
  origin(/** @type {Road} */ road) {
    if (road.route === "kernel") return "The video came by way of the kernel.";
    return `The video comes from ${new URL(road.url, location.href).host}.`;
  }

  async addTracks(/** @type {Road} */ road) {
    /** @type {Track[]} */
    const tracks = this.model.get("tracks") ?? [];
    const { signal } = this.ends;
    const texts = tracks.map(async (track) => {
      const way = this.pick(track.urls, road);
      if (!way) throw new Error("no way");
      return new Blob([await this.companion(await fillRoad(way))], { type: "text/vtt" });
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
    const { road, turn } = this;
    if (!this.video.error || !road || code === 1) return;
    const playing = !this.video.paused;
    const status = road.route === "kernel" ? 200 : await ask(road.url);
    if (turn !== this.turn || this.ends.signal.aborted) return;
    const { lastTime } = this;
    const isFile = code === 3 || (code === 4 && status !== null && status > 0 && status < 400);
    if (code === 2 && status !== null && status < 400 && !this.retried) {
      this.retried = true; // the road is there: once more, where it was
      this.resumeAt(lastTime, playing);
      this.load();
    } else if (!isFile && this.at + 1 < this.roads.length) {
      if (this.route !== null) this.resumeAt(lastTime, playing);
      this.leave(status === null ? "nobody answers at its address" : `its address answered ${status || "with an error"}`);
    } else {
      // Python has read the file itself; the browser only knows where it gave up.
      const text = (isFile && this.model.get("flaw")) || sentence(code, this.name, lastTime, status);
      if (text) this.complain(text);
    }
  }

  resumeAt(/** @type {number} */ seconds, /** @type {boolean} */ playing) {
    this.wantTime = seconds;
    this.wantPlaying ||= playing;
  }

  // Obeying Python

  told(/** @type {any} */ content, /** @type {DataView[] | undefined} */ buffers) {
    if (content?.v !== VERSION) return;
    if (content.kind === "wish") this.obey(content);
    if (content.kind === "picture" && (content.view === this.id || !content.view)) {
      pictureOf(this.video, content.most_pixels).then((picture) => this.channel.sendPicture(content.number, picture));
    }
    if (content.view && content.view !== this.id) return;
    if (content.kind === "arrival") this.strip.showArrival(content);
    if (content.view !== this.id) return;
    if (content.kind === "bytes") {
      this.kernel.heard(content, buffers);
    } else if (content.kind === "heard") {
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
    const { video, deck } = this;
    if (typeof wish.rate === "number") deck.setRate(wish.rate);
    if (typeof wish.volume === "number") video.volume = wish.volume;
    if (typeof wish.muted === "boolean") video.muted = wish.muted;
    if (typeof wish.loop === "boolean") video.loop = wish.loop;
    if (typeof wish.t_s === "number") this.seek(wish.t_s);
    if (typeof wish.step === "number") this.step(wish.step);
    if (wish.playing === true) this.start();
    if (wish.playing === false) this.stop();
    if (typeof wish.fullscreen === "boolean") deck.setFullscreen(wish.fullscreen);
    this.report("wish");
  }

  step(/** @type {number} */ frames) {
    if (this.video.readyState > 0) {
      this.deck.step(frames);
    } else {
      this.wantStep += frames;
      this.wantPlaying = false;
    }
  }

  seek(/** @type {number} */ seconds) {
    if (this.video.readyState === 0) {
      this.wantTime = seconds;
      this.wantSeek = true;
      this.wantStep = 0;
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

  // Markers

  hearMarks() {
    this.marks.hear(this.model.get("marks"));
    this.strip.timeline.showMarks(this.marks.all());
  }

  addMarker(/** @type {number} */ seconds) {
    const mark = this.marks.add(seconds);
    this.strip.timeline.showMarks(this.marks.all());
    this.send({ kind: "marker", action: "add", ...mark });
  }

  removeMarker(/** @type {string} */ id) {
    this.marks.remove(id);
    this.strip.timeline.showMarks(this.marks.all());
    this.send({ kind: "marker", action: "remove", id });
  }

  // Telling Python

  moved() {
    const now = performance.now();
    this.strip.show();
    if (this.video.currentTime !== this.lastTime) this.retried = false;
    this.withheld = !this.channel.posts && this.tick - this.heard >= MAX_UNHEARD;
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
      sent_s: performance.now() / 1000,
      current_time: this.now(),
      duration: Number.isFinite(video.duration) ? video.duration : null,
      paused: video.paused,
      ended: video.ended,
      seeking: video.seeking,
      loop: video.loop,
      error: this.error,
      route: this.route,
      buffered: this.buffered(),
      moving: !video.paused && !video.seeking && !video.ended && video.readyState > 2,
      playback_rate: video.playbackRate,
      volume: video.volume,
      muted: video.muted,
      size: video.videoWidth ? [video.videoWidth, video.videoHeight] : null,
      routes_tried: this.tried,
      ...extra,
    });
  }

  /** The spans of time whose bytes have come (s). */
  buffered() {
    const { buffered } = this.video;
    return Array.from({ length: Math.min(buffered?.length ?? 0, 16) }, (_, n) => [buffered.start(n), buffered.end(n)]);
  }

  send(/** @type {object} */ content) {
    this.channel.send(content);
  }

  /** The position, or the one it will begin at (s). */
  now() {
    return this.video.readyState > 0 ? this.video.currentTime : this.wantTime || this.lastTime;
  }

  // What a person sees

  fit() {
    this.root.style.maxWidth = `${this.model.get("width")}px`;
  }

  /** Shows a sentence that needs no action at once. */
  say(/** @type {string} */ text) {
    this.hush();
    this.message = make("div", "vidnb-message", text);
    this.message.setAttribute("role", "status");
    this.root.append(this.message);
  }

  /** Shows for a while that something was done, or could not be. */
  note(/** @type {string} */ text) {
    this.noted?.remove();
    clearTimeout(this.noteTimer);
    const noted = make("div", "vidnb-message", text);
    noted.setAttribute("role", "status");
    this.root.append(noted);
    this.noted = noted;
    this.noteTimer = setTimeout(() => noted.remove(), NOTE_MS);
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
    const { open, closed } = sortRoads(this.model.get("urls") ?? [], location.hostname);
    Object.assign(this, { at: 0, roads: open, tried: closed, answers: [], retried: false });
    this.load();
    this.video.focus();
  }

  /** Stops, and frees the connection: without a source the browser drops it. */
  end() {
    clearTimeout(this.timer);
    clearTimeout(this.stuck);
    clearTimeout(this.noteTimer);
    this.ends.abort();
    this.video.pause();
    this.video.removeAttribute("src");
    this.video.load();
    for (const url of this.blobs) URL.revokeObjectURL(url);
    this.channel.leave();
    this.root.remove();
  }
}

function render(/** @type {{ model: Model, el: HTMLElement }} */ { model, el }) {
  const view = new View(model, el);
  return () => view.end();
}

export default { render };
