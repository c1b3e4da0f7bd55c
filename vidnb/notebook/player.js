// @ts-check
/**
 * The browser's half of vidnb.Player: plain ESM, no build step.
 *
 * The video is the browser's own <video controls>. This file finds the road to its bytes, obeys
 * Python's wishes, tells Python what happens, and turns the browser's errors into sentences.
 * Traits are read, never written; the protocol is described at the top of player.py.
 *
 * @typedef {{ route: string, url: string, loopback_only: boolean }} Road
 * @typedef {{ label: string, lang: string, urls: Road[] }} Track
 * @typedef {{ v: 1, seq: number, t_s?: number, playing?: boolean }} Wish
 * @typedef {{
 *   get(name: string): any,
 *   send(content: object): void,
 *   on(name: string, callback: (...args: any[]) => void): void,
 * }} Model
 */

const VERSION = 1;
const TICK_MS = 240; // Chromium's timeupdate comes each 250 ms, Firefox's more often
const MAX_UNHEARD = 2; // ticks under way to a kernel that may be busy
const ROAD_MS = 4000; // how long one road may take to the first metadata while others are left
const EVENTS = ["loadedmetadata", "durationchange", "play", "playing", "pause", "seeking", "seeked", "ended"];

/** Seconds as `h:mm:ss.mmm`; an unknown time as dashes. */
export function timeCode(/** @type {number | null} */ seconds) {
  if (seconds === null || !Number.isFinite(seconds)) return "-:--:--.---";
  const ms = Math.round(Math.max(0, seconds) * 1000);
  const pad = (/** @type {number} */ n, width = 2) => String(n).padStart(width, "0");
  const [h, m, s] = [Math.floor(ms / 3600000), Math.floor(ms / 60000) % 60, Math.floor(ms / 1000) % 60];
  return `${h}:${pad(m)}:${pad(s)}.${pad(ms % 1000, 3)}`;
}

/** Whether a page of this host name runs on the machine it was served from. */
export function isLoopback(/** @type {string} */ hostname) {
  return /^(localhost|.*\.localhost|127(\.[0-9]{1,3}){3}|\[::1\])$/.test(hostname);
}

/** @returns {{ open: Road[], closed: Road[] }} the roads a page of this host may and may not try */
export function sortRoads(/** @type {Road[]} */ roads, /** @type {string} */ hostname) {
  const here = isLoopback(hostname);
  return {
    open: roads.filter((road) => here || !road.loopback_only),
    closed: roads.filter((road) => !here && road.loopback_only),
  };
}

/** The sentence for a page from which no road may be tried. */
export function noRoad(/** @type {string} */ name, /** @type {string} */ host, /** @type {string} */ base) {
  return (
    `${name} waits on the machine where the kernel runs, and this page comes from ${host}, so the ` +
    "browser cannot reach it directly. If jupyter-server-proxy is installed there, run the cell " +
    `again with route="${base}proxy/{port}/{path}"; or open the notebook on that machine itself.`
  );
}

/**
 * The sentence for a MediaError (HTML, section 4.8.11.1), or "" for one that is no fault.
 * @param {number} code 1 aborted, 2 network, 3 decode, 4 source not supported
 * @param {string} name the file's name
 * @param {number} at where it was (s)
 * @param {number | null} status what the server answers now: a status, 0 one it keeps secret, null none
 */
export function sentence(code, name, at, status) {
  if (code === 1) return "";
  if (status === null) {
    return (
      `Nothing answers at the address of ${name}. If the kernel was stopped or restarted, run the ` +
      "cell again; otherwise try again."
    );
  }
  // vidnb's server lets a page read its answers, except the refusal of an address it does not know.
  if (status === 404 || status === 410 || (status === 0 && code !== 3)) {
    return `${name} is no longer served at its address: run the cell again.`;
  }
  if (status >= 400) return `The server answered ${status} for ${name}: run the cell again.`;
  if (code === 2) {
    return `The connection to ${name} broke at ${timeCode(at)}: try again, it goes on from there.`;
  }
  if (code === 3) {
    return (
      `This browser cannot decode ${name} from ${timeCode(at)} on: the file may be damaged or end ` +
      "early. Fetch or write the file again; up to there it plays."
    );
  }
  return (
    `This browser has no decoder for ${name}, or it is no video. H.264 in MP4 and VP9 in WebM play ` +
    "in every browser; ffmpeg converts, as in: ffmpeg -i INPUT -c:v libx264 -c:a aac OUTPUT.mp4"
  );
}

/** What a server answers about `url`: its status, 0 if that is kept secret, null if nothing. */
async function ask(/** @type {string} */ url) {
  try {
    return (await fetch(url, { method: "HEAD", cache: "no-store" })).status;
  } catch {
    // Without CORS the status is secret, but whether anyone answers is not.
    return fetch(url, { method: "HEAD", cache: "no-store", mode: "no-cors" }).then(() => 0, () => null);
  }
}

/** Where jupyter_server lives below this host, from the page's own configuration. */
function jupyterBase() {
  try {
    const config = document.getElementById("jupyter-config-data")?.textContent;
    const base = JSON.parse(config ?? "{}").baseUrl;
    return typeof base === "string" && base.endsWith("/") ? base : "/";
  } catch {
    return "/";
  }
}

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {string} className
 * @param {string} [text]
 * @returns {HTMLElementTagNameMap[K]}
 */
function make(tag, className, text = "") {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}

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

/** A language's name in the reader's own language; the tag itself where it has none. */
function languageName(/** @type {string} */ tag) {
  try {
    return new Intl.DisplayNames(undefined, { type: "language" }).of(tag) ?? tag;
  } catch {
    return tag;
  }
}

function render(/** @type {{ model: Model, el: HTMLElement }} */ { model, el }) {
  const view = new View(model, el);
  return () => view.end();
}

export default { render };
