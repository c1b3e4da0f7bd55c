// @ts-check
/** What the player says: times, languages, and a sentence for every failure. */

const CONVERT =
  "H.264 in MP4 and VP9 in WebM play in every browser; ffmpeg converts, as in: " +
  "ffmpeg -i INPUT -c:v libx264 -c:a aac OUTPUT.mp4";

/** Seconds as `h:mm:ss.mmm`; an unknown time as dashes. */
export function timeCode(/** @type {number | null} */ seconds) {
  if (seconds === null || !Number.isFinite(seconds)) return "-:--:--.---";
  const ms = Math.round(Math.max(0, seconds) * 1000);
  const pad = (/** @type {number} */ n, width = 2) => String(n).padStart(width, "0");
  const [h, m, s] = [Math.floor(ms / 3600000), Math.floor(ms / 60000) % 60, Math.floor(ms / 1000) % 60];
  return `${h}:${pad(m)}:${pad(s)}.${pad(ms % 1000, 3)}`;
}

/** A language's name in the reader's own language; the tag itself where it has none. */
export function languageName(/** @type {string} */ tag) {
  try {
    return new Intl.DisplayNames(undefined, { type: "language" }).of(tag) ?? tag;
  } catch {
    return tag;
  }
}

/** Whether a file of this name is meant to have no picture. */
export function isSound(/** @type {string} */ name) {
  return /\.(mp3|m4a|m4b|aac|flac|oga|ogg|opus|wav|weba)$/i.test(name);
}

/** The sentence for a file that is still fetched and is no longer the one that was begun. */
export function becameAnother(/** @type {string} */ name) {
  return `${name} became another file at its source, or cannot be told from one, so it begins anew.`;
}

/** The sentence for a file whose picture the browser cannot decode, while it plays the sound. */
export function onlySound(/** @type {string} */ name) {
  return (
    `This browser plays only the sound of ${name}: it has no decoder for the picture (HEVC and AV1 ` +
    `need one of the system). ${CONVERT}`
  );
}

/**
 * The sentence for a page to which no road leads.
 * @param {string} name the file's
 * @param {string} host the page's
 * @param {string} base where the notebook server lives
 * @param {[string, string][]} tried the roads and why they are closed
 */
export function noRoad(name, host, base, tried) {
  const roads = tried.map(([route, why]) => `${route} (${why})`).join(", ");
  return (
    `${name} waits on the machine where the kernel runs, and this page, which comes from ${host}, cannot reach it. ` +
    `Tried: ${roads || "nothing, since the kernel offered no road"}. If the kernel was stopped, run the cell again. ` +
    `Else install jupyter-server-proxy beside the notebook server, or name a proxy, as in route="${base}proxy/{port}/{path}".`
  );
}

/** The sentence for a player whose kernel was restarted. */
export function kernelGone(/** @type {string} */ name) {
  return `The kernel that served ${name} was restarted: run the cell again.`;
}

/** The sentence for one whose video does not come from the kernel. */
export function playsOn(/** @type {string} */ name) {
  return `The kernel was restarted. ${name} still plays here, but Python steers it no more: run the cell again for that.`;
}

/**
 * The sentence for a MediaError (HTML, section 4.8.11.1), or "" for one that is no fault.
 * @param {number} code 1 aborted, 2 network, 3 decode, 4 source not supported
 * @param {string} name the file's name
 * @param {number} at where it was (s)
 * @param {number | null} status what the server answers now: a status, 0 one it keeps secret, null none
 */
export function sentence(code, name, at, status) {
  if (code === 1) return "";
  if (status === null) {
    return (
      `Nothing answers at the address of ${name}. If the kernel was stopped or restarted, run the ` +
      "cell again; otherwise try again."
    );
  }
  // vidnb's server lets a page read its answers, except the refusal of an address it does not know.
  if (status === 404 || status === 410 || (status === 0 && code !== 3)) {
    return `${name} is no longer served at its address: run the cell again.`;
  }
  if (status >= 400) return `The server answered ${status} for ${name}: run the cell again.`;
  if (code === 2) {
    return `The connection to ${name} broke at ${timeCode(at)}: try again, it goes on from there.`;
  }
  if (code === 3) {
    return (
      `This browser cannot decode ${name} from ${timeCode(at)} on: the file may be damaged or end ` +
      "early. Fetch or write the file again; up to there it plays."
    );
  }
  return (
    `This browser has no decoder for ${name} (many have none for HEVC), or it is no video. ${CONVERT}`
  );
}
