// @ts-check
/**
 * One view of a player: it applies Python's commands to a <video> with the browser's own controls and
 * reports its state. Traits are only read; the protocol is described at the top of player.py.
 *
 * @typedef {import("./widget.js").Model} Model
 * @typedef {import("./widget.js").Command} Command
 */

import { Controls } from "./controls.js";
import { make, setUpWidgetRoot } from "./elements.js";
import { FrameTimes } from "./frame_times.js";
import { listenToKeys } from "./keys.js";
import { Markers } from "./markers.js";
import { MessageArea } from "./message_area.js";
import { ViewChannel } from "./message_channel.js";
import {
  AUTOPLAY_BLOCKED, audioOnly, isAudioFile, kernelRestarted, playsWithoutKernel, sourceChanged,
} from "./messages.js";
import { PlayedPart } from "./played_part.js";
import { Playhead } from "./playhead.js";
import { takeSnapshot } from "./snapshot.js";
import { SourceLoader } from "./source_loader.js";
import { reportedState } from "./state.js";
import { Suspension } from "./suspend.js";
import { Thumbnails } from "./thumbnails.js";
import { Timeline } from "./timeline.js";
import { PlayerToolbar } from "./toolbar.js";
import { viewGroupOf } from "./view_group.js";
import { VERSION, isNewCommand, onEnd, randomId, subscribe } from "./widget.js";

const TICK_MS = 240; // Chromium fires timeupdate each 250 ms, Firefox more often
const MAX_UNACKED = 2; // ticks under way to a kernel that may be busy
const EVENTS = ["loadedmetadata", "loadeddata", "durationchange", "play", "playing", "pause", "seeking", "seeked", "ended",
  "waiting", "ratechange", "volumechange"];

export class PlayerView {
  constructor(/** @type {Model} */ model, /** @type {HTMLElement} */ el, /** @type {AbortSignal} */ signal) {
    this.model = model;
    this.signal = signal;
    this.id = randomId();
    this.name = String(model.get("name"));
    this.seq = 0; // of the last command applied
    this.isTouched = false; // a person or a command has changed it
    this.tick = 0;
    this.ackedTick = 0;
    this.isTickPending = false;
    this.lastTickMs = -Infinity;
    /** @type {string | null} */
    this.error = null;
    this.lastTime = 0;
    /** @type {number | null} the media time in the last report (s) */
    this.reported_s = null;
    // What to do once the metadata are loaded.
    this.pendingTime = Number(model.get("start_s")) || 0;
    this.pendingPlay = Boolean(model.get("autoplay"));
    this.pendingSeek = false; // Python waits for the end of a seek, also of one to the start
    this.pendingStep = 0;
    this.isKernelGone = false;
    /** @type {FrameTimes | null} as Python sent them */
    this.frameTimes = null;
    this.generation = 0; // how often the file changed at its source while it was downloaded
    this.root = make("div", "vidnb-player");
    this.video = make("video", "vidnb-video");
    this.markers = new Markers(this.id);
    /** @type {ViewChannel} */
    this.channel = new ViewChannel(model, this.id);
    /** @type {Suspension} */
    this.suspension = new Suspension(this);
    this.playhead = new Playhead(this.video, this.suspension);
    this.controls = new Controls(this.video, this.playhead, this.root, this.name, this, signal);
    this.timeline = new Timeline(this.playhead, this.controls, signal);
    this.thumbnails = new Thumbnails(
      (t_s) => this.send({ kind: "thumbnail", t_s: t_s + this.shift_s }), () => this.timeline.showThumbnail(), signal,
    );
    this.timeline.thumbnails = this.thumbnails;
    this.part = this.findPart();
    this.toolbar = new PlayerToolbar(this.controls, this.name, signal);
    /** @type {SourceLoader} */
    this.loader = new SourceLoader(this);
    this.group = this.findGroup();

    this.root.append(this.video, this.timeline.root, this.toolbar.root);
    this.messages = new MessageArea(this.root, signal);
    this.build(el);
    this.listen();
    this.setWidth();
    this.group?.join(this);
    this.syncWithLeader();
    this.send({ kind: "ready" });
    this.applyCommand(model.get("pending_command"));
    this.loader.load();
    onEnd(signal, () => this.end());
  }

  /** The group of this player's views, or null. @returns {import("./view_group.js").ViewGroup | null} */
  findGroup() {
    return viewGroupOf(String(this.model.get("card_id")));
  }

  /** The part that plays, or null for the whole video. @returns {PlayedPart | null} */
  findPart() {
    const end_s = this.model.get("end_s");
    return typeof end_s === "number" ? new PlayedPart(this, this.pendingTime, end_s) : null;
  }

