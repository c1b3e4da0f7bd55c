// The roads and the channel by themselves: which are tried, who is believed, what goes which way.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

const source = readFileSync(process.env.VIDNB_PLAYER_SCRIPT, "utf8");
const player = await import("data:text/javascript;base64," + Buffer.from(source).toString("base64"));

const BOX = "http://127.0.0.1:9/~/BOX/";
const DIRECT = { route: "direct", url: "http://127.0.0.1:9/T/a.mp4", box: BOX, needs: "loopback" };
const PROXY = { route: "proxy", url: "{base}proxy/9/T/a.mp4", box: "{base}proxy/9/~/BOX/", needs: "" };
const COLAB = { route: "colab", url: "{colab:9}/T/a.mp4", box: "{colab:9}/~/BOX/", needs: "colab" };
const FILES = { route: "files", url: "{base}files/a.mp4", box: "", needs: "" };
const KERNEL = { route: "kernel", url: "", box: "", needs: "" };
const TEMPLATE = { route: "template", url: "/x/9/T/a.mp4", box: "/x/9/~/BOX/", needs: "" };
const ALL = [TEMPLATE, COLAB, PROXY, DIRECT, FILES, KERNEL];
const names = (roads) => roads.map(({ route }) => route);
const settle = () => new Promise((resolve) => setTimeout(resolve, 5));

function on(hostname) {
  globalThis.location = { hostname, origin: `https://${hostname}`, href: `https://${hostname}/user/me/lab` };
  globalThis.document = { getElementById: () => ({ textContent: '{"baseUrl": "/user/me/"}' }) };
  delete globalThis[Symbol.for("vidnb.asked")];
  delete globalThis[Symbol.for("vidnb.road")];
  delete globalThis.google;
}

test("a page from afar takes the order as it comes, without what is not its own", () => {
  on("hub.example");
  const { open, closed } = player.sortRoads(ALL, "hub.example");
  assert.deepEqual(names(open), ["template", "proxy", "files", "kernel"]);
  assert.deepEqual(closed, [["colab", "this page is none of Colab's"],
    ["direct", "this page comes from hub.example, not from the kernel's own machine"]]);
});

test("a page from loopback goes straight, but for what a person named", () => {
  on("localhost");
  assert.deepEqual(names(player.sortRoads(ALL, "localhost").open), ["template", "direct", "proxy", "files", "kernel"]);
});

test("what was good on this page goes first, and is forgotten when it dies", () => {
  on("localhost");
  player.rememberRoad("files");
  assert.deepEqual(names(player.sortRoads(ALL, "localhost").open), ["template", "files", "direct", "proxy", "kernel"]);
  player.rememberRoad("kernel");
  assert.deepEqual(names(player.sortRoads(ALL, "localhost").open), ["template", "direct", "proxy", "files", "kernel"]);
});

test("Colab fills in its own address", async () => {
  on("abc.colab.example");
  const asked = [];
  globalThis.google = { colab: { kernel: { proxyPort: async (...given) => { asked.push(given); return "https://9-abc.example/"; } } } };
  assert.deepEqual(names(player.sortRoads([COLAB], "abc.colab.example").open), ["colab"]);
  const filled = await player.fillRoad(COLAB);
  assert.deepEqual([filled.url, filled.box], ["https://9-abc.example/T/a.mp4", "https://9-abc.example/~/BOX/"]);
  assert.deepEqual(asked[0], [9, { cache: true }]);
});

test("the page's base stands before a proxy and before files", async () => {
  on("hub.example");
  assert.equal((await player.fillRoad(PROXY)).box, "https://hub.example/user/me/proxy/9/~/BOX/");
  assert.equal((await player.fillRoad(FILES)).url, "https://hub.example/user/me/files/a.mp4");
  assert.deepEqual(await player.fillRoad(DIRECT), DIRECT);
});

test("a letter's name goes before a query", () => {
  assert.equal(player.letterUrl("/x/?k=1", "ping"), "/x/ping?k=1");
  assert.equal(player.letterUrl(BOX, "state"), `${BOX}state`);
});

