// @ts-check
/**
 * The browser's half of vidnb.Player: plain ESM, no build step. Its modules are joined as they are
 * (player_script.py), since a widget is one script; so a name stands for one thing in all of them.
 *
 * The video is the browser's own <video controls>. This file obeys Python's wishes and tells Python
 * what happens; the road to the bytes is found in player_journey.js, rests are taken in
 * player_rest.js, and several views keep together in player_company.js. Traits are read, never
 * written; the protocol is described at the top of player.py.
 *
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
import { companyOf } from "./player_company.js";
import { Deck } from "./player_deck.js";
import { cardHider, make } from "./player_elements.js";
import { Journey } from "./player_journey.js";
import { listenToKeys } from "./player_keys.js";
import { Marks } from "./player_marks.js";
import { pictureOf } from "./player_picture.js";
import { spansOf, stateOf } from "./player_report.js";
import { Moment, Rest } from "./player_rest.js";
import { Sayings } from "./player_says.js";
import { Strip } from "./player_strip.js";
import { becameAnother, isSound, kernelGone, onlySound, playsOn } from "./player_words.js";

const VERSION = 1;
const TICK_MS = 240; // Chromium's timeupdate comes each 250 ms, Firefox's more often
const MAX_UNHEARD = 2; // ticks under way to a kernel that may be busy
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
    this.lastTime = 0;
    this.wantTime = Number(model.get("start_s")) || 0;
    this.wantPlaying = Boolean(model.get("autoplay"));
    this.wantSeek = false; // Python waits for the end of a seek, also of one to the beginning
    this.wantStep = 0;
    this.lost = false; // its kernel is gone
    this.marks = new Marks(this.id);
    this.changes = 0; // of the file at its source, while it still arrives
    this.channel = new Channel(model, this.id);
    this.ends = new AbortController();
    this.root = make("div", "vidnb-player");
    this.video = make("video", "vidnb-video");
    /** @type {Rest} */
    this.rest = new Rest(this);
    /** @type {Sayings} */
    this.sayings = new Sayings(this.root, this.ends.signal);
    /** @type {Moment} */
    this.moment = new Moment(this.video, this.rest);
    /** @type {Deck} */
    this.deck = new Deck(this.video, this.moment, this.root, this.name, this, this.ends.signal);
    /** @type {Strip} */
    this.strip = new Strip(this.deck, this.name, () => this.now(), this.ends.signal);
    /** @type {Journey} */
    this.journey = new Journey(this);
    /** @type {import("./player_company.js").Company | null} */
    this.company = this.alone() ? null : companyOf(String(model.get("card_id")));

    this.build(el);
    this.listen();
    this.fit();
    this.company?.join(this);
    this.meet();
    this.send({ kind: "ready" });
    this.obey(model.get("wish"));
    this.journey.load();
  }

  /** Whether it keeps no company with other views of its player. */
  alone() {
    return false;
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
    el.classList?.add("vidnb-place");
    el.append(this.root);
    this.strip.show();
  }

  listen() {
    const { video, model } = this;
    const options = { signal: this.ends.signal };
    // First of all, so that no report tells the beginning where start_s or a wish says otherwise.
    video.addEventListener("loadedmetadata", () => this.arrived(), options);
    for (const event of EVENTS) video.addEventListener(event, () => this.happened(event), options);
    video.addEventListener("timeupdate", () => this.moved(), options);
    video.addEventListener("error", () => this.journey.failed(), options);
    video.addEventListener("playing", () => this.hush(), options);
    for (const event of ["waiting", "stalled"]) video.addEventListener(event, () => this.journey.watch(), options);
    for (const event of ["pointerdown", "keydown"]) {
      this.root.addEventListener(event, () => { this.touched = true; }, options);
    }
    listenToKeys(this.root, video, this.deck, this.ends.signal);
    this.rest.listen();

    // A page that is left or loaded anew removes no view; if it comes back, it reports again.
    window.addEventListener("pagehide", () => this.channel.leave(), options);

    model.on("msg:custom", (content, buffers) => this.told(content, buffers));
    model.on("change:width", () => this.fit());
    model.on("destroy", () => this.channel.shut());
    // JupyterLab tells that of a model, once, when its kernel is restarted.
    model.on("comm_live_update", () => this.lose());
    model.on("change:marks", () => this.hearMarks());
    video.loop = Boolean(model.get("start_loop"));
    video.muted = Boolean(model.get("start_muted"));
    this.hearMarks();

    this.deck.stepper.listen(() => this.strip.show());
    video.addEventListener("pause", () => this.strip.showFrame(), options);
  }

  /** Something happened to the video: news, unless it is only put aside or brought back. */
  happened(/** @type {string} */ event) {
    if (!this.rest.hears(event)) return;
    // Set by the browser's own menu; what it is bent to by its company is no one's wish.
    if (event === "ratechange" && this.company?.leads(this)) this.video.defaultPlaybackRate = this.video.playbackRate;
    this.company?.heard(this, event);
    this.strip.showRate();
    this.strip.show();
    this.report(event);
  }

  arrived() {
    const came = this.journey.arrived();
    if (!came) return;
    this.meet();
    if (this.rest.memory) this.rest.arrived();
    else if (this.wantTime > 0 || this.wantSeek) this.seek(this.wantTime);
    this.wantTime = 0;
    this.wantSeek = false;
    if (came.isNew) {
      this.strip.showRoad(came.road.route, this.journey.origin(came.road));
      this.report("route");
    }
    if (this.wantStep) this.deck.stepper.step(this.wantStep);
    this.wantStep = 0;
    if (this.wantPlaying) this.start();
    this.wantPlaying = false;
    // A browser without the picture's decoder plays the sound alone and calls that no error.
    const flaw = this.model.get("flaw");
    if (flaw) this.say(flaw);
    else if (this.video.videoWidth === 0 && !isSound(this.name)) this.say(onlySound(this.name));
  }

  /** Whether its video may be put aside: not one by the kernel, which holds no connection. */
  mayRest() {
    return !this.lost && this.journey.route !== null && this.journey.route !== "kernel";
  }

  /** A view that follows begins, and comes back, where the leading one is by now. */
  meet() {
    const { company, rest } = this;
    if (!company?.leader || company.leads(this)) return;
    const seconds = company.leader.now();
    if (rest.memory) rest.memory.currentTime = seconds;
    this.wantTime = seconds;
    this.wantPlaying = company.playing;
  }

  /** The kernel is gone, and mostly with it who served the video: the picture stays, and a sentence. */
  lose() {
    if (this.channel.closed || this.ends.signal.aborted) return;
    this.channel.close();
    const { route } = this.journey;
    if (route === "files" || (route === "kernel" && this.journey.whole && this.video.readyState > 0)) {
      this.say(playsOn(this.name)); // what Jupyter serves, or has come as a whole, is still there
      return;
    }
    this.lost = true;
    this.rest.keep(false);
    this.video.pause();
    this.journey.release();
    this.error = kernelGone(this.name);
    this.sayings.complain(this.error, null);
  }

  // Obeying Python

  told(/** @type {any} */ content, /** @type {DataView[] | undefined} */ buffers) {
    if (content?.v !== VERSION) return;
    if (content.kind === "wish") this.obey(content);
    if (content.kind === "picture" && (content.view === this.id || !content.view)) {
      this.rest.awake().then(() => pictureOf(this.video, content.most_pixels))
        .then((picture) => this.channel.sendPicture(content.number, picture));
    }
    if (content.view && content.view !== this.id) return;
    if (content.kind === "arrival") this.hearArrival(content);
    if (content.view !== this.id) return;
    if (content.kind === "welcome") {
      this.channel.welcome();
    } else if (content.kind === "bytes" || content.kind === "outline") {
      this.journey.kernel.heard(content, buffers);
    } else if (content.kind === "heard") {
      this.heard = content.tick;
      if (this.withheld) this.moved();
    } else if (content.kind === "resume" && !this.touched && typeof content.t_s === "number") {
      this.seek(content.t_s);
    }
  }

  /** Shows what of a file has come; one that became another at its source begins anew. */
  hearArrival(/** @type {any} */ content) {
    this.strip.showArrival(content);
    if (!(content.changes > this.changes)) return;
    this.changes = content.changes;
    this.hush();
    this.note(becameAnother(this.name));
    this.wantPlaying ||= !this.video.paused;
    Object.assign(this, { lastTime: 0, wantTime: 0 });
    this.journey.retried = false;
    if (this.rest.away) this.rest.seek(0);
    else this.journey.load();
  }

  obey(/** @type {Wish | undefined} */ wish) {
    if (wish?.v !== VERSION || !(wish.seq > this.seq)) return;
    this.seq = wish.seq;
    this.touched = true;
    if (this.company && !this.company.leads(this)) return; // what the leading one does, it does
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
    if (this.video.readyState > 0 && !this.rest.away) {
      this.deck.step(frames);
    } else {
      this.wantStep += frames;
      this.wantPlaying = false;
      this.rest.wake();
    }
  }

  seek(/** @type {number} */ seconds) {
    if (this.rest.away) {
      this.wantStep = 0;
      this.rest.seek(seconds);
    } else if (this.video.readyState === 0) {
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
      this.rest.wake();
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
    if (this.rest.away) return;
    const now = performance.now();
    this.strip.show();
    if (this.video.currentTime !== this.lastTime) this.journey.retried = false;
    this.withheld = !this.channel.posts && this.tick - this.heard >= MAX_UNHEARD;
    if (this.withheld || now - this.lastTickMs < TICK_MS) return;
    this.lastTickMs = now;
    this.tick += 1;
    this.report("timeupdate", { tick: this.tick });
  }

  report(/** @type {string} */ event, extra = {}) {
    if (this.video.readyState > 0 && !this.rest.away) this.lastTime = this.video.currentTime;
    if (this.company && !this.company.leads(this)) return;
    this.send({ kind: "state", event, seq: this.seq, ...stateOf(this), ...extra });
  }

  /** The spans of time whose bytes have come (s). */
  buffered() {
    return spansOf(this.moment);
  }

  send(/** @type {object} */ content) {
    this.channel.send(content);
  }

  /** The position, or the one it will begin at (s). */
  now() {
    if (this.moment.known) return this.moment.currentTime;
    return this.wantTime || this.lastTime;
  }

  // What a person sees

  fit() {
    const width = `${this.model.get("width")}px`;
    this.root.style.maxWidth = width;
    // As wide as that where nothing else says how wide, as in a row of widgets.
    this.root.style.containIntrinsicInlineSize = width;
  }

  say(/** @type {string} */ text) {
    this.sayings.say(text);
  }

  note(/** @type {string} */ text) {
    this.sayings.note(text);
  }

  /** Shows why the video cannot be played, with a way to try again. */
  complain(/** @type {string} */ text) {
    this.error = text;
    this.sayings.complain(text, this.journey.roads.length ? () => this.again() : null);
    this.rest.failed();
    this.report("error");
  }

  hush() {
    if (this.lost) return;
    this.sayings.hush();
    if (this.error === null) return;
    this.error = null;
    this.report("recovered");
  }

  again() {
    this.hush();
    this.journey.begin();
    if (this.rest.away) {
      this.rest.wake();
    } else {
      this.wantTime = this.lastTime;
      this.journey.load();
    }
    this.video.focus();
  }

  /** Stops, and frees the connection. */
  end() {
    this.company?.leave(this);
    this.ends.abort();
    this.video.pause();
    this.journey.end();
    this.channel.leave();
    this.channel.close();
    this.root.remove();
  }
}

function render(/** @type {{ model: Model, el: HTMLElement }} */ { model, el }) {
  const view = new View(model, el);
  return () => view.end();
}

export default { render };