  build(/** @type {HTMLElement} */ el) {
    const { root, video, model } = this;
    setUpWidgetRoot(root, `Video player: ${this.name}`, String(model.get("card_id")));
    Object.assign(video, { controls: true, preload: "metadata", playsInline: true, tabIndex: 0 });
    video.setAttribute("aria-label", this.name);
    video.loop = Boolean(model.get("start_loop"));
    video.muted = Boolean(model.get("start_muted"));
    el.classList?.add("vidnb-container");
    el.append(root);
    if (this.part) this.timeline.showPart([this.part.start_s, this.part.end_s]);
    this.showPosition();
  }

  listen() {
    const { video, signal } = this;
    const options = { signal };
    // First, so that the first report has the position of start_s or of a command.
    video.addEventListener("loadedmetadata", () => this.handleMetadata(), options);
    for (const event of EVENTS) video.addEventListener(event, () => this.handleEvent(event), options);
    video.addEventListener("timeupdate", () => this.handleTimeUpdate(), options);
    video.addEventListener("error", () => this.loader.handleError(), options);
    video.addEventListener("playing", () => this.clearMessages(), options);
    for (const event of ["waiting", "stalled"]) video.addEventListener(event, () => this.loader.watchForStall(), options);
    for (const event of ["pointerdown", "keydown"]) {
      this.root.addEventListener(event, () => { this.isTouched = true; }, options);
    }
    video.addEventListener("pause", () => this.toolbar.showFrameDuration(), options);
    this.bindKeys();
    this.suspension.listen();
    this.controls.stepper.listen(() => this.handleFrame());

    // A page that is unloaded disposes no view; one that is restored from the cache reports again.
    window.addEventListener("pagehide", () => this.channel.sendBye(), options);

    const on = (/** @type {string} */ name, /** @type {(...args: any[]) => void} */ callback) =>
      subscribe(this.model, name, callback, signal);
    on("msg:custom", (content, buffers) => this.handleMessage(content, buffers));
    on("change:width", () => this.setWidth());
    on("change:marker_list", () => this.updateMarkers());
    on("change:deliveries", () => this.loader.handleDeliveries());
    on("destroy", () => this.channel.closeEndpoint());
    // JupyterLab triggers it when the kernel is restarted.
    on("comm_live_update", () => this.handleKernelRestart());
    this.updateMarkers();
  }

  bindKeys() {
    listenToKeys(this.root, this.video, this.controls, { signal: this.signal });
  }

  // Events of the video

  handleEvent(/** @type {string} */ event) {
    if (!this.suspension.accepts(event)) return;
    if (event === "ended" && this.part) {
      this.part.finish();
      return;
    }
    // The rate set in the browser's own menu is kept over a load; the correction of a follower is not.
    if (event === "ratechange" && this.group?.isLeader(this)) this.video.defaultPlaybackRate = this.video.playbackRate;
    this.group?.handleEvent(this, event);
    this.toolbar.showRate(this.video.defaultPlaybackRate);
    this.showPosition();
    this.report(event);
    this.part?.handleEvent(event);
  }

  handleMetadata() {
    const loaded = this.loader.handleMetadata();
    if (!loaded) return;
    this.syncWithLeader();
    if (this.isSuspended) this.suspension.handleMetadata();
    else if (this.pendingTime > 0 || this.pendingSeek) this.seek(this.pendingTime);
    this.pendingTime = 0;
    this.pendingSeek = false;
    if (loaded.isNew) {
      this.toolbar.showRoute(loaded.route.route, this.loader.describe(loaded.route));
      this.toolbar.showDelivery(this.loader.delivery);
      this.showFrameTimes();
      this.report("route");
    }
    if (this.pendingStep) this.controls.stepper.step(this.pendingStep);
    this.pendingStep = 0;
    if (this.pendingPlay) this.start();
    this.pendingPlay = false;
    const problem = this.model.get("file_problem");
    if (problem) this.showMessage(problem);
    else if (this.video.videoWidth === 0 && !isAudioFile(this.name)) this.showMessage(audioOnly(this.name));
  }

  /** A frame is shown. One that appears after a pause is reported: no event follows it. */
  handleFrame() {
    this.showPosition();
    this.part?.handleFrame();
    const { media_s } = this.controls.stepper;
    if (!this.video.paused || media_s === null || media_s === this.reported_s) return;
    this.report("timeupdate");
  }

  handleTimeUpdate() {
    if (this.isSuspended) return;
    this.part?.check();
    const now = performance.now();
    this.showPosition();
    if (this.video.currentTime !== this.lastTime) this.loader.hasRetried = false;
    this.isTickPending = !this.channel.usesHttp && this.tick - this.ackedTick >= MAX_UNACKED;
    if (this.isTickPending || now - this.lastTickMs < TICK_MS) return;
    this.lastTickMs = now;
    this.tick += 1;
    this.report("timeupdate", { tick: this.tick });
  }

