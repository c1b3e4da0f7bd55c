// @ts-check
/**
 * The browser's half of vidnb.compare: a grid of players (player.js) without controls of their own,
 * and one strip for all. What each video does is decided in compare_clock.js.
 */

import { Stage } from "./compare_stage.js";
import { PlayerModel, Voice } from "./compare_voice.js";
import { RATES } from "./player_deck.js";
import { cardHider, drawIcon, iconButton, make } from "./player_elements.js";
import { keepsKey, keyAction } from "./player_keys.js";
import { rateName } from "./player_strip.js";
import { Timeline } from "./player_timeline.js";
import { timeCode } from "./player_words.js";

const COMPARE_VERSION = 1;
const QUIET_MS = 400; // a wait that is shorter is not worth a word
const LEAST_CELL_PX = 120; // side by side is what it is for, so rather small than below each other
const GAP_PX = 10;

class CompareView {
  constructor(/** @type {any} */ model, /** @type {HTMLElement} */ el) {
    this.model = model;
    this.id = crypto.randomUUID?.() ?? String(Math.random());
    this.seq = 0;
    this.touched = false;
    this.waitsSinceMs = Infinity;
    this.noteTimer = 0;
    this.ends = new AbortController();
    const { signal } = this.ends;
    this.root = make("div", "vidnb-player vidnb-compare");
    this.grid = make("div", "vidnb-grid");
    this.stage = new Stage((event) => this.heard(event), (text) => this.note(text), signal);
    this.timeline = new Timeline(/** @type {any} */ (this.commonClock()), {
      seek: (seconds) => this.stage.seek(seconds), removeMarker() {},
    }, signal);
    this.timeline.bar.setAttribute("aria-label", "Position of all videos");
    this.build(el);
    this.listen();
    this.open();
  }

  /** All videos together, as the timeline sees one. */
  commonClock() {
    const { stage } = this;
    return Object.defineProperties(new EventTarget(), {
      currentTime: { get: () => stage.now() },
      duration: { get: () => stage.end_s || NaN },
      buffered: { get: () => {
        const spans = stage.arrived();
        return {
          length: spans.length,
          start: (/** @type {number} */ index) => spans[index][0],
          end: (/** @type {number} */ index) => spans[index][1],
        };
      } },
    });
  }

  build(/** @type {HTMLElement} */ el) {
    const { root, grid } = this;
    /** @type {string[]} */
    const labels = this.model.get("labels") ?? [];
    root.setAttribute("role", "group");
    root.setAttribute("aria-label", `Comparison of ${labels.length} videos: ${labels.join(", ")}`);
    root.setAttribute("data-lm-suppress-shortcuts", "true");
    root.tabIndex = -1; // a click anywhere in it gives it the keys
    const columns = Math.max(1, Number(this.model.get("columns")) || 1);
    const gaps = `${(columns - 1) * GAP_PX}px`;
    // As many as were asked for, fewer where they would be too narrow to see anything.
    grid.style.gridTemplateColumns =
      `repeat(auto-fit, minmax(min(100%, max(${LEAST_CELL_PX}px, (100% - ${gaps}) / ${columns} - 0.1px)), 1fr))`;
    grid.style.gap = `${GAP_PX}px`;

    const strip = make("div", "vidnb-strip");
    const tools = make("div", "vidnb-tools");
    tools.setAttribute("role", "toolbar");
    tools.setAttribute("aria-label", "All videos");
    this.playing = iconButton("play", "Play all", "Play all (space)");
    const back = iconButton("back", "One frame back", "One frame back (,)");
    const forward = iconButton("forward", "One frame forward", "One frame forward (.)");
    this.rate = this.rates();
    tools.append(this.playing, back, forward, this.rate);
    this.clock = make("span", "vidnb-clock");
    this.whole = make("span", "vidnb-whole");
    const clocks = make("span", "vidnb-clocks");
    clocks.append(this.clock, this.whole);
    this.status = make("span", "vidnb-status");
    this.status.setAttribute("role", "status");
    strip.append(tools, clocks, this.status);
    const on = (/** @type {HTMLElement} */ button, /** @type {() => void} */ act) =>
      button.addEventListener("click", act, { signal: this.ends.signal });
    on(this.playing, () => this.stage.toggle());
    on(back, () => this.stage.step(-1));
    on(forward, () => this.stage.step(1));
    root.append(grid, this.timeline.root, strip, cardHider(String(this.model.get("card_id"))));
    el.append(root);
    this.show();
  }

  rates() {
    const select = make("select", "vidnb-rate");
    select.setAttribute("aria-label", "Playback rate of all videos");
    select.title = "Playback rate (< and >)";
    for (const rate of RATES) select.append(this.rateOption(rate));
    select.value = "1";
    select.addEventListener("change", () => this.stage.setRate(Number(select.value)), { signal: this.ends.signal });
    return select;
  }

  rateOption(/** @type {number} */ rate) {
    const option = make("option", "", rateName(rate));
    option.value = String(rate);
    return option;
  }

  listen() {
    const { root, model } = this;
    const { signal } = this.ends;
    for (const event of ["pointerdown", "keydown"]) {
      root.addEventListener(event, () => { this.touched = true; }, { signal, capture: true });
    }
    // Before the players' own keys, which would move one alone.
    root.addEventListener("keydown", (event) => this.pressed(event), { signal, capture: true });
    model.on("msg:custom", (/** @type {any} */ content) => this.told(content));
    // The players that it has made are closed with it, and their mailboxes.
    model.on("destroy", () => this.stage.voices.forEach((voice) => voice.channel.shut()));
  }

