// @ts-check
/**
 * The roads from this page to the bytes: which of them may be tried, and who answers at their ends.
 *
 * `box` is the player's mailbox on the same road, empty where there is none; in it and in `url`
 * stand places that only the page can fill: `{base}` and `{colab:PORT}`. `needs` says which page may
 * try the road; `of` is the name by which the kernel knows what lies at its end.
 *
 * @typedef {{ route: string, url: string, box?: string, needs?: string, of?: string }} Road
 */

const PROBE_MS = 1200; // a road that gives no sign of life within this time is left
const LOOPBACK_MS = 4000; // loopback refuses at once: where it is silent, the machine is busy
const TURN_MS = 100;
const ASKED_MS = 3000;
const ASKED = Symbol.for("vidnb.asked");
export const LATE = "nobody answered in time";
const BOXED = Symbol.for("vidnb.road"); // what this page remembers, over all copies of this script

/** Whether a page of this host name runs on the machine it was served from. */
export function isLoopback(/** @type {string} */ hostname) {
  return /^(localhost|.*\.localhost|127(\.[0-9]{1,3}){3}|\[::1\])$/.test(hostname);
}

/** Colab's own way to a port of the kernel's machine, where this page has it. */
function colabProxy() {
  const colab = /** @type {any} */ (globalThis).google?.colab?.kernel;
  return typeof colab?.proxyPort === "function" ? colab : null;
}

/**
 * The roads a page of this host may try, best first, and why not the others.
 *
 * A page from loopback takes the direct road before any proxy: nothing is faster, and a sign of life
 * from an unguessable address cannot come from another machine. What this page took last goes first.
 * @returns {{ open: Road[], closed: [string, string][] }}
 */
export function sortRoads(/** @type {Road[]} */ roads, /** @type {string} */ hostname) {
  const here = isLoopback(hostname);
  /** @type {Road[]} */
  const open = [];
  /** @type {[string, string][]} */
  const closed = [];
  for (const road of roads) {
    if (road.needs === "loopback" && !here) {
      closed.push([road.route, `this page comes from ${hostname || "no host"}, not from the kernel's own machine`]);
    } else if (road.needs === "colab" && !colabProxy()) {
      closed.push([road.route, "this page is none of Colab's"]);
    } else {
      open.push(road);
    }
  }
  const last = recallRoad();
  const rank = (/** @type {Road} */ road) =>
    road.route === "template" ? 0 : road.route === last ? 1 : here && road.route === "direct" ? 2 : 3;
  return { open: open.sort((a, b) => rank(a) - rank(b)), closed };
}

/** The name of the road that was good on this page, if any. */
export function recallRoad() {
  return /** @type {any} */ (globalThis)[BOXED] ?? "";
}

/** Remembers a road for the players that come; "" forgets it. */
export function rememberRoad(/** @type {string} */ route) {
  // By way of the kernel a player works, but the next one should look for something better.
  /** @type {any} */ (globalThis)[BOXED] = route === "kernel" ? "" : route;
}

/**
 * The road with all its places filled.
 * @returns {Promise<Road>}
 */
export async function fillRoad(/** @type {Road} */ road) {
  const fill = async (/** @type {string} */ text) => {
    const colab = /^\{colab:([0-9]+)\}/.exec(text);
    if (colab) {
      const root = String(await colabProxy().proxyPort(Number(colab[1]), { cache: true }));
      return root.replace(/\/$/, "") + text.slice(colab[0].length);
    }
    return text.startsWith("{base}") ? location.origin + jupyterBase() + text.slice(6) : text;
  };
  return { ...road, url: await fill(road.url), box: await fill(road.box ?? "") };
}

/**
 * The way to a companion of a video, a poster or subtitles: by the road that the video has taken,
 * which has answered; of several with one name by the same. Else by the kernel.
 * @param {Road[]} ways
 * @param {Road | undefined} taken
 * @param {Road[]} all the roads to the video, of which one is taken
 * @returns {Road | undefined}
 */
export function companionRoad(ways, taken, all) {
  const alike = (/** @type {Road[]} */ roads) => roads.filter(({ route }) => route === taken?.route);
  const place = taken ? alike(all).indexOf(taken) : 0;
  const other = ways.find(({ route }) => route === "given" || route === "kernel");
  return alike(ways)[place] ?? alike(ways)[0] ?? other ?? ways[0];
}

/** Whether a road can be asked for a sign of life before it is taken. */
export function canProbe(/** @type {Road} */ road) {
  return Boolean(road.box) || road.route === "files" || road.url.startsWith("{");
}