  // Suspension and view group

  /** Whether it leads the views of the player, so that the others follow it. */
  get isLeading() {
    return !this.group || this.group.isLeader(this);
  }

  get isSuspended() {
    return this.suspension.isSuspended;
  }

  /** Whether the video may be suspended: not one by the kernel channel, which has no connection. */
  maySuspend() {
    return !this.isKernelGone && this.loader.route !== null && this.loader.route !== "kernel";
  }

  resumed() {
    return this.suspension.resumed();
  }

  /** A follower starts, and is resumed, at the position of the leader. */
  syncWithLeader() {
    const { group, suspension } = this;
    if (!group?.leader || group.isLeader(this)) return;
    this.pendingTime = group.leader.position();
    if (suspension.saved) suspension.saved.currentTime = this.pendingTime;
    this.pendingPlay = group.playing;
  }

  // Messages of Python

  handleMessage(/** @type {any} */ content, /** @type {DataView[] | undefined} */ buffers) {
    if (content?.v !== VERSION) return;
    const { kind, view } = content;
    if (kind === "command") this.applyCommand(content);
    if (view && view !== this.id) return;
    if (kind === "snapshot") this.sendSnapshot(content);
    if (kind === "download_state") this.handleDownloadState(content);
    if (kind === "frame_times") {
      this.frameTimes = FrameTimes.fromMessage(content, buffers);
      this.showFrameTimes();
    }
    if (!view) return;
    if (kind === "thumbnail") {
      this.thumbnails.handleAnswer(content, buffers, this.shift_s);
    } else if (kind === "ack") {
      this.channel.handleAck();
    } else if (kind === "bytes") {
      this.loader.kernel.handleResponse(content, buffers);
    } else if (kind === "state_ack") {
      this.ackedTick = content.tick;
      if (this.isTickPending) this.handleTimeUpdate();
    } else if (kind === "restore" && !this.isTouched && typeof content.t_s === "number") {
      this.seek(content.t_s);
    }
  }

  /** Python's time at the time 0 of this view (s). */
  get shift_s() {
    return this.loader.isFed ? this.frameTimes?.start_s ?? 0 : 0;
  }

  showFrameTimes() {
    const { frameTimes, loader } = this;
    if (!frameTimes) return;
    this.controls.stepper.times = loader.isFed ? frameTimes.ofSegments() : frameTimes;
    this.thumbnails.isOn = true;
    this.toolbar.showFrameDuration();
    this.showPosition();
  }

  async sendSnapshot(/** @type {{ number: string, max_pixels: number }} */ { number, max_pixels }) {
    await this.resumed();
    await this.channel.sendSnapshot(number, await takeSnapshot(this.video, max_pixels, this.controls.stepper));
  }

  /** Show the state of the download; a file that changed at its source is loaded again. */
  handleDownloadState(/** @type {any} */ content) {
    this.toolbar.showDownload(content);
    this.timeline.showDownloaded(content.state === "downloading" ? content.ranges : []);
    if (content.problem) this.showMessage(content.problem);
    if (!(content.generation > this.generation)) return;
    this.generation = content.generation;
    this.thumbnails.clear();
    this.clearMessages();
    this.notify(sourceChanged(this.name));
    this.pendingPlay ||= !this.video.paused;
    Object.assign(this, { lastTime: 0, pendingTime: 0 });
    this.loader.hasRetried = false;
    this.loader.forgetFailures();
    if (this.isSuspended) this.suspension.seek(0);
    else this.loader.load();
  }

  applyCommand(/** @type {Command | undefined} */ command) {
    if (!command || !isNewCommand(command, this.seq)) return;
    this.seq = command.seq;
    this.isTouched = true;
    if (!this.isLeading) return; // it follows the leader
    const { video, controls } = this;
    if (typeof command.rate === "number") controls.setRate(command.rate);
    if (typeof command.volume === "number") video.volume = command.volume;
    if (typeof command.muted === "boolean") video.muted = command.muted;
    if (typeof command.loop === "boolean") video.loop = command.loop;
    if (typeof command.t_s === "number") this.seek(command.t_s);
    if (typeof command.step === "number") this.step(command.step);
    if (command.playing === true) this.start();
    if (command.playing === false) this.stop();
    if (typeof command.fullscreen === "boolean") controls.toggleFullscreen(command.fullscreen);
    this.report("command");
  }

  /** After a restart of the kernel the last frame stays, with a message. */
  handleKernelRestart() {
    if (this.channel.isClosed) return;
    this.channel.close();
    const { route, isComplete } = this.loader;
    if (route === "files" || (route === "kernel" && isComplete && this.video.readyState > 0)) {
      this.showMessage(playsWithoutKernel(this.name));
      return;
    }
    this.isKernelGone = true;
    this.suspension.saveState(false);
    this.video.pause();
    this.loader.release();
    this.error = kernelRestarted(this.name);
    this.messages.showError(this.error);
  }

