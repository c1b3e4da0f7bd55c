// @ts-check
/**
 * The keyboard shortcuts of players, comparisons and the server's page: one table for all.
 *
 * `m` sets a marker and Shift+M mutes: markers are set again and again while watching, and the
 * browser's own controls have a button for the sound. Where there are no markers, `m` does nothing.
 *
 * @typedef {{
 *   key: string, repeat?: boolean, ctrlKey?: boolean, metaKey?: boolean, altKey?: boolean,
 *   isComposing?: boolean,
 * }} KeyPress
 * @typedef {{
 *   toggle(): void,
 *   seekBy(seconds: number): void,
 *   seekToFraction(fraction: number): void,
 *   step(frames: number): void,
 *   changeRate(steps: number): void,
 *   changeVolume(change: number): void,
 *   toggleMuted(): void,
 *   toggleFullscreen(): void,
 *   setMarker(): void,
 * }} KeyActions
 */

const ARROW_S = 5;
const JL_S = 10;
const VOLUME_STEP = 0.05;

/** @type {Record<string, (actions: KeyActions) => void>} */
const REPEATING = {
  ArrowLeft: (actions) => actions.seekBy(-ARROW_S),
  ArrowRight: (actions) => actions.seekBy(ARROW_S),
  ArrowUp: (actions) => actions.changeVolume(VOLUME_STEP),
  ArrowDown: (actions) => actions.changeVolume(-VOLUME_STEP),
  Home: (actions) => actions.seekToFraction(0),
  End: (actions) => actions.seekToFraction(1),
  j: (actions) => actions.seekBy(-JL_S),
  l: (actions) => actions.seekBy(JL_S),
  ",": (actions) => actions.step(-1),
  ".": (actions) => actions.step(1),
  "<": (actions) => actions.changeRate(-1),
  ">": (actions) => actions.changeRate(1),
};

/** @type {typeof REPEATING} keys that act once, however long they are held */
const ONCE = {
  " ": (actions) => actions.toggle(),
  k: (actions) => actions.toggle(),
  m: (actions) => actions.setMarker(),
  M: (actions) => actions.toggleMuted(),
  f: (actions) => actions.toggleFullscreen(),
};
for (let tenth = 0; tenth <= 9; tenth += 1) ONCE[tenth] = (actions) => actions.seekToFraction(tenth / 10);

/** The action of a key, or null for a key without one. @returns {((actions: KeyActions) => void) | null} */
export function keyAction(/** @type {KeyPress} */ press) {
  if (press.ctrlKey || press.metaKey || press.altKey || press.isComposing) return null;
  const find = (/** @type {typeof REPEATING} */ table, /** @type {string} */ key) =>
    Object.hasOwn(table, key) ? table[key] : null;
  const key = press.key.length === 1 && press.key !== "M" ? press.key.toLowerCase() : press.key;
  const once = find(ONCE, key);
  if (once) return press.repeat ? () => {} : once;
  return find(REPEATING, key);
}

/** Whether an element uses a key itself, as a button uses the space bar. */
export function usesKey(/** @type {{ tagName?: string } | null} */ element, /** @type {string} */ key) {
  const tag = element?.tagName?.toUpperCase() ?? "";
  if (["SELECT", "INPUT", "TEXTAREA"].includes(tag)) return true;
  return ["BUTTON", "A", "SUMMARY"].includes(tag) && (key === " " || key === "Enter");
}

/**
 * Bind the keyboard shortcuts to the key presses inside `root`. They do not reach the notebook; Tab
 * and Escape do.
 *
 * A page cannot see the focus on the buttons inside `<video controls>`. After Tab has moved there, the
 * keys that these buttons use are left to them.
 * @param {EventTarget} root
 * @param {HTMLVideoElement | null} video the one whose own controls can have the focus
 * @param {KeyActions} actions
 * @param {AddEventListenerOptions} options with the signal that ends it
 */
export function listenToKeys(root, video, actions, options) {
  let insideControls = false;
  const leaveControls = () => { insideControls = false; };
  video?.addEventListener("focus", leaveControls, options);
  root.addEventListener("pointerdown", leaveControls, options);
  root.addEventListener("keydown", (pressed) => {
    const event = /** @type {KeyboardEvent} */ (pressed);
    const element = /** @type {HTMLElement | null} */ (event.target);
    if (event.key === "Tab") {
      // Focus that leaves the video by Tab fires `blur`; otherwise it moved to a button inside.
      insideControls = element === video;
      return;
    }
    if (event.key === "Escape") return;
    const action = event.defaultPrevented || usesKey(element, event.key) ? null : keyAction(event);
    const isForControls = insideControls && element === video && /^( |Enter|Arrow.*|Home|End)$/.test(event.key);
    if (action && !isForControls) {
      event.preventDefault();
      action(actions);
    }
    event.stopPropagation();
  }, options);
}
