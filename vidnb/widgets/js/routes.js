// @ts-check
/**
 * The routes from this page to the bytes: which may be tried, and which work.
 *
 * `endpoint` is the URL of the player's message endpoint on the same route, empty where there is none.
 * It and `url` may begin with a placeholder that only the page can fill: `{base}` or `{colab:PORT}`.
 * `needs` says which page may try the route, `resource` is the kernel's name for the file.
 *
 * @typedef {{
 *   route: string, url: string, endpoint?: string, needs?: string, resource?: string, size_bytes?: number,
 * }} Route
 */

const PROBE_TIMEOUT_MS = 1200;
const LOOPBACK_TIMEOUT_MS = 4000; // loopback refuses at once: where it does not respond, the machine is busy
const POLL_MS = 100;
const PROBE_VALID_MS = 3000;
// Shared by all copies of this script in the page.
const PROBES = Symbol.for("vidnb.probes");
const LAST_ROUTE = Symbol.for("vidnb.route");
export const TIMED_OUT = "no response in time";
export const NO_RESPONSE = "no response";

/** Whether a page with this host name runs on the machine that served it. */
export function isLoopback(/** @type {string} */ hostname) {
  return /^(localhost|.*\.localhost|127(\.[0-9]{1,3}){3}|\[::1\])$/.test(hostname);
}

/** Colab's proxy for ports of the kernel's machine, or null outside of Colab. */
function colabProxy() {
  const colab = /** @type {any} */ (globalThis).google?.colab?.kernel;
  return typeof colab?.proxyPort === "function" ? colab : null;
}

/**
 * Sort the routes that a page of this host may try, best first, and say why not the others.
 *
 * A page from loopback tries the direct route before any proxy: it is the fastest, and a response from
 * an unguessable URL cannot come from another machine. The route that last worked in this page is first.
 * @param {Route[]} routes
 * @param {string} hostname
 * @returns {{ allowed: Route[], excluded: [string, string][] }}
 */
export function sortRoutes(routes, hostname) {
  const isLocal = isLoopback(hostname);
  /** @type {Route[]} */
  const allowed = [];
  /** @type {[string, string][]} */
  const excluded = [];
  for (const route of routes) {
    if (route.needs === "loopback" && !isLocal) {
      excluded.push([route.route, `this page comes from ${hostname || "no host"}, not from the kernel's own machine`]);
    } else if (route.needs === "colab" && !colabProxy()) {
      excluded.push([route.route, "this page is not in Colab"]);
    } else {
      allowed.push(route);
    }
  }
  const last = lastRoute();
  const rank = (/** @type {Route} */ { route }) =>
    route === "template" ? 0 : route === last ? 1 : isLocal && route === "direct" ? 2 : 3;
  return { allowed: allowed.sort((a, b) => rank(a) - rank(b)), excluded };
}

/** The name of the route that last worked in this page; "" for none. @returns {string} */
export function lastRoute() {
  return /** @type {any} */ (globalThis)[LAST_ROUTE] ?? "";
}

/** Remember the route that works for the next players; "" forgets it. */
export function rememberRoute(/** @type {string} */ route) {
  // The kernel channel works, but the next player should look for a faster route.
  /** @type {any} */ (globalThis)[LAST_ROUTE] = route === "kernel" ? "" : route;
}

/** Fill the placeholders of a route. @returns {Promise<Route>} */
export async function fillRoute(/** @type {Route} */ route) {
  const fill = async (/** @type {string} */ text) => {
    const colab = /^\{colab:([0-9]+)\}/.exec(text);
    if (colab) {
      const root = String(await colabProxy().proxyPort(Number(colab[1]), { cache: true }));
      return root.replace(/\/$/, "") + text.slice(colab[0].length);
    }
    return text.startsWith("{base}") ? jupyterBase() + text.slice(6) : text;
  };
  return { ...route, url: await fill(route.url), endpoint: await fill(route.endpoint ?? "") };
}

/**
 * Choose the route to a resource beside the video, a poster or subtitles: the route that the video has
 * taken, since it works; of several with one name the same one. Otherwise the kernel.
 * @param {Route[]} routes to the resource
 * @param {Route | undefined} taken
 * @param {Route[]} videoRoutes
 * @returns {Route | undefined}
 */
export function resourceRoute(routes, taken, videoRoutes) {
  const sameName = (/** @type {Route[]} */ list) => list.filter(({ route }) => route === taken?.route);
  const place = taken ? sameName(videoRoutes).indexOf(taken) : 0;
  const other = routes.find(({ route }) => route === "given" || route === "kernel");
  return sameName(routes)[place] ?? sameName(routes)[0] ?? other ?? routes[0];
}

