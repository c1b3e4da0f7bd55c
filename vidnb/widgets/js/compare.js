// @ts-check
/**
 * The front end of vidnb.compare, an anywidget module: a grid of players without controls of their
 * own, and one timeline and toolbar for all. What each video does is decided in sync_plan.js.
 */

import { ComparedVideo } from "./compared_video.js";
import { make, setUpWidgetRoot } from "./elements.js";
import { drawIcon } from "./icons.js";
import { listenToKeys } from "./keys.js";
import { MessageArea } from "./message_area.js";
import { asTimeRanges } from "./playhead.js";
import { SyncController } from "./sync_controller.js";
import { Timeline } from "./timeline.js";
import { Toolbar } from "./toolbar.js";
import { VERSION, isNewCommand, onEnd, randomId, subscribe } from "./widget.js";

const SHOW_WAITING_MS = 400; // a shorter wait is not shown
const MIN_CELL_PX = 120; // small cells side by side rather than large ones below each other
const GAP_PX = 10;

class ComparisonView {
  /**
   * @param {import("./widget.js").Model} model
   * @param {HTMLElement} el
   * @param {AbortSignal} signal
   */
  constructor(model, el, signal) {
    this.model = model;
    this.signal = signal;
    this.id = randomId();
    this.seq = 0;
    this.isTouched = false;
    this.waitingSinceMs = Infinity;
    /** @type {string[]} */
    this.labels = model.get("labels") ?? [];
    this.root = make("div", "vidnb-player vidnb-compare");
    this.grid = make("div", "vidnb-grid");
    const sync = new SyncController(this.root, (event) => this.handleEvent(event), (text) => this.messages.notify(text), signal);
    this.sync = sync;
    this.timeline = new Timeline(Object.defineProperties(/** @type {any} */ (new EventTarget()), {
      currentTime: { get: () => sync.now() },
      duration: { get: () => sync.end_s || NaN },
      buffered: { get: () => asTimeRanges(sync.buffered()) },
    }), sync, signal, "Position of all videos");
    this.toolbar = new Toolbar("All videos", sync, signal);
    this.playButton = this.toolbar.addButton("play", "Play all", "Play all (space)", () => sync.toggle());
    this.toolbar.addStepAndRate("Playback rate of all videos");
    this.root.append(this.grid, this.timeline.root, this.toolbar.root);
    this.messages = new MessageArea(this.toolbar.root, signal);
    this.build(el);
    this.listen();
    this.show();
    this.open();
    onEnd(signal, () => this.end());
  }

  build(/** @type {HTMLElement} */ el) {
    const { root, grid, labels, model } = this;
    setUpWidgetRoot(root, `Comparison of ${labels.length} videos: ${labels.join(", ")}`, String(model.get("card_id")));
    root.tabIndex = -1; // a click anywhere in it gives it the keys
    const columns = Math.max(1, Number(model.get("columns")) || 1);
    const gaps = `${(columns - 1) * GAP_PX}px`;
    // As many columns as requested, fewer where they would be too narrow.
    grid.style.gridTemplateColumns =
      `repeat(auto-fit, minmax(min(100%, max(${MIN_CELL_PX}px, (100% - ${gaps}) / ${columns} - 0.1px)), 1fr))`;
    grid.style.gap = `${GAP_PX}px`;
    el.append(root);
  }

  listen() {
    const { root, model, signal, sync } = this;
    for (const event of ["pointerdown", "keydown"]) {
      root.addEventListener(event, () => { this.isTouched = true; }, { signal, capture: true });
    }
    listenToKeys(root, null, sync, { signal });
    subscribe(model, "msg:custom", (content) => this.handleMessage(content), signal);
    // The players that it made are closed with it, and their message endpoints.
    subscribe(model, "destroy", () => sync.videos.forEach((video) => video.channel.closeEndpoint()), signal);
  }

  /** Load the models of the players, then show them all. */
  async open() {
    const { labels, model, signal, sync } = this;
    /** @type {string[]} */
    const names = model.get("models") ?? [];
    /** @type {number[]} */
    const offsets = model.get("offsets_s") ?? [];
    const cells = names.map(() => make("div", "vidnb-cell"));
    this.grid.append(...cells);
    try {
      const models = await Promise.all(names.map((name) => model.widget_manager.get_model(name.replace("IPY_MODEL_", ""))));
      if (signal.aborted) return;
      const showsOwnTime = offsets.some((offset) => offset !== 0);
      sync.setVideos(models.map((each, index) => new ComparedVideo(each, cells[index], signal, {
        label: labels[index], offset_s: offsets[index], isMuted: index > 0, showsOwnTime,
      })));
    } catch {
      if (!signal.aborted) this.messages.showError("The players of this comparison no longer exist: run the cell again.");
      return;
    }
    this.applyCommand(model.get("pending_command"));
    this.send({ kind: "ready" });
  }

  // Messages of Python

  handleMessage(/** @type {any} */ content) {
    if (content?.v !== VERSION || !this.sync.videos.length) return;
    if (content.kind === "command") this.applyCommand(content);
    if (content.kind === "restore" && content.view === this.id && !this.isTouched) {
      this.sync.applyCommand({ t_s: content.t_s, rate: content.rate });
    }
  }

  applyCommand(/** @type {import("./widget.js").Command} */ command) {
    if (!isNewCommand(command, this.seq)) return;
    this.seq = command.seq;
    this.isTouched = true;
    this.sync.applyCommand(command);
    this.report("command");
  }

  // Reports to Python

  handleEvent(/** @type {string} */ event) {
    this.show();
    if (event) this.report(event);
  }

  report(/** @type {string} */ event) {
    const { target } = this.sync;
    this.send({
      kind: "state", event, seq: this.seq, current_time: this.sync.now(), paused: !target.playing,
      playback_rate: target.rate,
    });
  }

  send(/** @type {object} */ content) {
    try {
      this.model.send({ v: VERSION, view: this.id, ...content });
    } catch {
      // The kernel is gone; the videos themselves continue.
    }
  }

  // What a person sees

  show() {
    const { playButton, sync, toolbar } = this;
    const label = sync.target.playing ? "Pause all" : "Play all";
    if (playButton.getAttribute("aria-label") !== label) {
      playButton.setAttribute("aria-label", label);
      playButton.title = `${label} (space)`;
      playButton.replaceChildren(drawIcon(sync.target.playing ? "pause" : "play"));
    }
    toolbar.showTime(sync.now(), sync.end_s || null);
    toolbar.showRate(sync.target.rate);
    this.timeline.show();
    this.showWaiting();
  }

  /** Name the videos that pause the others, once that lasts. */
  showWaiting() {
    const { sync } = this;
    const nowMs = performance.now();
    if (!sync.waiting.length) this.waitingSinceMs = nowMs;
    const isLong = nowMs - this.waitingSinceMs >= SHOW_WAITING_MS;
    const labels = [];
    for (const [index, video] of sync.videos.entries()) {
      const isWaiting = isLong && sync.waiting.includes(index);
      video.waiting.hidden = !isWaiting;
      if (isWaiting) labels.push(video.label);
    }
    if (labels.length) this.messages.show(`Waiting for ${labels.join(", ")}`);
    else if (sync.videos.length) this.messages.clear();
  }

  end() {
    this.send({ kind: "bye" });
    this.root.remove();
  }
}

/**
 * Show the comparison in `el` until the signal aborts (anywidget 0.11).
 * @param {{ model: import("./widget.js").Model, el: HTMLElement, signal: AbortSignal }} props
 */
function render({ model, el, signal }) {
  new ComparisonView(model, el, signal);
}

export default { render };
