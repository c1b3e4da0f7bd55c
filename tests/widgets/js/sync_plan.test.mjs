// The sync plan of a comparison: a table of decisions, and a simulation of videos that drift.
import assert from "node:assert/strict";
import { test } from "node:test";

import { CORRECT_FROM_S, correctedRate } from "../../../vidnb/widgets/js/drift.js";
import { commonEnd, intersection, ownTime, planSync } from "../../../vidnb/widgets/js/sync_plan.js";

const FRAME_S = 1 / 30;

const video = (changes = {}) => ({
  own_s: 5, duration_s: 60, offset_s: 0, rate: 1, ready: true, seeking: false, paused: false,
  ended: false, audible: false, failed: false, sought_s: null, since_seek_s: 100, ...changes,
});
const target = (changes = {}) => ({ playing: true, gathering: false, t_s: 5, rate: 1, elapsed_s: 0.2, ...changes });

const TABLE = [
  ["synchronised videos need no command", {}, [{}, { own_s: 5.004 }], [{}, {}]],
  ["a video ahead by a frame plays slower", {}, [{}, { own_s: 5 + FRAME_S }], [{}, { rate: 0.93 }]],
  ["a video behind by a frame plays faster", {}, [{}, { own_s: 5 - FRAME_S }], [{}, { rate: 1.07 }]],
  ["a correction continues below its threshold", {}, [{}, { own_s: 5.005, rate: 0.98 }], [{}, { rate: 0.99 }]],
  ["a correction ends without drift", {}, [{}, { own_s: 5.001, rate: 0.99 }], [{}, { rate: 1 }]],
  ["a correction is relative to the common rate", { rate: 0.5 },
    [{ rate: 0.5 }, { own_s: 5.02, rate: 0.5 }], [{}, { rate: 0.48 }]],
  ["a large drift is corrected by a seek", {}, [{}, { own_s: 6 }], [{}, { seek_s: 5 }]],
  ["no second seek directly after a seek", {}, [{}, { own_s: 6, since_seek_s: 0.4 }], [{}, {}]],
  ["the audible video is the leader", {}, [{}, { own_s: 5.02, audible: true }], [{ rate: 1.04 }, {}]],
  ["without an audible video the longest leads", {}, [{}, { own_s: 5.02, duration_s: 90 }], [{ rate: 1.04 }, {}]],
  ["a leader plays at the common rate", {}, [{ rate: 0.95 }, {}], [{ rate: 1 }, {}]],
  ["an offset is not a drift", {}, [{}, { own_s: 7.5, offset_s: 2.5 }], [{}, {}]],
  ["a video that waits for data pauses the others", {}, [{}, { ready: false }], [{ playing: false }, {}]],
  ["a seeking video pauses the others", {}, [{}, { ready: false, seeking: true }], [{ playing: false }, { playing: false }]],
  ["a waiting video is playing, so that it loads data", { gathering: true },
    [{ paused: true }, { ready: false, paused: true }], [{}, { playing: true }]],
  ["a video that played on seeks back", {}, [{ own_s: 5.3 }, { own_s: 5, ready: false }],
    [{ playing: false, seek_s: 5 }, {}]],
  ["all continue once all are ready", { gathering: true }, [{ paused: true }, { paused: true }], [{ playing: true }, { playing: true }]],
  ["a video at another position seeks", { gathering: true }, [{ paused: true }, { paused: true, own_s: 9 }], [{}, { seek_s: 5 }]],
  ["a seek is not repeated", { gathering: true },
    [{ paused: true }, { paused: true, own_s: 9, sought_s: 5 }], [{}, {}]],
  ["a failed video does not pause the others", {}, [{}, { failed: true, ready: false, duration_s: NaN }], [{}, {}]],
  ["a video without a duration pauses the others", {}, [{}, { ready: false, duration_s: NaN, own_s: 0 }],
    [{ playing: false }, {}]],
  ["a shorter video stays at its end", {}, [{}, { own_s: 3, duration_s: 3, ended: true, paused: true }], [{}, {}]],
  ["a shorter video seeks to its end", { gathering: true },
    [{ paused: true }, { own_s: 1, duration_s: 3, paused: true }], [{ playing: true }, { seek_s: 3 }]],
  ["a video plays to its end", {}, [{}, { own_s: 4.9, duration_s: 5 }], [{}, {}]],
  ["a video that ended seeks back", { gathering: true, t_s: 1 },
    [{ own_s: 1, paused: true }, { own_s: 3, duration_s: 3, ended: true, paused: true }], [{}, { seek_s: 1 }]],
  ["a video with a later start waits at its start", {}, [{}, { own_s: 0, offset_s: -9, paused: true }], [{}, {}]],
  ["a video with a later start plays from its time on", {}, [{}, { own_s: 0, offset_s: -5, paused: true }], [{}, { playing: true }]],
  ["a pause pauses and synchronises all", { playing: false, gathering: true },
    [{}, { own_s: 5.01, rate: 0.98 }], [{ playing: false }, { playing: false, rate: 1, seek_s: 5 }]],
];

