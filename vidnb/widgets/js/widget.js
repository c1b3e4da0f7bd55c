// @ts-check
/**
 * What the widgets share: the model of anywidget and the version and order of Python's messages.
 *
 * @typedef {{
 *   get(name: string): any,
 *   send(content: object, callbacks?: object, buffers?: ArrayBuffer[]): void,
 *   on(name: string, callback: (...args: any[]) => void): void,
 *   off(name: string, callback: (...args: any[]) => void): void,
 *   widget_manager?: any,
 * }} Model
 * @typedef {{
 *   v: 1, seq: number, t_s?: number, step?: number, playing?: boolean, rate?: number,
 *   volume?: number, muted?: boolean, loop?: boolean, fullscreen?: boolean,
 * }} Command
 */

export const VERSION = 1;

/** Listen to a model until the signal aborts. */
export function subscribe(
  /** @type {Model} */ model, /** @type {string} */ name, /** @type {(...args: any[]) => void} */ callback,
  /** @type {AbortSignal} */ signal,
) {
  model.on(name, callback);
  signal.addEventListener("abort", () => model.off(name, callback), { once: true });
}

/**
 * Run `end` after the signal aborts. anywidget aborts it before a model's other handlers of "destroy"
 * run, and those close the message endpoint to which the end of a view would be posted.
 */
export function onEnd(/** @type {AbortSignal} */ signal, /** @type {() => void} */ end) {
  signal.addEventListener("abort", () => queueMicrotask(end), { once: true });
}

/** A random id for a view. */
export function randomId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(8)), (n) => n.toString(16).padStart(2, "0")).join("");
}

/** Whether Python's command is of this version and newer than the last one that was applied. */
export function isNewCommand(/** @type {any} */ command, /** @type {number} */ seq) {
  return command?.v === VERSION && command.seq > seq;
}
