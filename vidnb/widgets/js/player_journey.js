// @ts-check
/**
 * The journey of one view to its bytes: it tries the roads in their order, takes the first that is
 * open, and goes on by the next where one dies.
 *
 * @typedef {import("./player_roads.js").Road} Road
 * @typedef {{ label: string, lang: string, urls: Road[] }} Track
 * @typedef {{
 *   model: import("./player.js").Model, name: string, video: HTMLVideoElement, root: HTMLElement,
 *   channel: import("./player_channel.js").Channel, ends: AbortController, error: string | null,
 *   wantTime: number, wantPlaying: boolean, lastTime: number, changes: number,
 *   rest: { memory: { currentTime: number } | null },
 *   say(text: string): void, hush(): void, complain(text: string): void,
 * }} Traveller
 */

import { make } from "./player_elements.js";
import { KernelFiles, Silence } from "./player_kernel.js";
import { Reel, canFeed } from "./player_mediasource.js";
import {
  LATE, ask, canProbe, companionRoad, fillRoad, jupyterBase, probe, recallRoad, rememberRoad, sortRoads,
} from "./player_roads.js";
import { languageName, noRoad, sentence } from "./player_words.js";

const ROAD_MS = 4000; // how long one road may take to the first metadata while others are left
const OPEN_ROAD_MS = 30000; // and one that gave a sign of life, but brings no video
const STUCK_MS = 5000; // a video that plays and does not move for so long has its road asked again

export class Journey {
  constructor(/** @type {Traveller} */ view) {
    this.view = view;
    this.turn = 0; // what was begun for an earlier one has no say any more
    /** @type {string | null} the name of the road by which the video has come */
    this.route = null;
    /** @type {Road | null} */
    this.road = null; // the one that is taken, with its places filled
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.stuck = undefined;
    this.kernel = new KernelFiles((letter) => view.channel.tell(letter));
    /** @type {string[]} */
    this.blobs = [];
    /** @type {Reel | null} what feeds the video piece by piece */
    this.reel = null;
    this.whole = false; // the browser holds all of it
    this.retried = false;
    /** @type {Road[]} */
    this.roads = [];
    /** @type {[string, string][]} the roads that were not taken, and why */
    this.tried = [];
    /** @type {Promise<{ road: Road, why: string }>[]} */
    this.answers = [];
    this.at = 0; // the road being tried
    this.begin();
  }

  /** Forgets what was found out about the roads. */
  begin() {
    const { open, closed } = sortRoads(this.view.model.get("urls") ?? [], location.hostname);
    Object.assign(this, { at: 0, roads: open, tried: closed, answers: [], retried: false });
  }

