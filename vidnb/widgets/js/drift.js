// @ts-check
/** How a video that follows another one is corrected: by a slightly different rate, or by a seek. */

export const CORRECT_FROM_S = 0.008; // a quarter of a frame at 30 frames a second
const CORRECT_TO_S = 0.002;
export const SEEK_FROM_S = 0.2; // a seek corrects this faster than a rate
export const SEEK_INTERVAL_S = 1; // least time between two corrective seeks of one video
export const PAUSED_TOLERANCE_S = 0.0005; // two times further apart may lie in two frames
const CORRECTION_S = 0.5; // the time in which a rate corrects a drift
const MAX_CHANGE = 0.2; // more can be seen and heard, though the pitch is kept
const CHANGE_STEP = 0.01; // few distinct rates, so that they change seldom

/** Whether two rates are equal. */
export function sameRate(/** @type {number} */ one, /** @type {number} */ other) {
  return Math.abs(one - other) < 1e-4;
}

/**
 * The rate that corrects a drift, where the others play at `rate`.
 * @param {number} drift_s positive where the video is ahead
 * @param {number} rate
 * @param {boolean} isCorrecting whether its rate is changed already
 * @param {number} [maxChange] the largest relative change
 */
export function correctedRate(drift_s, rate, isCorrecting, maxChange = MAX_CHANGE) {
  if (Math.abs(drift_s) <= (isCorrecting ? CORRECT_TO_S : CORRECT_FROM_S)) return rate;
  const steps = Math.max(1, Math.round(Math.min(maxChange, Math.abs(drift_s) / CORRECTION_S) / CHANGE_STEP));
  return rate * (1 - Math.sign(drift_s) * steps * CHANGE_STEP);
}
