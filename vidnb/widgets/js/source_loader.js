// @ts-check
/**
 * Loads the source of one view: tries the routes in their order, takes the first that works, and
 * continues with the next one where a route fails.
 *
 * @typedef {import("./routes.js").Route} Route
 * @typedef {{ label: string, lang: string, urls: Route[] }} Track
 * @typedef {{
 *   model: import("./widget.js").Model, name: string, video: HTMLVideoElement, root: HTMLElement,
 *   channel: import("./message_channel.js").ViewChannel, signal: AbortSignal, error: string | null,
 *   pendingTime: number, pendingPlay: boolean, lastTime: number, generation: number,
 *   suspension: { saved: { currentTime: number } | null },
 *   showMessage(text: string): void, clearMessages(): void, showError(text: string): void,
 * }} LoadingView
 */

import { make } from "./elements.js";
import { BusyTimer, KernelReader } from "./kernel_channel.js";
import { kernelBusy, languageName, mediaErrorMessage, noRoute, scanningFile } from "./messages.js";
import {
  NO_RESPONSE, TIMED_OUT, canProbe, fillRoute, jupyterBase, lastRoute, probe, rememberRoute, requestStatus,
  resourceRoute, sortRoutes,
} from "./routes.js";
import { SegmentFeeder, canFeed } from "./segment_feeder.js";

const ROUTE_TIMEOUT_MS = 4000; // to the first metadata, while other routes are left
const PROBED_TIMEOUT_MS = 30000; // the same on a route that responds
const STALL_MS = 5000; // after which the route of a playing video is probed again

export class SourceLoader {
  constructor(/** @type {LoadingView} */ view) {
    this.view = view;
    this.attempt = 0; // what was started for an earlier one is ignored
    /** @type {string | null} the name of the route by which the video was loaded */
    this.route = null;
    /** @type {Route | null} the route that is taken, with its placeholders filled */
    this.current = null;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.stallTimer = undefined;
    this.kernel = new KernelReader((message) => view.channel.sendByKernel(message));
    /** @type {string[]} */
    this.blobUrls = [];
    /** @type {SegmentFeeder | null} */
    this.feeder = null;
    this.isComplete = false; // the browser has the whole file
    this.hasRetried = false;
    /** @type {Route[]} */
    this.routes = [];
    /** @type {[string, string][]} the routes that do not work, and why */
    this.failures = [];
    /** @type {Promise<{ route: Route, reason: string }>[]} */
    this.probes = [];
    this.index = 0; // of the route being tried
    this.reset();
  }

  /** Forget what was found out about the routes. */
  reset() {
    const { allowed, excluded } = sortRoutes(this.view.model.get("urls") ?? [], location.hostname);
    Object.assign(this, { index: 0, routes: allowed, failures: excluded, probes: [], hasRetried: false });
  }

  /** Whether `attempt` is over. */
  isStale(/** @type {number} */ attempt) {
    return attempt !== this.attempt || this.view.signal.aborted;
  }

  /** Try the current route. */
  load() {
    const { view } = this;
    this.stop();
    const route = this.routes[this.index];
    if (!route) view.showError(noRoute(view.name, location.hostname, jupyterBase(), this.failures));
    else if (canProbe(route)) this.probeAndOpen(this.attempt);
    else this.open(route);
  }

  /** Probe the current route, which takes less time than waiting for a video that never loads. */
  async probeAndOpen(/** @type {number} */ attempt) {
    const start = (/** @type {Route} */ route) =>
      fillRoute(route)
        .then(async (filled) => {
          if (filled.endpoint) this.view.channel.sendPageHost(filled.endpoint);
          return { route: filled, reason: await probe(filled) };
        })
        .catch(() => ({ route, reason: "this page has no URL for it" }));
    // All at once, so that one that does not respond delays nothing. But alone where this page knows a
    // working route, and on loopback, which responds at once: each failure is a line in the console.
    const { route: name, needs } = this.routes[this.index];
    const isAlone = name === lastRoute() || needs === "loopback";
    for (const [index, route] of this.routes.entries()) {
      if (index === this.index || (index > this.index && !isAlone && canProbe(route))) {
        this.probes[index] ??= start(route);
      }
    }
    const { route, reason } = await this.probes[this.index];
    if (this.isStale(attempt)) return;
    if (reason) this.nextRoute(reason);
    else this.open(route);
  }