for (const [what, road, answer, why] of [
  ["the server itself", DIRECT, () => new Response("vidnb\n"), ""],
  ["a page to sign in", DIRECT, () => new Response("<html>"), "something else answers at its address"],
  ["a proxy without a server", DIRECT, () => new Response("", { status: 503 }), "its address answered 503"],
  ["nobody", DIRECT, () => { throw new TypeError("refused"); }, "nobody answers at its address"],
  ["the file", FILES, () => new Response("x", { status: 206, headers: { "Content-Range": "bytes 0-0/77" } }), ""],
  ["another file", FILES, () => new Response("x", { status: 206, headers: { "Content-Range": "bytes 0-0/78" } }), "another file answers at its address"],
  ["no ranges", FILES, () => new Response("x", { status: 200 }), "its address answered 200"],
  ["what cannot be asked", KERNEL, () => { throw new Error("never"); }, ""],
]) {
  test(`a sign of life is told from ${what}`, async () => {
    on("localhost");
    globalThis.fetch = async () => answer();
    assert.equal(await player.probe(road, 77), why);
  });
}

test("a silent address is left in time, and loopback later", async (t) => {
  for (const [road, turns] of [[PROXY, 12], [FILES, 12], [DIRECT, 40]]) {
    on("localhost");
    t.mock.timers.enable({ apis: ["setInterval"] });
    globalThis.fetch = (url, { signal }) =>
      new Promise((resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    let why = null;
    player.probe(road, 77).then((found) => { why = found; });
    t.mock.timers.tick(100 * (turns - 1));
    await settle();
    assert.equal(why, null, road.route);
    t.mock.timers.tick(100);
    await settle();
    assert.equal(why, player.LATE, road.route);
    t.mock.timers.reset();
  }
});

const refusal = () => new Response("Not Found.", { status: 404, headers: { "Cross-Origin-Resource-Policy": "cross-origin" } });

test("the server is asked again until it knows this page's name", async () => {
  on("hub.example");
  let asked = 0;
  globalThis.fetch = async () => {
    asked += 1;
    return asked < 3 ? refusal() : new Response("vidnb\n");
  };
  assert.equal(await player.probe(await player.fillRoad(PROXY), 77), "");
  assert.equal(asked, 3);
});

test("a server that never learns this page's name is left with that word", async (t) => {
  on("hub.example");
  t.mock.timers.enable({ apis: ["setInterval"] });
  globalThis.fetch = async () => refusal();
  const why = player.probe(await player.fillRoad(PROXY), 77);
  t.mock.timers.tick(1200);
  assert.equal(await why, "its server does not answer to the name hub.example");
});

test("a page tells the name under which it asks once, and never loopback's", () => {
  on("hub.example");
  const { channel: made, told } = channel();
  made.open(BOX);
  for (const url of [BOX, "https://hub.example/9/~/BOX/", "/p/9/~/BOX/", "https://9.code.example/~/BOX/"]) made.tellName(url);
  assert.deepEqual(told.map(([{ kind, name }]) => [kind, name]), [["name", "hub.example"], ["name", "9.code.example"]]);
});

test("players of one page ask one server once", async () => {
  on("localhost");
  let asked = 0;
  globalThis.fetch = async () => {
    asked += 1;
    return new Response(asked === 1 ? "vidnb" : "gone");
  };
  const other = { ...DIRECT, box: BOX.replace("BOX", "OTHER") };
  assert.deepEqual(await Promise.all([DIRECT, other, DIRECT].map((road) => player.probe(road, null))), ["", "", ""]);
  assert.equal(asked, 1);
  assert.equal(await player.probe(other, null, true), "something else answers at its address");
  await player.probe({ ...DIRECT, box: "/proxy/9/~/BOX/" }, null);
  assert.equal(asked, 3);
});

/** A channel, what it posted, what went by the kernel, and who answers. */
function channel(answer = () => new Response(null, { status: 204 })) {
  const posted = [];
  const told = [];
  globalThis.fetch = async (url, { body }) => {
    posted.push({ url, body });
    return answer();
  };
  const send = (...given) => (given[0].kind === "knock" ? made.welcome() : told.push(given));
  const made = new player.Channel({ send }, "view-1");
  const letters = () => posted.flatMap(({ body }) => JSON.parse(body).letters.map(({ n, event, kind }) => `${n} ${event ?? kind}`));
  return { channel: made, posted, told, letters };
}
const state = (event) => ({ kind: "state", event });

test("before a road is taken, letters go by the kernel; then by HTTP, the first hello again", async () => {
  const { channel: made, posted, told, letters } = channel();
  made.send({ kind: "ready" });
  assert.deepEqual(told, [[{ v: 1, view: "view-1", n: 1, kind: "ready" }]]);
  made.open(BOX);
  made.send(state("route"));
  await settle();
  assert.deepEqual(letters(), ["1 ready", "2 route"]);
  assert.equal(posted[0].url, `${BOX}state`);
  assert.deepEqual({ ...JSON.parse(posted[0].body), letters: 0 }, { v: 1, view: "view-1", letters: 0 });
  assert.equal(told.length, 1);
});

test("one post at a time, in order; of positions the newest", async () => {
  const { channel: made, posted, letters } = channel();
  made.open(BOX);
  for (const event of ["play", "timeupdate", "timeupdate", "timeupdate", "seeked", "timeupdate"]) made.send(state(event));
  await settle();
  assert.deepEqual(letters(), ["1 play", "4 timeupdate", "5 seeked", "6 timeupdate"]);
  assert.equal(posted.length, 2);
});

test("what cannot be posted goes by the kernel, and so does the rest for a while", async (t) => {
  let now = 1000;
  t.mock.method(performance, "now", () => now);
  let status = 404;
  const { channel: made, told, letters } = channel(() => new Response(null, { status }));
  made.open(BOX);
  made.send(state("play"));
  made.send(state("pause"));
  await settle();
  assert.deepEqual(told.map(([{ n }]) => n), [1, 2]);
  assert.equal(made.posts, false);
  made.send(state("seeked"));
  assert.deepEqual(told.map(([{ n }]) => n), [1, 2, 3]);
  now += 5000;
  status = 204;
  made.send(state("ended"));
  await settle();
  assert.equal(told.length, 3);
  assert.equal(letters().at(-1), "4 ended");
});

test("a picture goes where letters go", async () => {
  const { channel: made, posted, told } = channel();
  const blob = new Blob(["png"]);
  await made.sendPicture("7", blob);
  assert.deepEqual(told[0][0], { v: 1, view: "view-1", kind: "picture", number: "7" });
  assert.equal(told[0][2][0].byteLength, 3);
  await made.sendPicture("8", "no frame");
  assert.equal(told[1][0].reason, "no frame");
  made.open(BOX);
  await made.sendPicture("9", blob);
  assert.deepEqual([posted[0].url, posted[0].body], [`${BOX}picture-9`, blob]);
  await made.sendPicture("10", "no frame");
  await settle();
  assert.equal(JSON.parse(posted[1].body).letters[0].reason, "no frame");
});

test("what goes by the kernel waits until a knock is answered, and keeps its order", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const told = [];
  const made = new player.Channel({ send: (content, _, buffers) => told.push([content.kind, content.n ?? buffers?.length]) }, "a");
  made.send({ kind: "ready" });
  made.tell({ kind: "picture" }, [new ArrayBuffer(1)]);
  made.send(state("play"));
  for (const [ms, knocks] of [[499, 1], [1, 1], [999, 0], [1, 1]]) {
    t.mock.timers.tick(ms);
    assert.deepEqual(told.splice(0).map(([kind]) => kind), Array(knocks).fill("knock"));
  }
  made.welcome();
  made.send(state("pause"));
  assert.deepEqual(told, [["ready", 1], ["picture", 1], ["state", 2], ["state", 3]]);
  t.mock.timers.tick(100_000);
  assert.equal(told.length, 4);
});

test("nobody knocks for a view that is over; its last word needs no answer", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const told = [];
  const made = new player.Channel({ send: ({ kind }) => told.push(kind) }, "a");
  made.send({ kind: "ready" });
  made.leave();
  made.close();
  t.mock.timers.tick(100_000);
  made.welcome();
  assert.deepEqual(told, ["knock", "gone"]);
});

