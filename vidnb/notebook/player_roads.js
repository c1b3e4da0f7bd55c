// @ts-check
/**
 * The roads from this page to the bytes: which of them may be tried, and who answers at their ends.
 *
 * @typedef {{ route: string, url: string, loopback_only: boolean }} Road
 */

/** Whether a page of this host name runs on the machine it was served from. */
export function isLoopback(/** @type {string} */ hostname) {
  return /^(localhost|.*\.localhost|127(\.[0-9]{1,3}){3}|\[::1\])$/.test(hostname);
}

/** @returns {{ open: Road[], closed: Road[] }} the roads a page of this host may and may not try */
export function sortRoads(/** @type {Road[]} */ roads, /** @type {string} */ hostname) {
  const here = isLoopback(hostname);
  return {
    open: roads.filter((road) => here || !road.loopback_only),
    closed: roads.filter((road) => !here && road.loopback_only),
  };
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
