// @ts-check
/** Every text that a reader sees: times, languages, and a sentence for each failure. */

const CONVERT =
  "H.264 in MP4 and VP9 in WebM play in every browser; ffmpeg converts, as in: " +
  "ffmpeg -i INPUT -c:v libx264 -c:a aac OUTPUT.mp4";

const pad = (/** @type {number} */ n, width = 2) => String(n).padStart(width, "0");

/** A time as `h:mm:ss.mmm`; dashes for an unknown time. */
export function timeCode(/** @type {number | null} */ seconds) {
  if (seconds === null || !Number.isFinite(seconds)) return "-:--:--.---";
  const ms = Math.round(Math.max(0, seconds) * 1000);
  const [h, m, s] = [Math.floor(ms / 3600000), Math.floor(ms / 60000) % 60, Math.floor(ms / 1000) % 60];
  return `${h}:${pad(m)}:${pad(s)}.${pad(ms % 1000, 3)}`;
}

/** A time as `m:ss`, or `h:mm:ss` from an hour on. */
export function shortTime(/** @type {number} */ seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h ? `${h}:${pad(m)}:${pad(s)}` : `${m}:${pad(s)}`;
}

/** A playback rate as `0.75×`. */
export function rateName(/** @type {number} */ rate) {
  return `${Math.round(rate * 100) / 100}×`;
}

/** The name of a language in the reader's own language; the tag itself if the browser knows none. */
export function languageName(/** @type {string} */ tag) {
  try {
    return new Intl.DisplayNames(undefined, { type: "language" }).of(tag) ?? tag;
  } catch {
    return tag;
  }
}

/** Whether a file name is that of an audio file. */
export function isAudioFile(/** @type {string} */ name) {
  return /\.(mp3|m4a|m4b|aac|flac|oga|ogg|opus|wav|weba)$/i.test(name);
}

export const AUTOPLAY_BLOCKED =
  "The browser plays sound only after a click in the page: press play, or pass muted=True.";
export const FULLSCREEN_REFUSED =
  "The browser allows full screen only right after a click or a key press in the page: press F in the player.";

/** The source of a file that is still downloading delivers a different file. */
export function sourceChanged(/** @type {string} */ name) {
  return `${name} changed at its source while it was downloaded. The download starts again from the beginning.`;
}

/** The browser decodes the sound of a file but not its picture. */
export function audioOnly(/** @type {string} */ name) {
  return (
    `This browser plays only the sound of ${name}: it has no decoder for the picture (HEVC and AV1 ` +
    `need a decoder of the system). ${CONVERT}`
  );
}

/** The kernel channel delivers nothing while the kernel runs a cell. */
export function kernelBusy(/** @type {string} */ name) {
  return `${name} is loaded through the kernel, which is busy. Loading continues when the running cell has ended.`;
}

/**
 * No route from this page to the file works.
 * @param {string} name the file
 * @param {string} host the host of the page
 * @param {string} base the base URL of the notebook server
 * @param {[string, string][]} tried the routes, each with the reason why it failed
 */
export function noRoute(name, host, base, tried) {
  const routes = tried.map(([route, reason]) => `${route} (${reason})`).join(", ");
  return (
    `${name} is on the machine where the kernel runs, and this page, which comes from ${host}, cannot reach it. ` +
    `Tried: ${routes || "nothing, since the kernel offered no route"}. If the kernel was stopped, run the cell again. ` +
    `Otherwise install jupyter-server-proxy beside the notebook server, or name a proxy, as in ` +
    `route="${base}proxy/{port}/{path}".`
  );
}

/** The kernel that served a file was restarted. */
export function kernelRestarted(/** @type {string} */ name) {
  return `The kernel that served ${name} was restarted: run the cell again.`;
}

/** The kernel was restarted, but the file does not come from the kernel. */
export function playsWithoutKernel(/** @type {string} */ name) {
  return (
    `The kernel was restarted. ${name} still plays here, but Python can no longer control this player: ` +
    "run the cell again."
  );
}

/**
 * The sentence for a MediaError (HTML, section 4.8.11.1); "" for an aborted load, which is no failure.
 * @param {number} code 1 aborted, 2 network, 3 decode, 4 source not supported
 * @param {string} name the file
 * @param {number} at the position (s)
 * @param {number | null} status the status of a request made now; 0 if the browser hides it, null for no response
 */
export function mediaErrorMessage(code, name, at, status) {
  if (code === 1) return "";
  if (status === null) {
    return (
      `The server of ${name} does not respond. If the kernel was stopped or restarted, run the ` +
      "cell again; otherwise try again."
    );
  }
  // vidnb's server allows pages to read its responses, except the refusal of an unknown URL.
  if (status === 404 || status === 410 || (status === 0 && code !== 3)) {
    return `${name} is no longer served at its URL: run the cell again.`;
  }
  if (status >= 400) return `The server responded with status ${status} for ${name}: run the cell again.`;
  if (code === 2) return `The connection to ${name} failed at ${timeCode(at)}: try again to continue from there.`;
  if (code === 3) {
    return (
      `This browser cannot decode ${name} from ${timeCode(at)} on: the file may be damaged or end ` +
      "early. Up to there it plays; download or write the file again."
    );
  }
  return (
    `This browser has no decoder for ${name} (many have none for HEVC), or the file is not a video. ${CONVERT}`
  );
}

/** @type {Record<number, string>} The sentences for a MediaError on a page of `vidnb serve`. */
const PAGE_ERRORS = {
  2: "The connection failed: reload this page to continue.",
  3: "This browser cannot decode the file from here on: it may be damaged or end early.",
  4:
    "This browser cannot play the file: it no longer exists, it is not a video, or there is no decoder for it." +
    " H.264 in MP4 and VP9 in WebM play in every browser.",
};

/** The sentence for a MediaError on a page of `vidnb serve`, where no cell can be run again. */
export function pageErrorMessage(/** @type {number} */ code) {
  return PAGE_ERRORS[code] ?? "";
}
