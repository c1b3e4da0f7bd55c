// @ts-check
/**
 * How a view talks to Python: by HTTP to the mailbox beside the video, which is heard while a cell
 * runs, else by the kernel's own channel. Every letter has a number, so that one which comes late
 * on the other road is known as old.
 *
 * What goes by the kernel's channel waits until the kernel has answered a knock. JupyterLab (4.6)
 * gives each widget a shell of its own there, but sends to the one that runs the cells until it
 * stands: a letter of that moment would lie there until the cell has ended.
 */
import { isLoopback, letterUrl } from "./player_roads.js";

const POST_MS = 3000; // a letter that takes longer goes by the kernel's channel
const REST_MS = 5000; // and so do the others, for so long, and twice as long each time it happens again
const LONGEST_REST_MS = 5 * 60_000;
const MOST_LETTERS = 100; // in one post
const KNOCK_MS = 500; // to the second knock, and twice as long to each that follows
const LONGEST_KNOCK_MS = 20_000;

export class Channel {
  constructor(/** @type {import("./player.js").Model} */ model, /** @type {string} */ view) {
    this.model = model;
    this.head = { v: 1, view };
    this.number = 0;
    this.box = "";
    this.restsUntil = 0;
    this.restMs = REST_MS;
    this.closed = false;
    this.posting = false;
    /** @type {any[]} */
    this.waiting = [];
    /** @type {object | null} */
    this.hello = null;
    /** @type {Set<string>} */
    this.names = new Set();
    this.welcomed = false;
    /** @type {[object, ArrayBuffer[]][]} letters that wait at the kernel's door */
    this.atTheDoor = [];
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.knocking = undefined;
  }

  /** Whether letters go by HTTP now. */
  get posts() {
    return this.box !== "" && performance.now() >= this.restsUntil;
  }

  /** Takes the mailbox of the road that is taken; "" where it has none. */
  open(/** @type {string} */ box) {
    this.box = box;
    Object.assign(this, { restsUntil: 0, restMs: REST_MS });
    // Sent by the kernel's channel before, where it may lie until a cell has ended.
    if (box && this.hello) this.waiting.unshift(this.hello);
  }

  send(/** @type {any} */ content) {
    if (this.closed) return;
    this.number += 1;
    const letter = { n: this.number, ...content };
    if (content.kind === "ready") this.hello = letter;
    if (!this.posts) {
      this.tell(letter);
      return;
    }
    // Of positions only the newest is worth the way.
    const last = this.waiting.at(-1);
    if (content.event === "timeupdate" && last?.event === "timeupdate") this.waiting.pop();
    this.waiting.push(letter);
    this.post();
  }

  async post() {
    if (this.posting || !this.waiting.length) return;
    this.posting = true;
    const letters = this.waiting.splice(0, MOST_LETTERS);
    try {
      const answer = await fetch(letterUrl(this.box, "state"), {
        method: "POST",
        // A plain type, so that the browser asks no question before each letter.
        headers: { "Content-Type": "text/plain" },
        body: JSON.stringify({ ...this.head, letters }),
        cache: "no-store",
        signal: AbortSignal.timeout(POST_MS),
      });
      if (!answer.ok) throw new Error(String(answer.status));
      this.restMs = REST_MS;
    } catch {
      this.restsUntil = performance.now() + this.restMs;
      this.restMs = Math.min(2 * this.restMs, LONGEST_REST_MS);
      for (const letter of [...letters, ...this.waiting.splice(0)]) this.tell(letter);
    }
    this.posting = false;
    this.post();
  }

  /** Sends by the kernel's own channel, in the order in which it was told. */
  tell(/** @type {object} */ letter, /** @type {ArrayBuffer[]} */ buffers = []) {
    if (this.closed) return;
    if (this.welcomed) {
      this.pass(letter, buffers);
      return;
    }
    this.atTheDoor.push([letter, buffers]);
    if (this.atTheDoor.length === 1) this.knock(KNOCK_MS);
  }

  knock(/** @type {number} */ patienceMs) {
    this.knocking = setTimeout(() => this.knock(Math.min(2 * patienceMs, LONGEST_KNOCK_MS)), patienceMs);
    this.pass({ kind: "knock" });
  }

  /** The kernel hears. */
  welcome() {
    clearTimeout(this.knocking);
    this.welcomed = true;
    for (const [letter, buffers] of this.atTheDoor.splice(0)) this.pass(letter, buffers);
  }

  pass(/** @type {object} */ letter, /** @type {ArrayBuffer[]} */ buffers = []) {
    try {
      const content = { ...letter, ...this.head };
      if (buffers.length) this.model.send(content, undefined, buffers);
      else this.model.send(content);
    } catch {
      // The kernel is gone; the video itself goes on.
    }
  }

  /**
   * Tells Python under which name this page will ask for `url`, which a proxy may pass on to the
   * server; by the kernel's own channel, where no foreign page can say so.
   */
  tellName(/** @type {string} */ url) {
    const { hostname } = new URL(url, location.href);
    if (isLoopback(hostname) || this.names.has(hostname)) return;
    this.names.add(hostname);
    this.tell({ kind: "name", name: hostname });
  }

  /** Says the last thing, also from a page that is being left. */
  leave() {
    if (this.closed) return;
    this.number += 1;
    const letter = { n: this.number, kind: "gone" };
    const letters = [...this.waiting.splice(0), letter];
    if (this.posts) {
      fetch(letterUrl(this.box, "state"), {
        method: "POST",
        headers: { "Content-Type": "text/plain" },
        body: JSON.stringify({ ...this.head, letters }),
        keepalive: true,
      }).catch(() => {});
    }
    this.pass(letter);
  }

  /** Sends a picture, or why there is none. */
  async sendPicture(/** @type {string} */ number, /** @type {Blob | string} */ picture) {
    const letter = { kind: "picture", number };
    if (typeof picture === "string") {
      const told = { ...letter, reason: picture };
      if (this.posts) this.send(told);
      else this.tell(told);
      return;
    }
    if (this.posts) {
      try {
        const url = letterUrl(this.box, `picture-${number}`);
        const answer = await fetch(url, { method: "POST", headers: { "Content-Type": "text/plain" }, body: picture });
        if (answer.ok) return;
      } catch {
        // By the other road then.
      }
    }
    this.tell(letter, [await picture.arrayBuffer()]);
  }

  /** The mailbox is gone with the player that Python has closed: what is left goes by the kernel. */
  shut() {
    this.box = "";
    for (const letter of this.waiting.splice(0)) this.tell(letter);
  }

  /** Nobody is there to hear it: says nothing more. */
  close() {
    this.closed = true;
    clearTimeout(this.knocking);
    this.waiting.length = 0;
    this.atTheDoor.length = 0;
  }
}