  /** Load the video by a route. */
  open(/** @type {Route} */ route) {
    const { view } = this;
    const { video } = view;
    this.current = route;
    view.channel.setEndpoint(route.endpoint ?? "");
    const poster = this.routeTo(view.model.get("poster"));
    if (poster?.url) this.setPoster(poster);
    // A frame of another origin can be read only where the video was requested with CORS, which the
    // probe has shown to work.
    const isForeign = route.endpoint && new URL(route.url, location.href).origin !== location.origin;
    video.crossOrigin = isForeign ? "anonymous" : null;
    if (route.route === "kernel") {
      this.loadByKernel(this.attempt);
      return;
    }
    // A URL of its own, since the browser's cache holds bytes of the file before.
    const query = view.generation ? `${route.url.includes("?") ? "&" : "?"}generation=${view.generation}` : "";
    video.src = route.url + query;
    if (this.index + 1 < this.routes.length) {
      const timeoutMs = canProbe(route) ? PROBED_TIMEOUT_MS : ROUTE_TIMEOUT_MS;
      this.timer = setTimeout(() => this.nextRoute("no video in time"), timeoutMs);
    }
  }

  /** The metadata are loaded. @returns {{ route: Route, isNew: boolean } | null} the route they came by */
  handleMetadata() {
    clearTimeout(this.timer);
    const route = this.current;
    if (!route) return null;
    rememberRoute(route.route);
    const isNew = this.route !== route.route;
    if (isNew && this.route === null) this.addTracks();
    this.route = route.route;
    return { route, isNew };
  }

  /** Try the next route, since the current one does not work; the position stays. */
  nextRoute(/** @type {string} */ reason) {
    const { route } = this.routes[this.index];
    this.failures.push([route, reason]);
    if (lastRoute() === route) rememberRoute("");
    this.savePosition();
    this.index += 1;
    this.load();
  }

  /** Save the position for the next load. */
  savePosition() {
    const { view } = this;
    if (view.suspension.saved) {
      view.pendingTime = view.suspension.saved.currentTime;
    } else if (view.video.readyState > 0) {
      view.pendingTime = view.video.currentTime;
      view.pendingPlay = !view.video.paused;
    } else if (this.route !== null) {
      view.pendingTime ||= view.lastTime;
    }
  }

  /** Show a message while a condition lasts. */
  showWhile(/** @type {boolean} */ isOn, /** @type {string} */ text) {
    if (isOn) this.view.showMessage(text);
    else if (this.view.error === null) this.view.clearMessages();
  }

  /** Load by the kernel channel: in segments where file and browser support it, else as a whole. */
  async loadByKernel(/** @type {number} */ attempt) {
    const { view } = this;
    const onBusy = (/** @type {boolean} */ isBusy) => this.showWhile(isBusy, kernelBusy(view.name));
    if (canFeed()) {
      const busy = new BusyTimer(onBusy);
      busy.start();
      const found = await this.kernel.readIndex("video", view.signal).catch(() => null);
      busy.stop();
      if (this.isStale(attempt)) return;
      if (found?.index && canFeed(found.index.mime)) {
        this.feeder = new SegmentFeeder(view.video, this.kernel, "video", { ...found, index: found.index }, {
          onBusy,
          onScan: (isScanning) => this.showWhile(isScanning, scanningFile(view.name)),
          onReadError: (reason) => this.nextRoute(reason),
          // Perhaps the browser can play the file as a whole.
          onFeedError: () => this.fallBackToWholeFile(),
        });
        return;
      }
    }
    this.loadWholeFile(attempt, onBusy);
  }

  /** Stop feeding segments and load the whole file, at the same position. */
  fallBackToWholeFile() {
    this.savePosition();
    this.release();
    this.loadWholeFile(this.attempt, (isBusy) => this.showWhile(isBusy, kernelBusy(this.view.name)));
  }

  /** Load the whole file by the kernel channel, with a progress bar. */
  async loadWholeFile(/** @type {number} */ attempt, /** @type {(isBusy: boolean) => void} */ onBusy) {
    const { view } = this;
    const bar = make("progress", "vidnb-loading");
    bar.max = 1;
    bar.value = 0;
    bar.style.width = "100%";
    bar.setAttribute("aria-label", `Loading ${view.name} through the kernel`);
    view.root.append(bar);
    try {
      const file = await this.kernel.readFile("video", (fraction) => { bar.value = fraction; }, onBusy, view.signal);
      if (attempt !== this.attempt) return;
      this.isComplete = true;
      view.video.src = this.blobUrl(file);
    } catch (error) {
      if (!this.isStale(attempt)) this.nextRoute(/** @type {Error} */ (error).message);
    } finally {
      bar.remove();
    }
  }

  /** A URL for a Blob, revoked at the end. */
  blobUrl(/** @type {Blob} */ blob) {
    const url = URL.createObjectURL(blob);
    this.blobUrls.push(url);
    return url;
  }

