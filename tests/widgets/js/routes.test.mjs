// The routes, the probe, the message channel and the kernel reader, without a view.
import assert from "node:assert/strict";
import { test } from "node:test";

import { KernelReader } from "../../../vidnb/widgets/js/kernel_channel.js";
import { ViewChannel } from "../../../vidnb/widgets/js/message_channel.js";
import { TIMED_OUT, fillRoute, messageUrl, probe, rememberRoute, resourceRoute, sortRoutes } from "../../../vidnb/widgets/js/routes.js";


const ENDPOINT = "http://127.0.0.1:9/~/ENDPOINT/";
const DIRECT = { route: "direct", url: "http://127.0.0.1:9/T/a.mp4", endpoint: ENDPOINT, needs: "loopback" };
const PROXY = { route: "proxy", url: "{base}proxy/9/T/a.mp4", endpoint: "{base}proxy/9/~/ENDPOINT/", needs: "" };
const COLAB = { route: "colab", url: "{colab:9}/T/a.mp4", endpoint: "{colab:9}/~/ENDPOINT/", needs: "colab" };
const FILES = { route: "files", url: "{base}files/a.mp4", endpoint: "", needs: "" };
const KERNEL = { route: "kernel", url: "", endpoint: "", needs: "" };
const TEMPLATE = { route: "template", url: "/x/9/T/a.mp4", endpoint: "/x/9/~/ENDPOINT/", needs: "" };
const ALL = [TEMPLATE, COLAB, PROXY, DIRECT, FILES, KERNEL];
const names = (routes) => routes.map(({ route }) => route);
const settle = () => new Promise((resolve) => setTimeout(resolve, 5));

function setPage(hostname) {
  globalThis.location = { hostname, origin: `https://${hostname}`, href: `https://${hostname}/user/me/lab` };
  globalThis.document = { getElementById: () => ({ textContent: '{"baseUrl": "/user/me/"}' }) };
  delete globalThis[Symbol.for("vidnb.probes")];
  delete globalThis[Symbol.for("vidnb.route")];
  delete globalThis.google;
}

test("a page from another host uses the given order, without the routes that exclude it", () => {
  setPage("hub.example");
  const { allowed, excluded } = sortRoutes(ALL, "hub.example");
  assert.deepEqual(names(allowed), ["template", "proxy", "files", "kernel"]);
  assert.deepEqual(excluded, [["colab", "this page is not in Colab"],
    ["direct", "this page comes from hub.example, not from the kernel's own machine"]]);
});

test("a page from loopback prefers the direct route, after a route that the user named", () => {
  setPage("localhost");
  assert.deepEqual(names(sortRoutes(ALL, "localhost").allowed), ["template", "direct", "proxy", "files", "kernel"]);
});

test("a route that worked on this page comes first until it fails", () => {
  setPage("localhost");
  rememberRoute("files");
  assert.deepEqual(names(sortRoutes(ALL, "localhost").allowed), ["template", "files", "direct", "proxy", "kernel"]);
  rememberRoute("kernel");
  assert.deepEqual(names(sortRoutes(ALL, "localhost").allowed), ["template", "direct", "proxy", "files", "kernel"]);
});

test("Colab provides the URL of its proxy", async () => {
  setPage("abc.colab.example");
  const requests = [];
  globalThis.google = { colab: { kernel: { proxyPort: async (...args) => { requests.push(args); return "https://9-abc.example/"; } } } };
  assert.deepEqual(names(sortRoutes([COLAB], "abc.colab.example").allowed), ["colab"]);
  const filled = await fillRoute(COLAB);
  assert.deepEqual([filled.url, filled.endpoint], ["https://9-abc.example/T/a.mp4", "https://9-abc.example/~/ENDPOINT/"]);
  assert.deepEqual(requests[0], [9, { cache: true }]);
});

test("the base URL of the page is the prefix of the proxy and files routes", async () => {
  setPage("hub.example");
  assert.equal((await fillRoute(PROXY)).endpoint, "https://hub.example/user/me/proxy/9/~/ENDPOINT/");
  assert.equal((await fillRoute(FILES)).url, "https://hub.example/user/me/files/a.mp4");
  assert.deepEqual(await fillRoute(DIRECT), DIRECT);
});