/** Whether a route can be probed before it is taken. */
export function canProbe(/** @type {Route} */ route) {
  return Boolean(route.endpoint) || route.route === "files" || route.url.startsWith("{");
}

/** The URL of a message, or of `ping`, at a message endpoint. */
export function messageUrl(/** @type {string} */ endpoint, /** @type {string} */ name) {
  const [path, query] = endpoint.split("?", 2);
  return path + name + (query === undefined ? "" : `?${query}`);
}

/**
 * Probe a (filled) route. The endpoints of one server share their result for a few seconds, so that
 * fifty players that are shown at once send one request.
 * @param {Route} route
 * @param {boolean} [again] ignore an earlier result
 * @returns {Promise<string>} the reason why it does not work; "" where it does
 */
export function probe(route, again = false) {
  const { endpoint } = route;
  if (!endpoint) return route.route === "files" ? probeRange(route.url, route.size_bytes) : Promise.resolve("");
  const server = endpoint.replace(/~\/[^/]+\//, "~/");
  /** @type {Map<string, { reason: Promise<string>, ms: number }>} */
  const known = (/** @type {any} */ (globalThis)[PROBES] ??= new Map());
  const before = known.get(server);
  if (before && !again && performance.now() - before.ms < PROBE_VALID_MS) return before.reason;
  const reason = ping(endpoint, route.needs === "loopback" ? LOOPBACK_TIMEOUT_MS : PROBE_TIMEOUT_MS);
  known.set(server, { reason, ms: performance.now() });
  return reason;
}

function ping(/** @type {string} */ endpoint, /** @type {number} */ timeoutMs) {
  const { hostname } = new URL(endpoint, location.href);
  return withTimeout(timeoutMs, async (signal) => {
    const send = () => fetch(messageUrl(endpoint, "ping"), { cache: "no-store", signal });
    let response = await send();
    // Behind a proxy that forwards the page's Host, the server responds once the kernel has received
    // that host by the kernel channel. Its 404 has a header that a notebook server's 404 does not have.
    const isVidnb = () => response.headers.get("Cross-Origin-Resource-Policy") === "cross-origin";
    while (response.status === 404 && isVidnb() && !isLoopback(hostname)) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      if (signal.aborted) return `its server does not allow the host ${hostname}`;
      response = await send();
    }
    if (!response.ok) return `status ${response.status}`;
    return (await response.text()).trim() === "vidnb" ? "" : "another server responds at its URL";
  });
}

/** Probe with a range request; another file of the same name has another size. */
function probeRange(/** @type {string} */ url, /** @type {number | undefined} */ sizeBytes) {
  return withTimeout(PROBE_TIMEOUT_MS, async (signal) => {
    const response = await fetch(url, { headers: { Range: "bytes=0-0" }, cache: "no-store", signal });
    response.body?.cancel().catch(() => {});
    if (response.status !== 206) return `status ${response.status}`;
    const total = Number(response.headers.get("Content-Range")?.split("/")[1]);
    return sizeBytes === undefined || total === sizeBytes ? "" : "another file is at its URL";
  });
}

/**
 * Run a request with a timeout that counts turns of the event loop: a page that is busy itself, as
 * while it loads, receives nothing.
 * @param {number} timeoutMs
 * @param {(signal: AbortSignal) => Promise<string>} request
 */
async function withTimeout(timeoutMs, request) {
  const late = new AbortController();
  let turns = timeoutMs / POLL_MS;
  const timer = setInterval(() => {
    turns -= 1;
    if (turns <= 0) late.abort();
  }, POLL_MS);
  try {
    return await request(late.signal);
  } catch {
    return late.signal.aborted ? TIMED_OUT : NO_RESPONSE;
  } finally {
    clearInterval(timer);
  }
}

/** Request the status of a URL: 0 if the browser hides it, null for no response. @returns {Promise<number | null>} */
export async function requestStatus(/** @type {string} */ url) {
  try {
    return (await fetch(url, { method: "HEAD", cache: "no-store" })).status;
  } catch {
    // Without CORS the status is hidden, but not whether there is a response.
    return fetch(url, { method: "HEAD", cache: "no-store", mode: "no-cors" }).then(() => 0, () => null);
  }
}

/** The base URL of the Jupyter server, from the configuration in its page. */
export function jupyterBase() {
  let base = "/";
  try {
    const config = document.getElementById("jupyter-config-data")?.textContent;
    const { baseUrl } = JSON.parse(config ?? "{}");
    if (typeof baseUrl === "string" && baseUrl.endsWith("/")) base = baseUrl;
  } catch {
    // A page without a readable configuration is at the root.
  }
  return location.origin + base;
}