  /** Read a resource beside the video. */
  async readResource(/** @type {Route} */ route) {
    const { signal } = this.view;
    if (route.route === "kernel") return this.kernel.readFile(String(route.resource), () => {}, () => {}, signal);
    const response = await fetch(route.url, { signal });
    if (!response.ok) throw new Error(String(response.status));
    return new Blob([await response.arrayBuffer()]);
  }

  async setPoster(/** @type {Route} */ route) {
    const { url } = route.url.startsWith("{") ? await fillRoute(route) : route;
    if (this.view.video.poster !== url) this.view.video.poster = url;
  }

  /**
   * Probe the route again if the video does not advance. A route that times out is given a second
   * chance: the browser's six connections to it may be in use by other videos.
   */
  watchForStall(isSecond = false) {
    clearTimeout(this.stallTimer);
    const { attempt, view } = this;
    const { video } = view;
    const { currentTime } = video;
    this.stallTimer = setTimeout(async () => {
      const route = this.current;
      const isStalled = () =>
        !this.isStale(attempt) && video.currentTime === currentTime && video.readyState <= 2 &&
        (!video.paused || video.seeking);
      if (!route?.endpoint || !isStalled()) return;
      const reason = await probe(route, true);
      if (!reason || !isStalled()) return;
      if (reason === TIMED_OUT && !isSecond) this.watchForStall(true);
      else this.nextRoute(`it stopped working: ${reason}`);
    }, STALL_MS);
  }

  /** The route to a resource beside the video. */
  routeTo(/** @type {Route[] | undefined} */ routes) {
    return resourceRoute(routes ?? [], this.routes[this.index], this.routes);
  }

  /** Where the video is loaded from, for the reader. */
  describe(/** @type {Route} */ route) {
    if (route.route === "kernel") return "The video is loaded through the kernel.";
    return `The video is loaded from ${new URL(route.url, location.href).host}.`;
  }

  /** Add the subtitles. */
  async addTracks() {
    const { view } = this;
    /** @type {Track[]} */
    const tracks = view.model.get("tracks") ?? [];
    const texts = tracks.map(async (track) => {
      const route = this.routeTo(track.urls);
      if (!route) throw new Error("no route");
      return new Blob([await this.readResource(await fillRoute(route))], { type: "text/vtt" });
    });
    let isFirst = true;
    for (const [index, text] of (await Promise.allSettled(texts)).entries()) {
      if (view.signal.aborted) return;
      const { lang } = tracks[index];
      const label = tracks[index].label || languageName(lang);
      if (text.status === "rejected") {
        view.showMessage(`The subtitles "${label}" could not be loaded: run the cell again.`);
        continue;
      }
      const track = document.createElement("track");
      // The browser shows the default one; set by `mode` instead, Chromium shows others too.
      Object.assign(track, { kind: "subtitles", label, srclang: lang, src: this.blobUrl(text.value), default: isFirst });
      view.video.append(track);
      isFirst = false;
    }
  }

  /** Handle an error of the video: try again, try the next route, or show a message. */
  async handleError() {
    const { attempt, current: route, view } = this;
    const { code = 0 } = view.video.error ?? {};
    if (!view.video.error || !route || code === 1) return;
    if (this.feeder) {
      this.fallBackToWholeFile();
      return;
    }
    const wasPlaying = !view.video.paused;
    const status = route.route === "kernel" ? 200 : await requestStatus(route.url);
    if (this.isStale(attempt)) return;
    const lastTime = view.suspension.saved?.currentTime ?? view.lastTime;
    const isFile = code === 3 || (code === 4 && status !== null && status > 0 && status < 400);
    const continueThere = () => {
      view.pendingTime = lastTime;
      view.pendingPlay ||= wasPlaying;
    };
    if (code === 2 && status !== null && status < 400 && !this.hasRetried) {
      this.hasRetried = true; // the route works: once more
      continueThere();
      this.load();
    } else if (!isFile && this.index + 1 < this.routes.length) {
      if (this.route !== null) continueThere();
      this.nextRoute(status === null ? NO_RESPONSE : `status ${status || "hidden by the browser"}`);
    } else {
      // Python has checked the file itself; the browser only knows where it gave up.
      const text = (isFile && view.model.get("file_problem")) || mediaErrorMessage(code, view.name, lastTime, status);
      if (text) view.showError(text);
    }
  }

  /** End the current attempt. */
  stop() {
    this.attempt += 1;
    this.feeder?.end();
    this.feeder = null;
    this.isComplete = false;
    clearTimeout(this.timer);
    clearTimeout(this.stallTimer);
  }

  /** Release the connection: without a source the browser closes it. */
  release() {
    this.stop();
    this.view.video.removeAttribute("src");
    this.view.video.load();
  }

  end() {
    this.release();
    for (const url of this.blobUrls) URL.revokeObjectURL(url);
  }
}