  // Actions

  step(/** @type {number} */ frames) {
    if (this.video.readyState > 0 && !this.isSuspended) {
      this.controls.step(frames);
    } else {
      this.pendingStep += frames;
      this.pendingPlay = false;
      this.suspension.resume();
    }
  }

  seek(/** @type {number} */ seconds) {
    if (this.isSuspended) {
      this.pendingStep = 0;
      this.suspension.seek(seconds);
    } else if (this.video.readyState === 0) {
      Object.assign(this, { pendingTime: seconds, pendingSeek: true, pendingStep: 0 });
    } else if (this.loader.feeder?.isShorterThan(seconds)) {
      // Its frames are still being encoded: it goes there once they are.
      this.loader.feeder.reach(seconds).then(() => this.seek(seconds));
    } else {
      const { duration } = this.video;
      this.video.currentTime = Number.isFinite(duration) ? Math.min(seconds, duration) : seconds;
    }
  }

  start() {
    if (this.part && this.isLeading && this.part.isAtEnd(this.position())) this.seek(this.part.start_s);
    if (this.video.readyState === 0) {
      this.pendingPlay = true;
      this.suspension.resume();
      return;
    }
    this.video.play().catch((/** @type {Error} */ reason) => {
      // Any other reason is an error event, or a pause meanwhile.
      if (reason.name === "NotAllowedError") this.handleAutoplayBlocked();
    });
  }

  handleAutoplayBlocked() {
    this.showMessage(AUTOPLAY_BLOCKED);
  }

  stop() {
    this.pendingPlay = false;
    this.video.pause();
  }

  // Markers

  showMarkers() {
    this.timeline.showMarkers(this.markers.all());
  }

  updateMarkers() {
    this.markers.update(this.model.get("marker_list"));
    this.showMarkers();
  }

  addMarker(/** @type {number} */ seconds) {
    const marker = this.markers.add(seconds);
    this.showMarkers();
    this.send({ kind: "marker", action: "add", ...marker });
  }

  removeMarker(/** @type {string} */ id) {
    this.markers.remove(id);
    this.showMarkers();
    this.send({ kind: "marker", action: "remove", id });
  }

  // Reports to Python

  report(/** @type {string} */ event, extra = {}) {
    if (this.video.readyState > 0 && !this.isSuspended) this.lastTime = this.video.currentTime;
    if (!this.isLeading) return;
    this.reported_s = this.controls.stepper.media_s;
    this.send({ kind: "state", event, seq: this.seq, ...reportedState(this), ...extra });
  }

  send(/** @type {object} */ content) {
    this.channel.send(content);
  }

  /** The position, or the one at which it will start (s). */
  position() {
    return this.playhead.isKnown ? this.playhead.currentTime : this.pendingTime || this.lastTime;
  }

  // What a person sees

  showPosition() {
    const { stepper } = this.controls;
    const { times } = stepper;
    const index = this.isSuspended ? times?.indexAt(this.position()) ?? null : stepper.frameIndex(this.position());
    // The time of the frame; the position may be anywhere within it.
    const time_s = times && index !== null ? times.starts_s[index] : this.position();
    this.toolbar.showTime(time_s, this.playhead.duration);
    this.toolbar.showFrame(index, times?.count ?? 0);
    this.timeline.show();
  }

  setWidth() {
    const width = `${this.model.get("width")}px`;
    this.root.style.maxWidth = width;
    // The width where nothing else gives one, as in a row of widgets.
    this.root.style.containIntrinsicInlineSize = width;
  }

  showMessage(/** @type {string} */ text) {
    this.messages.show(text);
  }

  notify(/** @type {string} */ text) {
    this.messages.notify(text);
  }

  /** Show why the video cannot be played, with a button to try again. */
  showError(/** @type {string} */ text) {
    this.error = text;
    this.messages.showError(text, this.loader.routes.length ? () => this.retry() : null);
    this.suspension.handleError();
    this.report("error");
  }

  clearMessages() {
    if (this.isKernelGone) return;
    this.messages.clear();
    if (this.error === null) return;
    this.error = null;
    this.report("recovered");
  }

  retry() {
    this.clearMessages();
    this.loader.reset();
    if (this.isSuspended) {
      this.suspension.resume();
    } else {
      this.pendingTime = this.lastTime;
      this.loader.load();
    }
    this.video.focus();
  }

  /** Stop and release the connection. */
  end() {
    this.group?.leave(this);
    this.video.pause();
    this.loader.end();
    this.channel.sendBye();
    this.channel.close();
    this.root.remove();
  }
}