/** The address of one letter, or of `ping`, in a mailbox. */
export function letterUrl(/** @type {string} */ box, /** @type {string} */ name) {
  const [path, query] = box.split("?", 2);
  return path + name + (query === undefined ? "" : `?${query}`);
}

/**
 * Why a (filled) road is closed; "" where it is open.
 *
 * All mailboxes of one server answer by the same road, so one sign of life counts for a few seconds
 * for every player of the page: fifty that are shown at once ask once.
 * @param {Road} road
 * @param {number | null} sizeBytes of the file, which another file of its name would not have
 * @param {boolean} [again] ask anew
 * @returns {Promise<string>}
 */
export function probe(road, sizeBytes, again = false) {
  if (!road.box) return road.route === "files" ? askForRange(road.url, sizeBytes) : Promise.resolve("");
  const server = road.box.replace(/~\/[^/]+\//, "~/");
  /** @type {Map<string, { why: Promise<string>, ms: number }>} */
  const known = (/** @type {any} */ (globalThis)[ASKED] ??= new Map());
  const before = known.get(server);
  if (before && !again && performance.now() - before.ms < ASKED_MS) return before.why;
  const why = ping(road.box, road.needs === "loopback" ? LOOPBACK_MS : PROBE_MS);
  known.set(server, { why, ms: performance.now() });
  return why;
}

function ping(/** @type {string} */ box, /** @type {number} */ patienceMs) {
  const { hostname } = new URL(box, location.href);
  return answerTo(patienceMs, async (signal) => {
    let answer = await fetch(letterUrl(box, "ping"), { cache: "no-store", signal });
    // By a proxy that passes this page's name on, the server answers once the kernel has heard that
    // name from the page. Its refusals bear a mark that a notebook server's do not.
    const mark = () => answer.headers.get("Cross-Origin-Resource-Policy");
    while (answer.status === 404 && mark() === "cross-origin" && !isLoopback(hostname)) {
      await new Promise((resolve) => setTimeout(resolve, TURN_MS));
      if (signal.aborted) return `its server does not answer to the name ${hostname}`;
      answer = await fetch(letterUrl(box, "ping"), { cache: "no-store", signal });
    }
    if (!answer.ok) return `its address answered ${answer.status}`;
    return (await answer.text()).trim() === "vidnb" ? "" : "something else answers at its address";
  });
}

function askForRange(/** @type {string} */ url, /** @type {number | null} */ sizeBytes) {
  return answerTo(PROBE_MS, async (signal) => {
    const answer = await fetch(url, { headers: { Range: "bytes=0-0" }, cache: "no-store", signal });
    answer.body?.cancel().catch(() => {});
    if (answer.status !== 206) return `its address answered ${answer.status}`;
    const total = Number(answer.headers.get("Content-Range")?.split("/")[1]);
    return sizeBytes === null || total === sizeBytes ? "" : "another file answers at its address";
  });
}

/**
 * What a question finds, or that there was no answer within the patience (ms).
 *
 * That counts in turns of the page: while it is busy itself, as one that begins is, it hears nothing.
 * @param {number} patienceMs
 * @param {(signal: AbortSignal) => Promise<string>} question
 */
async function answerTo(patienceMs, question) {
  const late = new AbortController();
  let turns = patienceMs / TURN_MS;
  const timer = setInterval(() => {
    turns -= 1;
    if (turns <= 0) late.abort();
  }, TURN_MS);
  try {
    return await question(late.signal);
  } catch {
    return late.signal.aborted ? LATE : "nobody answers at its address";
  } finally {
    clearInterval(timer);
  }
}

/** What a server answers about `url`: its status, 0 if that is kept secret, null if nothing. */
export async function ask(/** @type {string} */ url) {
  try {
    return (await fetch(url, { method: "HEAD", cache: "no-store" })).status;
  } catch {
    // Without CORS the status is secret, but whether anyone answers is not.
    return fetch(url, { method: "HEAD", cache: "no-store", mode: "no-cors" }).then(() => 0, () => null);
  }
}

/** Where jupyter_server lives below this host, from the page's own configuration. */
export function jupyterBase() {
  try {
    const config = document.getElementById("jupyter-config-data")?.textContent;
    const base = JSON.parse(config ?? "{}").baseUrl;
    return typeof base === "string" && base.endsWith("/") ? base : "/";
  } catch {
    return "/";
  }
}