test("a kernel that is gone is no error", () => {
  const made = new player.Channel({ send: () => { throw new Error("closed"); } }, "a");
  made.send(state("play"));
  made.leave();
  made.close();
});

/** A kernel that has a file of `size` bytes; `spoil` may change its answers. */
function kernel(size, spoil = (content) => content) {
  const asked = [];
  const files = new player.KernelFiles((letter) => {
    asked.push(letter);
    const { number, start, stop } = letter;
    const bytes = new DataView(new Uint8Array(Math.max(0, Math.min(stop, size) - start)).fill(start / 2 ** 21).buffer);
    const content = { number, size_bytes: size, tag: "t", media_type: "video/mp4" };
    queueMicrotask(() => files.heard(spoil(content, asked.length), content.reason ? [] : [bytes]));
  });
  return { files, asked };
}
const fetchAll = ({ files }, shares = []) =>
  files.fetch("video", (share) => shares.push(share), () => {}, new AbortController().signal);

test("a file comes span after span, whole and in order", async () => {
  const size = 5 * 2 ** 21 + 3;
  const made = kernel(size);
  const shares = [];
  const blob = await fetchAll(made, shares);
  assert.deepEqual([blob.size, blob.type], [size, "video/mp4"]);
  assert.deepEqual(made.asked.map(({ start }) => start / 2 ** 21), [0, 1, 2, 3, 4, 5]);
  const bytes = new Uint8Array(await blob.arrayBuffer());
  assert.deepEqual([0, 1, 2, 3, 4, 5].map((n) => bytes[n * 2 ** 21]), [0, 1, 2, 3, 4, 5]);
  assert.equal(shares.at(-1), 1);
});