for (const [name, changes, videos, expected] of TABLE) {
  test(name, () => assert.deepEqual(planSync(target(changes), videos.map(video)).commands.map(rounded), expected));
}

function rounded(command) {
  return Object.fromEntries(Object.entries(command).map(([key, value]) =>
    [key, typeof value === "number" ? Math.round(value * 1e6) / 1e6 : value]));
}

test("the time of the leader is the common time, and waiting videos are listed", () => {
  const leading = planSync(target(), [video({ own_s: 7, offset_s: 1, audible: true }), video({ own_s: 6 })]);
  assert.deepEqual([leading.t_s, leading.gathering, leading.waiting, leading.leader], [6, false, [], 0]);
  const waiting = planSync(target(), [video({ own_s: 5.1 }), video({ own_s: 5, ready: false })]);
  assert.deepEqual([waiting.t_s, waiting.gathering, waiting.waiting], [5, true, [1]]);
});

test("a waiting video far behind does not move the others back", () => {
  assert.equal(planSync(target(), [video(), video({ own_s: 2, ready: false })]).t_s, 5);
});

test("the comparison ends with its last video, once", () => {
  const videos = [video({ own_s: 3, duration_s: 3, ended: true, paused: true }),
    video({ own_s: 8, duration_s: 8, ended: true, paused: true })];
  assert.equal(commonEnd(videos), 8);
  const decision = planSync(target({ t_s: 7.95, elapsed_s: 0.1 }), videos);
  assert.deepEqual([decision.ended, decision.t_s, decision.gathering], [true, 8, true]);
  assert.equal(planSync(target({ t_s: 8, playing: false, gathering: true }), videos).ended, false);
  assert.equal(planSync(target({ t_s: 20, gathering: true }), videos).ended, true);
});

test("without a playing video the common time advances by the elapsed time", () => {
  const videos = [video({ own_s: 3, duration_s: 3, ended: true, paused: true }),
    video({ own_s: 0, offset_s: -9, paused: true })];
  const decision = planSync(target({ t_s: 5, rate: 2, elapsed_s: 0.5 }), videos);
  assert.deepEqual([decision.t_s, decision.ended, decision.leader], [6, false, -1]);
});

test("a plan without a playable video changes nothing", () => {
  for (const videos of [[], [video({ failed: true })]]) {
    const decision = planSync(target(), videos);
    assert.deepEqual([decision.t_s, decision.ended, commonEnd(videos)], [5, false, 0]);
  }
});

test("the buffered ranges are the intersection of all", () => {
  assert.deepEqual(intersection([[[0, 5], [8, 12]], [[3, 9]], [[-2, 30]]]), [[3, 5], [8, 9]]);
  assert.deepEqual(intersection([[[0, 5]], []]), []);
});

test("the time of a video is clamped to its duration", () => {
  const one = video({ duration_s: 10, offset_s: -2 });
  assert.deepEqual([0, 5, 30].map((t_s) => ownTime(one, t_s)), [0, 3, 10]);
});

test("the corrected rate has the right sign and a limit", () => {
  for (const drift of [-9, -0.1, -0.02, 0.02, 0.1, 9]) {
    const rate = correctedRate(drift, 1, false);
    assert.equal(Math.sign(1 - rate), Math.sign(drift));
    assert.ok(Math.abs(1 - rate) <= 0.2001);
  }
  assert.equal(correctedRate(CORRECT_FROM_S, 2, false), 2);
});

