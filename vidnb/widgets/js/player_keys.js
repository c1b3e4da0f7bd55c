// @ts-check
/**
 * The keys, as people know them from the players of the web.
 *
 * `m` sets a marker and `M` (Shift+m) mutes: a marker is what one sets again and again while
 * watching, and the browser's own controls have a button for the sound.
 *
 * @typedef {{
 *   key: string, repeat?: boolean, ctrlKey?: boolean, metaKey?: boolean, altKey?: boolean,
 *   isComposing?: boolean,
 * }} Press
 * @typedef {{
 *   toggle(): void,
 *   seekBy(seconds: number): void,
 *   seekToPart(part: number): void,
 *   step(frames: number): void,
 *   turnRate(steps: number): void,
 *   turnVolume(change: number): void,
 *   toggleMuted(): void,
 *   toggleFullscreen(): void,
 *   setMarker(): void,
 * }} Actions
 */

export const SHORT_S = 5; // what an arrow moves
export const LONG_S = 10; // what J and L move
const VOLUME_STEP = 0.05;

/** @type {Record<string, (actions: Actions) => void>} */
const KEYS = {
  ArrowLeft: (actions) => actions.seekBy(-SHORT_S),
  ArrowRight: (actions) => actions.seekBy(SHORT_S),
  ArrowUp: (actions) => actions.turnVolume(VOLUME_STEP),
  ArrowDown: (actions) => actions.turnVolume(-VOLUME_STEP),
  Home: (actions) => actions.seekToPart(0),
  End: (actions) => actions.seekToPart(1),
  j: (actions) => actions.seekBy(-LONG_S),
  l: (actions) => actions.seekBy(LONG_S),
  ",": (actions) => actions.step(-1),
  ".": (actions) => actions.step(1),
  "<": (actions) => actions.turnRate(-1),
  ">": (actions) => actions.turnRate(1),
};

/** @type {typeof KEYS} keys that do their work once, however long they are held */
const ONCE = {
  " ": (actions) => actions.toggle(),
  k: (actions) => actions.toggle(),
  m: (actions) => actions.setMarker(),
  M: (actions) => actions.toggleMuted(),
  f: (actions) => actions.toggleFullscreen(),
};
for (let tenth = 0; tenth <= 9; tenth += 1) ONCE[tenth] = (actions) => actions.seekToPart(tenth / 10);

/** What a key does, or null for one that is not the player's. @returns {((actions: Actions) => void) | null} */
export function keyAction(/** @type {Press} */ press) {
  if (press.ctrlKey || press.metaKey || press.altKey || press.isComposing) return null;
  const own = (/** @type {typeof KEYS} */ table, /** @type {string} */ key) =>
    Object.hasOwn(table, key) ? table[key] : null;
  const lower = press.key === "M" ? "M" : press.key.length === 1 ? press.key.toLowerCase() : press.key;
  const once = own(ONCE, lower);
  if (once) return press.repeat ? () => {} : once;
  return own(KEYS, lower);
}

/** Whether an element has a use of its own for a key, as a button has for the space bar. */
export function keepsKey(/** @type {{ tagName?: string } | null} */ element, /** @type {string} */ key) {
  const tag = element?.tagName?.toUpperCase() ?? "";
  if (["SELECT", "INPUT", "TEXTAREA"].includes(tag)) return true;
  return tag === "BUTTON" && (key === " " || key === "Enter");
}

/**
 * Hears the keys of a focused player; none of them reaches the notebook, Tab and Escape lead out.
 *
 * The buttons inside <video controls> cannot be seen from the page. Whoever goes to them by Tab
 * means them, so from there on the keys that they use are theirs.
 * @param {HTMLElement} root
 * @param {HTMLVideoElement} video
 * @param {Actions} actions
 * @param {AbortSignal} signal
 */
export function listenToKeys(root, video, actions, signal) {
  let insideControls = false;
  video.addEventListener("focus", () => { insideControls = false; }, { signal });
  root.addEventListener("pointerdown", () => { insideControls = false; }, { signal });
  root.addEventListener("keydown", (event) => {
    if (event.key === "Tab") {
      // Focus that leaves the video by Tab fires `blur`; if it does not, it went inside.
      insideControls = event.target === video;
      return;
    }
    if (event.key === "Escape") return;
    event.stopPropagation();
    const element = /** @type {HTMLElement | null} */ (event.target);
    if (event.defaultPrevented || keepsKey(element, event.key)) return;
    if (insideControls && element === video && /^( |Enter|Arrow.*|Home|End)$/.test(event.key)) return;
    const action = keyAction(event);
    if (!action) return;
    event.preventDefault();
    action(actions);
  }, { signal });
}