  /** Tries the road that is next. */
  load() {
    const { view } = this;
    this.halt();
    const road = this.roads[this.at];
    if (!road) {
      const base = location.origin + jupyterBase();
      view.complain(noRoad(view.name, location.hostname, base, this.tried));
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
          if (filled.box) this.view.channel.tellName(filled.box);
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
    if (turn !== this.turn || this.view.ends.signal.aborted) return;
    if (why) this.leave(why);
    else this.take(road);
  }

  take(/** @type {Road} */ road) {
    const { turn, view } = this;
    const { video } = view;
    this.road = road;
    view.channel.open(road.box ?? "");
    const poster = this.pick(view.model.get("poster"));
    if (poster?.url) this.setPoster(poster);
    // A frame may be drawn and read only where the video was asked for as this page's own; by a road
    // that has answered such a question.
    const foreign = road.box && new URL(road.url, location.href).origin !== location.origin;
    video.crossOrigin = foreign ? "anonymous" : null;
    if (road.route === "kernel") {
      this.byKernel(turn);
      return;
    }
    // Under an address of its own: what this browser remembers of the first file is not this one's.
    const mark = view.changes ? `${road.url.includes("?") ? "&" : "?"}changes=${view.changes}` : "";
    video.src = road.url + mark;
    if (this.at + 1 < this.roads.length) {
      const patience = canProbe(road) ? OPEN_ROAD_MS : ROAD_MS;
      this.timer = setTimeout(() => this.leave("no video came by it in time"), patience);
    }
  }

  /** The first metadata has come. @returns {{ road: Road, isNew: boolean } | null} the road it came by */
  arrived() {
    clearTimeout(this.timer);
    const { road } = this;
    if (!road) return null;
    rememberRoad(road.route);
    const isNew = this.route !== road.route;
    if (isNew && this.route === null) this.addTracks();
    this.route = road.route;
    return { road, isNew };
  }

  /** Leaves a road that is closed, or has died, for the next; the position stays. */
  leave(/** @type {string} */ why) {
    const road = this.roads[this.at];
    this.tried.push([road.route, why]);
    if (recallRoad() === road.route) rememberRoad("");
    this.keepPlace();
    this.at += 1;
    this.load();
  }

  /** Remembers where it was, for whatever brings the video next. */
  keepPlace() {
    const { view } = this;
    if (view.rest.memory) {
      view.wantTime = view.rest.memory.currentTime;
    } else if (view.video.readyState > 0) {
      view.wantTime = view.video.currentTime;
      view.wantPlaying = !view.video.paused;
    } else if (this.route !== null) {
      view.wantTime ||= view.lastTime;
    }
  }

  /** Says that the kernel is busy, and takes it back. */
  waits(/** @type {boolean} */ silent) {
    const { view } = this;
    if (silent) view.say(`${view.name} comes by way of the kernel, which is busy: it goes on when its cell has ended.`);
    else if (view.error === null) view.hush();
  }

  /** Plays by the kernel's own channel: piece by piece where file and browser can, else as a whole. */
  async byKernel(/** @type {number} */ turn) {
    const { view } = this;
    if (canFeed()) {
      const silence = new Silence((silent) => this.waits(silent));
      silence.begin();
      const found = await this.kernel.outline("video", view.ends.signal).catch(() => null);
      silence.end();
      if (turn !== this.turn || view.ends.signal.aborted) return;
      if (found?.outline && canFeed(found.outline.mime)) {
        this.reel = new Reel(view.video, this.kernel, "video", { ...found, outline: found.outline }, {
          waits: (silent) => this.waits(silent),
          searches: (searching) => {
            if (searching) view.say(`${view.name} has no index: it is read on to the position asked for.`);
            else if (view.error === null) view.hush();
          },
          // The road is closed.
          breaks: (why) => this.leave(why),
          // The browser cannot be fed so: perhaps it can play the file as it is.
          fails: () => this.insteadWhole(),
        });
        return;
      }
    }
    this.fetchWhole(turn);
  }

  /** Gives up feeding it piece by piece, and goes on at the same position. */
  insteadWhole() {
    this.keepPlace();
    this.halt();
    this.view.video.removeAttribute("src");
    this.view.video.load();
    this.fetchWhole(this.turn);
  }

  /** Brings the whole file by the kernel's own channel, and shows how much of it has come. */
  async fetchWhole(/** @type {number} */ turn) {
    const { view } = this;
    const bar = make("progress", "vidnb-loading");
    bar.max = 1;
    bar.value = 0;
    bar.style.width = "100%";
    bar.setAttribute("aria-label", `Loading ${view.name} by way of the kernel`);
    view.root.append(bar);
    const waits = (/** @type {boolean} */ silent) => this.waits(silent);
    try {
      const progress = (/** @type {number} */ share) => { bar.value = share; };
      const file = await this.kernel.fetch("video", progress, waits, view.ends.signal);
      if (turn !== this.turn) return;
      const url = URL.createObjectURL(file);
      this.blobs.push(url);
      this.whole = true;
      view.video.src = url;
    } catch (error) {
      if (turn !== this.turn || view.ends.signal.aborted) return;
      this.leave(/** @type {Error} */ (error).message);
    } finally {
      bar.remove();
    }
  }

  /** The bytes of something beside the video, by the road that is taken. */
  async companion(/** @type {Road} */ way) {
    const { signal } = this.view.ends;
    if (way.route === "kernel") {
      return this.kernel.fetch(String(way.of), () => {}, () => {}, signal);
    }
    const answer = await fetch(way.url, { signal });
    if (!answer.ok) throw new Error(String(answer.status));
    return new Blob([await answer.arrayBuffer()]);
  }

  async setPoster(/** @type {Road} */ way) {
    const { url } = way.url.startsWith("{") ? await fillRoad(way) : way;
    if (this.view.video.poster !== url) this.view.video.poster = url;
  }

  /**
   * Asks a road again whose video has stopped moving. One that answers nothing in time is given a
   * second chance: its six connections may be busy with other videos.
   */
  watch(doubted = false) {
    clearTimeout(this.stuck);
    const { turn, view } = this;
    const { currentTime } = view.video;
    this.stuck = setTimeout(async () => {
      const { road } = this;
      const { video, ends } = view;
      const stands = () =>
        turn === this.turn && !ends.signal.aborted && video.currentTime === currentTime &&
        video.readyState <= 2 && (!video.paused || video.seeking);
      if (!road?.box || !stands()) return;
      const why = await probe(road, null, true);
      if (!why || !stands()) return;
      if (why === LATE && !doubted) this.watch(true);
      else this.leave(`it died: ${why}`);
    }, STUCK_MS);
  }

  /** The way to a companion of the video. */
  pick(/** @type {Road[] | undefined} */ roads) {
    return companionRoad(roads ?? [], this.roads[this.at], this.roads);
  }

  /** Where the video comes from, for the reader. */
  origin(/** @type {Road} */ road) {
    if (road.route === "kernel") return "The video came by way of the kernel.";
    return `The video comes from ${new URL(road.url, location.href).host}.`;
  }

  async addTracks() {
    const { view } = this;
    /** @type {Track[]} */
    const tracks = view.model.get("tracks") ?? [];
    const { signal } = view.ends;
    const texts = tracks.map(async (track) => {
      const way = this.pick(track.urls);
      if (!way) throw new Error("no way");
      return new Blob([await this.companion(await fillRoad(way))], { type: "text/vtt" });
    });
    let shown = false;
    for (const [index, text] of (await Promise.allSettled(texts)).entries()) {
      if (signal.aborted) return;
      const { lang } = tracks[index];
      const label = tracks[index].label || languageName(lang);
      if (text.status === "rejected") {
        view.say(`The subtitles "${label}" could not be loaded: run the cell again.`);
        continue;
      }
      const url = URL.createObjectURL(text.value);
      this.blobs.push(url);
      const track = document.createElement("track");
      // The browser shows the default one; told so by `mode` instead, Chromium picks others too.
      Object.assign(track, { kind: "subtitles", label, srclang: lang, src: url, default: !shown });
      view.video.append(track);
      shown = true;
    }
  }

  /** What to do about an error of the video's: a road that is left, or a sentence. */
  async failed() {
    const { road, turn, view } = this;
    const { code = 0 } = view.video.error ?? {};
    if (!view.video.error || !road || code === 1) return;
    if (this.reel) {
      this.insteadWhole();
      return;
    }
    const playing = !view.video.paused;
    const status = road.route === "kernel" ? 200 : await ask(road.url);
    if (turn !== this.turn || view.ends.signal.aborted) return;
    const lastTime = view.rest.memory?.currentTime ?? view.lastTime;
    const isFile = code === 3 || (code === 4 && status !== null && status > 0 && status < 400);
    const resume = () => {
      view.wantTime = lastTime;
      view.wantPlaying ||= playing;
    };
    if (code === 2 && status !== null && status < 400 && !this.retried) {
      this.retried = true; // the road is there: once more, where it was
      resume();
      this.load();
    } else if (!isFile && this.at + 1 < this.roads.length) {
      if (this.route !== null) resume();
      this.leave(status === null ? "nobody answers at its address" : `its address answered ${status || "with an error"}`);
    } else {
      // Python has read the file itself; the browser only knows where it gave up.
      const text = (isFile && view.model.get("flaw")) || sentence(code, view.name, lastTime, status);
      if (text) view.complain(text);
    }
  }

  /** Has nothing more to say about what it has begun. */
  halt() {
    this.turn += 1;
    this.reel?.end();
    this.reel = null;
    this.whole = false;
    clearTimeout(this.timer);
    clearTimeout(this.stuck);
  }

  /** Frees the connection: without a source the browser drops it. */
  release() {
    this.halt();
    this.view.video.removeAttribute("src");
    this.view.video.load();
  }

  end() {
    this.release();
    for (const url of this.blobs) URL.revokeObjectURL(url);
  }
}