/** A simulated video with its own clock speed and random delays from a seeded generator. */
class Model {
  constructor(speed, random, changes = {}) {
    Object.assign(this, {
      ...video({ own_s: 0, paused: true }), speed, random, late_s: 0, delay_s: 0, stallAt_s: Infinity, stall_s: 0, seeks: 0,
      ...changes,
    });
  }
  advance(dt_s) {
    this.since_seek_s += dt_s;
    if (this.seeking && (this.delay_s -= dt_s) <= 0) this.seeking = false;
    if (this.own_s >= this.stallAt_s && this.stall_s > 0) this.stall_s -= dt_s;
    this.ready = !this.seeking && !(this.own_s >= this.stallAt_s && this.stall_s > 0);
    if (this.paused || !this.ready) return;
    if ((this.late_s -= dt_s) > 0) return;
    this.own_s = Math.min(this.duration_s, this.own_s + dt_s * this.rate * this.speed);
    if (this.own_s > this.duration_s - 1e-6) Object.assign(this, { own_s: this.duration_s, ended: true, paused: true });
  }
  apply({ playing, seek_s, rate }) {
    if (rate !== undefined) this.rate = rate;
    if (seek_s !== undefined) {
      Object.assign(this, { own_s: seek_s, sought_s: seek_s, since_seek_s: 0, seeking: true, ready: false, ended: false });
      this.delay_s = 0.05 + 0.1 * this.random();
      this.seeks += 1;
    }
    if (playing === true && !this.ended) {
      this.paused = false;
      this.late_s = 0.12 * this.random();
    }
    if (playing === false) this.paused = true;
  }
  observe() { return { ...this, own_s: this.own_s + (this.paused ? 0 : 0.002 * (this.random() - 0.5)) }; }
}

function seededRandom(seed) {
  let state = seed;
  return () => (state = (state * 16807) % 2147483647) / 2147483647;
}

function run(models, seconds, { rate = 1, watch = () => {} } = {}) {
  let now = target({ t_s: 0, gathering: true, rate });
  for (let tick = 0; tick * 0.02 < seconds; tick += 1) {
    for (const model of models) model.advance(0.02);
    if (tick % 10 && models.every((model) => model.ready || !now.playing)) continue; // an event, or the timer
    const decision = planSync({ ...now, elapsed_s: 0.2 }, models.map((model) => model.observe()));
    decision.commands.forEach((command, index) => models[index].apply(command));
    now = { ...now, t_s: decision.t_s, gathering: decision.gathering, playing: now.playing && !decision.ended };
    watch(tick * 0.02, decision);
  }
  return now;
}

const spread = (models) => {
  const times = models.map((model) => model.own_s - model.offset_s);
  return Math.max(...times) - Math.min(...times);
};

for (const rate of [0.5, 1, 2]) {
  test(`after a minute at rate ${rate} four videos are less than a frame apart`, () => {
    for (let seed = 1; seed <= 40; seed += 1) {
      const random = seededRandom(seed * 7919);
      const models = [0, 1.5, -2, 4].map((offset_s, index) =>
        new Model(1 + 0.004 * (random() - 0.5), random, { offset_s, duration_s: 200, audible: index === 0 }));
      let worst = 0;
      run(models, 60, { rate, watch: (at) => { if (at > 10) worst = Math.max(worst, spread(models)); } });
      assert.ok(worst < FRAME_S, `seed ${seed}: ${worst}`);
      assert.ok(models.every((model) => model.seeks <= 1), "only the offsets cause seeks");
    }
  });
}

test("without corrections the simulated videos drift by more than a frame", () => {
  const random = seededRandom(7919);
  const models = [0, 1, 2, 3].map(() => new Model(1 + 0.004 * (random() - 0.5), random, { paused: false }));
  for (let at = 0; at < 3000; at += 1) for (const model of models) model.advance(0.02);
  assert.ok(spread(models) > FRAME_S);
});

test("a stalled video pauses the others for the length of the stall", () => {
  const random = seededRandom(5);
  const models = [0, 1, 2, 3].map((index) => new Model(1, random, index === 2 ? { stallAt_s: 3, stall_s: 4 } : {}));
  let stalledUntil_s = 0;
  run(models, 20, { watch: (at, { waiting }) => {
    if (!waiting.includes(2)) return;
    stalledUntil_s = at;
    assert.ok(Math.max(...models.map((model) => model.own_s)) < 3.3);
  } });
  assert.ok(stalledUntil_s > 6 && stalledUntil_s < 8);
  assert.ok(Math.min(...models.map((model) => model.own_s)) > 14);
  assert.ok(spread(models) < FRAME_S);
});

test("videos of different lengths and offsets end together", () => {
  const random = seededRandom(11);
  const models = [[4, 0], [9, 3], [2, -7], [12, 0]].map(([duration_s, offset_s]) =>
    new Model(1, random, { duration_s, offset_s }));
  const now = run(models, 16);
  assert.equal(now.playing, false);
  assert.equal(now.t_s, 12);
  assert.deepEqual(models.map(({ own_s }) => own_s), [4, 9, 2, 12]);
});
