// A fake MediaSource, whose appended data are the names of segments, and the text of a playlist.
import assert from "node:assert/strict";

export const SEGMENT_S = 2;
export const TYPE = 'video/mp4; codecs="avc1.64001F,mp4a.40.2"';
export const REMUX = { kind: "remux", variant: "copy.copy", type: TYPE, reason: "the browser does not play Matroska" };
export const TRANSCODE = { kind: "transcode", variant: "h264.aac", type: TYPE, reason: "HEVC is decoded by few browsers" };

export function playlistText({ count = 20, start_s = 0, isComplete = true, last_s = SEGMENT_S } = {}) {
  const lines = ["#EXTM3U", "#EXT-X-VERSION:7", "#EXT-X-TARGETDURATION:2", '#EXT-X-MAP:URI="init.mp4"'];
  if (start_s) lines.push(`#EXT-X-VIDNB-START:${start_s.toFixed(6)}`);
  for (let n = 0; n < count; n += 1) lines.push(`#EXTINF:${(n + 1 < count ? SEGMENT_S : last_s).toFixed(6)},`, `${n}.m4s`);
  if (isComplete) lines.push("#EXT-X-ENDLIST");
  return `${lines.join("\n")}\n`;
}

export const encode = (text) => new TextEncoder().encode(text).buffer;

class FakeBuffer {
  constructor(media, made) {
    Object.assign(this, { media, made, ranges: [], calls: [], quota_s: Infinity, updating: false, timestampOffset: 0 });
  }
  appendBuffer(bytes) {
    assert.ok(!this.updating);
    const name = new TextDecoder().decode(bytes);
    const range = this.made.rangeOf(name);
    if (range && this.seconds() + range[1] - range[0] > this.quota_s) throw new DOMException("full", "QuotaExceededError");
    this.calls.push(`append ${name}`);
    this.media.readyState = "open";
    this.update(() => {
      if (name === this.failsAt) {
        this.onerror();
        return;
      }
      const all = range ? [...this.ranges, [...range]].sort((a, b) => a[0] - b[0]) : this.ranges;
      this.ranges = all.reduce((merged, [from, to]) => {
        const last = merged.at(-1);
        if (last && from <= last[1] + 0.01) last[1] = Math.max(last[1], to);
        else merged.push([from, to]);
        return merged;
      }, []);
      if (this.made.video.readyState === 0) this.made.video.arrive(this.media.duration);
    });
  }
  remove(from, to) {
    assert.ok(!this.updating);
    this.calls.push(`remove ${from} ${to}`);
    this.media.readyState = "open";
    this.update(() => {
      this.ranges = this.ranges.flatMap(([start, end]) =>
        [[start, Math.min(end, from)], [Math.max(start, to), end]].filter(([a, b]) => a < b));
    });
  }
  update(change) {
    this.updating = true;
    setImmediate(() => {
      this.updating = false;
      change();
      this.onupdateend();
    });
  }
  seconds() { return this.ranges.reduce((sum, [from, to]) => sum + to - from, 0); }
}

/** Installs a fake MediaSource; returns what is made of it, and the object URLs. */
export function fakeMediaSource({ supports = () => true, refuses = false } = {}) {
  const made = {
    urls: [],
    revoked: [],
    rangeOf(name) {
      const number = Number.parseInt(name, 10);
      return Number.isNaN(number) ? null : [number * SEGMENT_S, (number + 1) * SEGMENT_S];
    },
    /** The video that is fed: its buffered ranges are those of the buffer. */
    feed(video) {
      made.video = video;
      const list = () => made.buffer?.ranges ?? [];
      Object.defineProperty(video, "buffered", {
        get: () => ({ length: list().length, start: (n) => list()[n][0], end: (n) => list()[n][1] }),
      });
    },
  };
  globalThis.MediaSource = class extends EventTarget {
    static isTypeSupported = supports;
    constructor() {
      super();
      Object.assign(this, { readyState: "closed", duration: NaN, ended: 0 });
      made.media = this;
      setImmediate(() => {
        this.readyState = "open";
        this.dispatchEvent(new Event("sourceopen"));
      });
    }
    addSourceBuffer(type) {
      if (refuses) throw new DOMException("no", "NotSupportedError");
      made.type = type;
      made.buffer = new FakeBuffer(this, made);
      return made.buffer;
    }
    endOfStream() {
      assert.equal(this.readyState, "open");
      this.readyState = "ended";
      this.ended += 1;
    }
  };
  URL.createObjectURL = (object) => {
    made.urls.push(object);
    return `blob:${made.urls.length}`;
  };
  URL.revokeObjectURL = (url) => made.revoked.push(url);
  return made;
}