test("the name of a message comes before the query", () => {
  assert.equal(messageUrl("/x/?k=1", "ping"), "/x/ping?k=1");
  assert.equal(messageUrl(ENDPOINT, "state"), `${ENDPOINT}state`);
});

for (const [what, route, respond, why] of [
  ["the server itself", DIRECT, () => new Response("vidnb\n"), ""],
  ["a page to sign in", DIRECT, () => new Response("<html>"), "another server responds at its URL"],
  ["a proxy without a server", DIRECT, () => new Response("", { status: 503 }), "status 503"],
  ["a refused connection", DIRECT, () => { throw new TypeError("refused"); }, "no response"],
  ["the file", FILES, () => new Response("x", { status: 206, headers: { "Content-Range": "bytes 0-0/77" } }), ""],
  ["another file", FILES, () => new Response("x", { status: 206, headers: { "Content-Range": "bytes 0-0/78" } }), "another file is at its URL"],
  ["a server without ranges", FILES, () => new Response("x", { status: 200 }), "status 200"],
  ["a route without a probe", KERNEL, () => { throw new Error("never"); }, ""],
]) {
  test(`a probe recognises ${what}`, async () => {
    setPage("localhost");
    globalThis.fetch = async () => respond();
    assert.equal(await probe({ ...route, size_bytes: 77 }), why);
  });
}