  pressed(/** @type {KeyboardEvent} */ event) {
    if (event.key === "Tab" || event.key === "Escape") return;
    event.stopPropagation();
    const element = /** @type {HTMLElement | null} */ (event.target);
    if (event.defaultPrevented || keepsKey(element, event.key)) return;
    const action = keyAction(event);
    if (!action) return;
    event.preventDefault();
    const { stage } = this;
    action({
      toggle: () => stage.toggle(),
      seekBy: (seconds) => stage.seekBy(seconds),
      seekToPart: (part) => stage.seekToPart(part),
      step: (frames) => { stage.step(frames); },
      turnRate: (steps) => stage.turnRate(steps),
      turnVolume: (change) => stage.turnVolume(change),
      toggleMuted: () => stage.toggleMuted(),
      toggleFullscreen: () => { this.toggleFullscreen(); },
      setMarker() {}, // a marker is a matter of one video
    });
  }

  async toggleFullscreen() {
    try {
      if (document.fullscreenElement) await document.exitFullscreen();
      else await this.root.requestFullscreen();
    } catch {
      this.note("The browser does not let this page fill the screen.");
    }
  }

  /** Brings the players' own models, and lets them in together. */
  async open() {
    /** @type {string[]} */
    const names = this.model.get("models") ?? [];
    /** @type {string[]} */
    const labels = this.model.get("labels") ?? [];
    /** @type {number[]} */
    const offsets = this.model.get("offsets_s") ?? [];
    const cells = names.map(() => make("div", "vidnb-cell"));
    this.grid.append(...cells);
    try {
      const models = await Promise.all(names.map((name) =>
        this.model.widget_manager.get_model(name.replace("IPY_MODEL_", ""))));
      if (this.ends.signal.aborted) return;
      const voices = models.map((model, index) =>
        new Voice(new PlayerModel(model), cells[index], labels[index], offsets[index], index > 0));
      const shifted = offsets.some((offset) => offset !== 0);
      for (const voice of voices) if (voice.own) voice.own.hidden = !shifted;
      this.stage.join(voices);
      this.obey(this.model.get("wish"));
      this.send({ kind: "ready" });
    } catch {
      if (!this.ends.signal.aborted) this.note("The players of this comparison are gone: run the cell again.", true);
    }
  }

  // Obeying Python

  told(/** @type {any} */ content) {
    if (content?.v !== COMPARE_VERSION || !this.stage.voices.length) return;
    if (content.kind === "wish") this.obey(content);
    if (content.kind === "resume" && content.view === this.id && !this.touched) {
      this.stage.obey({ t_s: content.t_s, rate: content.rate });
    }
  }

  obey(/** @type {any} */ wish) {
    if (wish?.v !== COMPARE_VERSION || !(wish.seq > this.seq)) return;
    this.seq = wish.seq;
    this.touched = true;
    this.stage.obey(wish);
    this.report("wish");
  }

  // Telling

  heard(/** @type {string} */ event) {
    this.show();
    if (event) this.report(event);
  }

  report(/** @type {string} */ event) {
    const { score } = this.stage;
    this.send({
      kind: "state", event, seq: this.seq, current_time: this.stage.now(), paused: !score.playing,
      playback_rate: score.rate,
    });
  }

  send(/** @type {object} */ content) {
    try {
      this.model.send({ v: COMPARE_VERSION, view: this.id, ...content });
    } catch {
      // The kernel is gone; the videos themselves go on.
    }
  }

  show() {
    const { stage } = this;
    if (!this.playing || !this.clock || !this.whole || !this.rate) return;
    const name = stage.score.playing ? "Pause all" : "Play all";
    if (this.playing.getAttribute("aria-label") !== name) {
      this.playing.setAttribute("aria-label", name);
      this.playing.title = `${name} (space)`;
      this.playing.replaceChildren(drawIcon(stage.score.playing ? "pause" : "play"));
    }
    const text = timeCode(stage.now());
    if (this.clock.textContent !== text) this.clock.textContent = text;
    const whole = ` / ${timeCode(stage.end_s || null)}`;
    if (this.whole.textContent !== whole) this.whole.textContent = whole;
    const rate = String(stage.score.rate);
    if (this.rate.value !== rate) {
      this.rate.value = rate;
      if (this.rate.value !== rate) {
        this.rate.append(this.rateOption(stage.score.rate)); // one that Python chose
        this.rate.value = rate;
      }
    }
    this.timeline.show();
    this.showWaiting();
  }

  /** Says who holds the others, once that lasts. */
  showWaiting() {
    const { stage } = this;
    const nowMs = performance.now();
    if (!stage.waiting.length) this.waitsSinceMs = nowMs;
    const lasts = nowMs - this.waitsSinceMs >= QUIET_MS;
    const names = [];
    for (const [index, voice] of stage.voices.entries()) {
      const waits = lasts && stage.waiting.includes(index);
      if (voice.waits) voice.waits.hidden = !waits;
      if (waits) names.push(voice.label);
    }
    const text = names.length ? `Waiting for ${names.join(", ")}` : "";
    if (this.status && !this.noteTimer && this.status.textContent !== text) this.status.textContent = text;
  }

  note(/** @type {string} */ text, lasting = false) {
    if (!this.status) return;
    clearTimeout(this.noteTimer);
    this.status.textContent = text;
    this.noteTimer = window.setTimeout(() => {
      this.noteTimer = 0;
      if (!lasting && this.status) this.status.textContent = "";
    }, 8000);
  }

  end() {
    clearTimeout(this.noteTimer);
    this.ends.abort();
    for (const voice of this.stage.voices) {
      voice.end();
      /** @type {any} */ (voice.model).leave();
    }
    this.send({ kind: "gone" });
    this.root.remove();
  }
}

function renderComparison(/** @type {{ model: any, el: HTMLElement }} */ { model, el }) {
  const view = new CompareView(model, el);
  return () => view.end();
}

export default { render: renderComparison };
