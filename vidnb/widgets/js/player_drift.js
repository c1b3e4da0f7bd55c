// @ts-check
/** How a video that follows another is brought back to it: by a slightly other rate, or by a seek. */

export const DRIFT_FROM_S = 0.008; // a quarter of a frame at 30 a second: from here on it is corrected
const DRIFT_TO_S = 0.002; // and until here
export const JUMP_S = 0.2; // what a seek mends faster than a rate would
export const NEXT_SEEK_S = 1; // between two seeks of one video that nobody asked for
const MEND_S = 0.5; // the time in which a rate mends a drift
const MOST_NUDGE = 0.2; // the pitch is kept, but more can be seen and heard
const NUDGE_STEP = 0.01; // few different rates, so that they are seldom changed

export const sameRate = (/** @type {number} */ one, /** @type {number} */ other) => Math.abs(one - other) < 1e-4;

/**
 * The rate that mends a drift, where all play at `rate`.
 * @param {number} drift_s ahead is positive
 * @param {number} rate
 * @param {boolean} already whether it is bent
 * @param {number} [most] the greatest part by which it may be bent
 */
export function nudged(drift_s, rate, already, most = MOST_NUDGE) {
  if (Math.abs(drift_s) <= (already ? DRIFT_TO_S : DRIFT_FROM_S)) return rate;
  const steps = Math.max(1, Math.round(Math.min(most, Math.abs(drift_s) / MEND_S) / NUDGE_STEP));
  return rate * (1 - Math.sign(drift_s) * steps * NUDGE_STEP);
}