test("a probe without a response times out, on loopback later", async (t) => {
  for (const [route, turns] of [[PROXY, 12], [FILES, 12], [DIRECT, 40]]) {
    setPage("localhost");
    t.mock.timers.enable({ apis: ["setInterval"] });
    globalThis.fetch = (url, { signal }) =>
      new Promise((resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    let why = null;
    probe({ ...route, size_bytes: 77 }).then((found) => { why = found; });
    t.mock.timers.tick(100 * (turns - 1));
    await settle();
    assert.equal(why, null, route.route);
    t.mock.timers.tick(100);
    await settle();
    assert.equal(why, TIMED_OUT, route.route);
    t.mock.timers.reset();
  }
});

const refusal = () => new Response("Not Found.", { status: 404, headers: { "Cross-Origin-Resource-Policy": "cross-origin" } });

test("the probe is repeated until the server allows the host of the page", async () => {
  setPage("hub.example");
  let requests = 0;
  globalThis.fetch = async () => {
    requests += 1;
    return requests < 3 ? refusal() : new Response("vidnb\n");
  };
  assert.equal(await probe(await fillRoute(PROXY)), "");
  assert.equal(requests, 3);
});

test("a server that does not allow the host of the page fails with that reason", async (t) => {
  setPage("hub.example");
  t.mock.timers.enable({ apis: ["setInterval"] });
  globalThis.fetch = async () => refusal();
  const why = probe(await fillRoute(PROXY));
  t.mock.timers.tick(1200);
  assert.equal(await why, "its server does not allow the host hub.example");
});

test("a page sends the host of a URL once, and never that of loopback", () => {
  setPage("hub.example");
  const { channel: made, byKernel } = channel();
  made.setEndpoint(ENDPOINT);
  for (const url of [ENDPOINT, "https://hub.example/9/~/ENDPOINT/", "/p/9/~/ENDPOINT/", "https://9.code.example/~/ENDPOINT/"]) made.sendPageHost(url);
  assert.deepEqual(byKernel.map(([{ kind, host }]) => [kind, host]), [["page_host", "hub.example"], ["page_host", "9.code.example"]]);
});

test("players of one page probe one server once", async () => {
  setPage("localhost");
  let requests = 0;
  globalThis.fetch = async () => {
    requests += 1;
    return new Response(requests === 1 ? "vidnb" : "bye");
  };
  const other = { ...DIRECT, endpoint: ENDPOINT.replace("ENDPOINT", "OTHER") };
  assert.deepEqual(await Promise.all([DIRECT, other, DIRECT].map((route) => probe(route))), ["", "", ""]);
  assert.equal(requests, 1);
  assert.equal(await probe(other, true), "another server responds at its URL");
  await probe({ ...DIRECT, endpoint: "/proxy/9/~/ENDPOINT/" });
  assert.equal(requests, 3);
});

/** A channel with its posted messages, its kernel messages, and the responses of the server. */
function channel(respond = () => new Response(null, { status: 204 })) {
  const posted = [];
  const byKernel = [];
  globalThis.fetch = async (url, { body }) => {
    posted.push({ url, body });
    return respond();
  };
  const send = (...args) => (args[0].kind === "hello" ? made.handleAck() : byKernel.push(args));
  const made = new ViewChannel({ send }, "view-1");
  const messages = () => posted.flatMap(({ body }) => JSON.parse(body).messages.map(({ n, event, kind }) => `${n} ${event ?? kind}`));
  return { channel: made, posted, byKernel, messages };
}
const state = (event) => ({ kind: "state", event });

test("messages go by the kernel until a route is chosen, then by HTTP, with the first message again", async () => {
  const { channel: made, posted, byKernel, messages } = channel();
  made.send({ kind: "ready" });
  assert.deepEqual(byKernel, [[{ v: 1, view: "view-1", n: 1, kind: "ready" }]]);
  made.setEndpoint(ENDPOINT);
  made.send(state("route"));
  await settle();
  assert.deepEqual(messages(), ["1 ready", "2 route"]);
  assert.equal(posted[0].url, `${ENDPOINT}state`);
  assert.deepEqual({ ...JSON.parse(posted[0].body), messages: 0 }, { v: 1, view: "view-1", messages: 0 });
  assert.equal(byKernel.length, 1);
});

test("one post at a time, in order, with only the newest position", async () => {
  const { channel: made, posted, messages } = channel();
  made.setEndpoint(ENDPOINT);
  for (const event of ["play", "timeupdate", "timeupdate", "timeupdate", "seeked", "timeupdate"]) made.send(state(event));
  await settle();
  assert.deepEqual(messages(), ["1 play", "4 timeupdate", "5 seeked", "6 timeupdate"]);
  assert.equal(posted.length, 2);
});

test("messages that cannot be posted go by the kernel, as do later ones for 5 s", async (t) => {
  let now = 1000;
  t.mock.method(performance, "now", () => now);
  let status = 404;
  const { channel: made, byKernel, messages } = channel(() => new Response(null, { status }));
  made.setEndpoint(ENDPOINT);
  made.send(state("play"));
  made.send(state("pause"));
  await settle();
  assert.deepEqual(byKernel.map(([{ n }]) => n), [1, 2]);
  assert.equal(made.usesHttp, false);
  made.send(state("seeked"));
  assert.deepEqual(byKernel.map(([{ n }]) => n), [1, 2, 3]);
  now += 5000;
  status = 204;
  made.send(state("ended"));
  await settle();
  assert.equal(byKernel.length, 3);
  assert.equal(messages().at(-1), "4 ended");
});

test("a snapshot is sent on the route of the messages", async () => {
  const { channel: made, posted, byKernel } = channel();
  const blob = new Blob(["png"]);
  await made.sendSnapshot("7", blob);
  assert.deepEqual(byKernel[0][0], { v: 1, view: "view-1", kind: "snapshot", number: "7" });
  assert.equal(byKernel[0][2][0].byteLength, 3);
  await made.sendSnapshot("8", "no frame");
  assert.equal(byKernel[1][0].reason, "no frame");
  made.setEndpoint(ENDPOINT);
  await made.sendSnapshot("9", blob);
  assert.deepEqual([posted[0].url, posted[0].body], [`${ENDPOINT}snapshot-9`, blob]);
  await made.sendSnapshot("10", "no frame");
  await settle();
  assert.equal(JSON.parse(posted[1].body).messages[0].reason, "no frame");
});

test("kernel messages wait for the ack of a hello, and stay in order", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const byKernel = [];
  const made = new ViewChannel({ send: (content, _, buffers) => byKernel.push([content.kind, content.n ?? buffers?.length]) }, "a");
  made.send({ kind: "ready" });
  made.sendByKernel({ kind: "snapshot" }, [new ArrayBuffer(1)]);
  made.send(state("play"));
  for (const [ms, hellos] of [[499, 1], [1, 1], [999, 0], [1, 1]]) {
    t.mock.timers.tick(ms);
    assert.deepEqual(byKernel.splice(0).map(([kind]) => kind), Array(hellos).fill("hello"));
  }
  made.handleAck();
  made.send(state("pause"));
  assert.deepEqual(byKernel, [["ready", 1], ["snapshot", 1], ["state", 2], ["state", 3]]);
  t.mock.timers.tick(100_000);
  assert.equal(byKernel.length, 4);
});

test("a view that has ended sends no hello; its last message needs no ack", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const byKernel = [];
  const made = new ViewChannel({ send: ({ kind }) => byKernel.push(kind) }, "a");
  made.send({ kind: "ready" });
  made.sendBye();
  made.close();
  t.mock.timers.tick(100_000);
  made.handleAck();
  assert.deepEqual(byKernel, ["hello", "bye"]);
});

