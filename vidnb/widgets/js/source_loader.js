// @ts-check
/**
 * Loads the source of one view: tries the routes in their order, takes the first that works, and
 * continues with the next one where a route fails. On a route it takes the first delivery that the
 * browser plays, and continues with the next one where it fails to decode it.
 *
 * @typedef {import("./deliveries.js").Delivery} Delivery
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

import { chooseDelivery, hasPicture } from "./deliveries.js";
import { make } from "./elements.js";
import { FileError, KernelReader } from "./kernel_channel.js";
import { audioOnly, kernelBusy, languageName, mediaErrorMessage, noRoute } from "./messages.js";
import {
  NO_RESPONSE, TIMED_OUT, canProbe, fillRoute, jupyterBase, lastRoute, probe, rememberRoute, requestStatus,
  resourceRoute, sortRoutes,
} from "./routes.js";
import { SegmentFeeder, canFeed, playSegments, playsSegments } from "./segment_feeder.js";
import { ReadError, kernelReader } from "./segment_reader.js";

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
    /** @type {Delivery | null} what is loaded on it */
    this.delivery = null;
    /** @type {Delivery["kind"] | null} by which the video was loaded */
    this.kind = null;
    this.isWaiting = false; // for Python to send the deliveries
    /** @type {Set<string>} the variants that the browser failed to decode */
    this.failed = new Set();
    this.problem = ""; // the sentence about the first of them
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
    this.forgetFailures();
  }

  /** Forget what the browser failed to decode, as of a file that changed. */
  forgetFailures() {
    this.failed.clear();
    this.problem = "";
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
    this.deliver();
  }

  /** The delivery to choose on a route; null for none. */
  choose(/** @type {string} */ route) {
    const { model, video } = this.view;
    /** @type {Delivery[]} */
    const left = (model.get("deliveries") ?? []).filter((/** @type {Delivery} */ { variant }) => !this.failed.has(variant));
    return chooseDelivery(left, route, (type) => video.canPlayType(type) !== "",
      (type) => (route === "kernel" ? canFeed(type) : playsSegments(video, type)));
  }

  /** Load the video on the current route, once Python has sent the deliveries. */
  deliver() {
    const { attempt, current: route, view: { generation, model, name, video } } = this;
    if (!route) return;
    this.isWaiting = !model.get("deliveries");
    if (this.isWaiting) return;
    const delivery = this.delivery = this.choose(route.route);
    if (!delivery) {
      if (model.get("deliveries").length) this.nextRoute("it delivers the file alone, which this browser does not play");
      else this.view.showError(this.knownProblem() || mediaErrorMessage(4, name, 0, 200));
      return;
    }
    const onError = (/** @type {Error} */ error) => this.handleFeedError(error);
    if (route.route === "kernel") {
      const onBusy = (/** @type {boolean} */ isBusy) => this.showWhile(isBusy, kernelBusy(name));
      if (delivery.kind === "direct") {
        this.loadWholeFile(attempt, onBusy);
      } else {
        const read = kernelReader(this.kernel, "video", delivery.variant, onBusy);
        this.feeder = new SegmentFeeder(video, read, delivery.type, onError);
      }
      return;
    }
    // A URL of its own, since the browser's cache holds bytes of the file before.
    const query = generation ? `${route.url.includes("?") ? "&" : "?"}generation=${generation}` : "";
    if (delivery.kind === "direct") video.src = route.url + query;
    else this.feeder = playSegments(video, route.url + query, delivery, onError);
    if (this.index + 1 < this.routes.length) {
      const timeoutMs = canProbe(route) ? PROBED_TIMEOUT_MS : ROUTE_TIMEOUT_MS;
      this.timer = setTimeout(() => this.nextRoute("no video in time"), timeoutMs);
    }
  }

  /** Python has sent the deliveries. */
  handleDeliveries() {
    if (this.isWaiting) this.deliver();
  }

  /** Whether the video is made of segments, whose times begin at 0. */
  get isFed() {
    return this.delivery !== null && this.delivery.kind !== "direct";
  }

  /** What Python knows to be wrong with the file. */
  knownProblem() {
    const { model } = this.view;
    return model.get("file_problem") || model.get("playback_problem") || "";
  }

  /**
   * Load the next delivery that the browser may decode, on this route or a later one; the position stays.
   * @returns {boolean} whether there is one
   */
  nextDelivery(/** @type {string} */ problem) {
    this.failed.add(this.delivery?.variant ?? "");
    this.problem ||= problem;
    const next = this.routes.findIndex(({ route }, index) => index >= this.index && this.choose(route));
    if (next < 0) return false;
    this.view.pendingPlay ||= !this.view.video.paused;
    if (next > this.index) {
      this.nextRoute("this browser cannot decode the file");
    } else {
      this.savePosition();
      this.stop();
      this.deliver();
    }
    return true;
  }

  /** The browser cannot be fed, or no segments can be read. */
  handleFeedError(/** @type {Error} */ error) {
    const { view } = this;
    if (!(error instanceof ReadError)) {
      const text = error instanceof FileError ? error.message : mediaErrorMessage(3, view.name, view.lastTime, 200);
      if (!this.nextDelivery(text)) this.fail(this.problem);
    } else if (this.route === null || this.index + 1 < this.routes.length) {
      this.nextRoute(error.message);
    } else {
      this.fail(mediaErrorMessage(2, view.name, view.lastTime, error.status));
    }
  }

  /** Nothing is left to try. */
  fail(/** @type {string} */ text) {
    // Controls of a video whose source never loads show that it is loading.
    if (this.view.video.readyState === 0) this.release();
    else this.stop();
    this.view.showError(text);
  }

  /** The metadata are loaded. @returns {{ route: Route, isNew: boolean } | null} the route they came by */
  handleMetadata() {
    clearTimeout(this.timer);
    const { current: route, delivery, view } = this;
    if (!route || !delivery) return null;
    // A browser without a decoder for the picture plays the sound alone and reports no error.
    const isBlind = view.video.videoWidth === 0 && hasPicture(delivery.type);
    if (isBlind && this.nextDelivery(audioOnly(view.name))) return null;
    rememberRoute(route.route);
    const isNew = this.route !== route.route || this.kind !== delivery.kind;
    if (this.route === null) this.addTracks();
    this.route = route.route;
    this.kind = delivery.kind;
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
      const text = mediaErrorMessage(code, view.name, view.lastTime, 200);
      if (!this.nextDelivery(text)) this.fail(this.problem);
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
    // Python has checked the file itself; the browser only knows where it gave up.
    const text = (isFile && this.knownProblem()) || mediaErrorMessage(code, view.name, lastTime, status);
    // Of a file that ends early segments have no more.
    if (isFile && !view.model.get("file_problem") && this.nextDelivery(text)) return;
    if (code === 2 && status !== null && status < 400 && !this.hasRetried) {
      this.hasRetried = true; // the route works: once more
      continueThere();
      this.load();
    } else if (!isFile && this.index + 1 < this.routes.length) {
      if (this.route !== null) continueThere();
      this.nextRoute(status === null ? NO_RESPONSE : `status ${status || "hidden by the browser"}`);
    } else {
      const shown = (isFile && this.problem) || text;
      if (shown) view.showError(shown);
    }
  }

  /** End the current attempt. */
  stop() {
    this.attempt += 1;
    this.feeder?.end();
    this.feeder = null;
    this.isWaiting = false;
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