for (const [what, size, spoil, pattern] of [
  ["is too large", 2 ** 28 + 1, undefined, /larger than the 256 MiB/],
  ["changes meanwhile", 2 ** 23, (content, n) => ({ ...content, tag: n > 2 ? "other" : "t" }), /it changed/],
  ["is gone", 9, (content) => ({ ...content, reason: "it cannot be read" }), /cannot be read/],
]) {
  test(`a file that ${what} does not come`, async () => {
    await assert.rejects(fetchAll(kernel(size, spoil)), pattern);
  });
}

test("a view that goes asks no more", async () => {
  const files = new player.KernelFiles(() => {});
  const ends = new AbortController();
  const fetching = files.fetch("video", () => {}, () => {}, ends.signal);
  ends.abort();
  await assert.rejects(fetching, /closed/);
});

test("a busy kernel is told of, and when it speaks again", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const said = [];
  let number = 0;
  const files = new player.KernelFiles((letter) => { number = letter.number; });
  const fetching = files.fetch("video", () => {}, (silent) => said.push(silent), new AbortController().signal);
  t.mock.timers.tick(20000);
  files.heard({ number, size_bytes: 1, tag: "t", media_type: "" }, [new DataView(new ArrayBuffer(1))]);
  await fetching;
  assert.deepEqual(said, [true, false]);
});

test("a companion comes by the road that the video has taken, of two proxies by the same", () => {
  const second = { ...PROXY, url: "/other/9/T/a.mp4" };
  const ways = [{ ...PROXY, url: "/one.vtt" }, { ...PROXY, url: "/two.vtt" }, { ...DIRECT, url: "/direct.vtt" }, { ...KERNEL, url: "k" }];
  const all = [PROXY, second, DIRECT, FILES];
  const way = (taken, found = ways) => player.companionRoad(found, taken, all)?.url;
  assert.deepEqual([PROXY, second, DIRECT, FILES].map((road) => way(road)), ["/one.vtt", "/two.vtt", "/direct.vtt", "k"]);
  assert.equal(way(second, ways.slice(0, 1)), "/one.vtt");
  assert.equal(way(PROXY, [{ route: "given", url: "https://x/p.png" }]), "https://x/p.png");
  assert.equal(way(PROXY, []), undefined);
  assert.equal(way(undefined, ways.slice(2, 3)), "/direct.vtt");
});