test("a closed comm is no error", () => {
  const made = new ViewChannel({ send: () => { throw new Error("closed"); } }, "a");
  made.send(state("play"));
  made.sendBye();
  made.close();
});

/** A kernel that has a file of `size` bytes; `change` may alter its responses. */
function kernel(size, change = (content) => content) {
  const requests = [];
  const files = new KernelReader((message) => {
    requests.push(message);
    const { number, start, stop } = message;
    const bytes = new DataView(new Uint8Array(Math.max(0, Math.min(stop, size) - start)).fill(start / 2 ** 21).buffer);
    const content = { number, size_bytes: size, tag: "t", media_type: "video/mp4" };
    queueMicrotask(() => files.handleResponse(change(content, requests.length), content.reason ? [] : [bytes]));
  });
  return { files, requests };
}
const readAll = ({ files }, shares = []) =>
  files.readFile("video", (share) => shares.push(share), () => {}, new AbortController().signal);

test("a file is read range by range, complete and in order", async () => {
  const size = 5 * 2 ** 21 + 3;
  const made = kernel(size);
  const shares = [];
  const blob = await readAll(made, shares);
  assert.deepEqual([blob.size, blob.type], [size, "video/mp4"]);
  assert.deepEqual(made.requests.map(({ start }) => start / 2 ** 21), [0, 1, 2, 3, 4, 5]);
  const bytes = new Uint8Array(await blob.arrayBuffer());
  assert.deepEqual([0, 1, 2, 3, 4, 5].map((n) => bytes[n * 2 ** 21]), [0, 1, 2, 3, 4, 5]);
  assert.equal(shares.at(-1), 1);
});

for (const [what, size, change, pattern] of [
  ["is too large", 2 ** 28 + 1, undefined, /larger than the 256 MiB/],
  ["changes meanwhile", 2 ** 23, (content, n) => ({ ...content, tag: n > 2 ? "other" : "t" }), /it changed while/],
  ["cannot be read", 9, (content) => ({ ...content, reason: "it cannot be read" }), /cannot be read/],
]) {
  test(`a file that ${what} is rejected`, async () => {
    await assert.rejects(readAll(kernel(size, change)), pattern);
  });
}

test("a view that ends requests no more ranges", async () => {
  const files = new KernelReader(() => {});
  const ends = new AbortController();
  const fetching = files.readFile("video", () => {}, () => {}, ends.signal);
  ends.abort();
  await assert.rejects(fetching, /closed/);
});

test("a busy kernel is reported, and its next response", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const reported = [];
  let number = 0;
  const files = new KernelReader((message) => { number = message.number; });
  const fetching = files.readFile("video", () => {}, (isBusy) => reported.push(isBusy), new AbortController().signal);
  t.mock.timers.tick(20000);
  files.handleResponse({ number, size_bytes: 1, tag: "t", media_type: "" }, [new DataView(new ArrayBuffer(1))]);
  await fetching;
  assert.deepEqual(reported, [true, false]);
});

test("a poster or track uses the route of the video, of two proxies the same", () => {
  const second = { ...PROXY, url: "/other/9/T/a.mp4" };
  const routes = [{ ...PROXY, url: "/one.vtt" }, { ...PROXY, url: "/two.vtt" }, { ...DIRECT, url: "/direct.vtt" }, { ...KERNEL, url: "k" }];
  const all = [PROXY, second, DIRECT, FILES];
  const urlFor = (chosen, found = routes) => resourceRoute(found, chosen, all)?.url;
  assert.deepEqual([PROXY, second, DIRECT, FILES].map((route) => urlFor(route)), ["/one.vtt", "/two.vtt", "/direct.vtt", "k"]);
  assert.equal(urlFor(second, routes.slice(0, 1)), "/one.vtt");
  assert.equal(urlFor(PROXY, [{ route: "given", url: "https://x/p.png" }]), "https://x/p.png");
  assert.equal(urlFor(PROXY, []), undefined);
  assert.equal(urlFor(undefined, routes.slice(2, 3)), "/direct.vtt");
});
