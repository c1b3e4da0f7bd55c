// @ts-check
/**
 * The messages of a view to Python: by HTTP to the message endpoint beside the video, which receives
 * them while a cell runs, otherwise by the kernel channel. Messages are numbered, so that Python
 * ignores one that arrives by the other route after a newer one.
 *
 * Messages on the kernel channel wait for a handshake. JupyterLab (4.6) gives each widget a subshell,
 * but sends to the main shell until the subshell exists: a message sent before would wait there until
 * the running cell has ended. `hello` is repeated until Python responds with `ack`.
 */

import { isLoopback, messageUrl } from "./routes.js";

const POST_TIMEOUT_MS = 3000; // after that a message goes by the kernel channel
const BACKOFF_MS = 5000; // and so do the others for this time, which doubles with each failure
const MAX_BACKOFF_MS = 5 * 60_000;
const MAX_MESSAGES = 100; // in one request
const HELLO_MS = 500; // until the second hello, doubled for each further one
const MAX_HELLO_MS = 20_000;

export class ViewChannel {
  constructor(/** @type {import("./widget.js").Model} */ model, /** @type {string} */ viewId) {
    this.model = model;
    this.head = { v: 1, view: viewId };
    this.number = 0;
    this.endpoint = "";
    this.backoffUntil = 0;
    this.backoffMs = BACKOFF_MS;
    this.isClosed = false;
    this.isPosting = false;
    /** @type {any[]} */
    this.outbox = [];
    /** @type {object | null} */
    this.ready = null;
    /** @type {Set<string>} */
    this.hosts = new Set();
    this.isAcked = false;
    /** @type {[object, ArrayBuffer[]][]} messages that wait for the handshake */
    this.pending = [];
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.helloTimer = undefined;
  }

  /** Whether messages go by HTTP now. */
  get usesHttp() {
    return this.endpoint !== "" && performance.now() >= this.backoffUntil;
  }

  /** Use the message endpoint of the route that is taken; "" for a route without one. */
  setEndpoint(/** @type {string} */ endpoint) {
    this.endpoint = endpoint;
    Object.assign(this, { backoffUntil: 0, backoffMs: BACKOFF_MS });
    // The first message may still wait in the kernel channel until a cell has ended.
    if (endpoint && this.ready) this.outbox.unshift(this.ready);
  }

  send(/** @type {any} */ content) {
    if (this.isClosed) return;
    this.number += 1;
    const message = { n: this.number, ...content };
    if (content.kind === "ready") this.ready = message;
    if (!this.usesHttp) {
      this.sendByKernel(message);
      return;
    }
    // Of several positions only the newest is of use.
    const last = this.outbox.at(-1);
    if (content.event === "timeupdate" && last?.event === "timeupdate") this.outbox.pop();
    this.outbox.push(message);
    this.flush();
  }

  async flush() {
    if (this.isPosting || !this.outbox.length) return;
    this.isPosting = true;
    const messages = this.outbox.splice(0, MAX_MESSAGES);
    try {
      const body = JSON.stringify({ ...this.head, messages });
      const response = await this.post("state", body, { cache: "no-store", signal: AbortSignal.timeout(POST_TIMEOUT_MS) });
      if (!response.ok) throw new Error(String(response.status));
      this.backoffMs = BACKOFF_MS;
    } catch {
      this.backoffUntil = performance.now() + this.backoffMs;
      this.backoffMs = Math.min(2 * this.backoffMs, MAX_BACKOFF_MS);
      for (const message of [...messages, ...this.outbox.splice(0)]) this.sendByKernel(message);
    }
    this.isPosting = false;
    this.flush();
  }

  /** Post to the endpoint; with a simple content type, which needs no CORS preflight. */
  post(/** @type {string} */ name, /** @type {BodyInit} */ body, /** @type {RequestInit} */ options = {}) {
    const headers = { "Content-Type": "text/plain" };
    return fetch(messageUrl(this.endpoint, name), { method: "POST", headers, body, ...options });
  }

  /** Send by the kernel channel, in order, after the handshake. */
  sendByKernel(/** @type {object} */ message, /** @type {ArrayBuffer[]} */ buffers = []) {
    if (this.isClosed) return;
    if (this.isAcked) {
      this.sendNow(message, buffers);
      return;
    }
    this.pending.push([message, buffers]);
    if (this.pending.length === 1) this.sendHello(HELLO_MS);
  }

  sendHello(/** @type {number} */ nextMs) {
    this.helloTimer = setTimeout(() => this.sendHello(Math.min(2 * nextMs, MAX_HELLO_MS)), nextMs);
    this.sendNow({ kind: "hello" });
  }

  /** Python has responded to a hello. */
  handleAck() {
    clearTimeout(this.helloTimer);
    this.isAcked = true;
    for (const [message, buffers] of this.pending.splice(0)) this.sendNow(message, buffers);
  }

  sendNow(/** @type {object} */ message, /** @type {ArrayBuffer[]} */ buffers = []) {
    try {
      const content = { ...message, ...this.head };
      if (buffers.length) this.model.send(content, undefined, buffers);
      else this.model.send(content);
    } catch {
      // The kernel is gone; the video itself continues.
    }
  }

  /**
   * Tell Python the host by which this page requests `url`, since a proxy may forward it to the server.
   * Only by the kernel channel, to which no other site has access.
   */
  sendPageHost(/** @type {string} */ url) {
    const { hostname } = new URL(url, location.href);
    if (isLoopback(hostname) || this.hosts.has(hostname)) return;
    this.hosts.add(hostname);
    this.sendByKernel({ kind: "page_host", host: hostname });
  }

  /** Send the last message, also from a page that is being unloaded. */
  sendBye() {
    if (this.isClosed) return;
    this.number += 1;
    const bye = { n: this.number, kind: "bye" };
    const messages = [...this.outbox.splice(0), bye];
    if (this.usesHttp) this.post("state", JSON.stringify({ ...this.head, messages }), { keepalive: true }).catch(() => {});
    this.sendNow(bye);
  }

  /** Send a snapshot, or the reason why there is none. */
  async sendSnapshot(/** @type {string} */ number, /** @type {Blob | string} */ picture) {
    const message = { kind: "snapshot", number };
    if (typeof picture === "string") {
      const failure = { ...message, reason: picture };
      if (this.usesHttp) this.send(failure);
      else this.sendByKernel(failure);
      return;
    }
    if (this.usesHttp) {
      try {
        if ((await this.post(`snapshot-${number}`, picture)).ok) return;
      } catch {
        // It goes by the kernel channel.
      }
    }
    this.sendByKernel(message, [await picture.arrayBuffer()]);
  }

  /** The endpoint was closed with the player in Python: the rest goes by the kernel channel. */
  closeEndpoint() {
    this.endpoint = "";
    for (const message of this.outbox.splice(0)) this.sendByKernel(message);
  }

  /** Send nothing from now on. */
  close() {
    this.isClosed = true;
    clearTimeout(this.helloTimer);
    this.outbox.length = 0;
    this.pending.length = 0;
  }
}
