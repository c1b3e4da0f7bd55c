// @ts-check
/**
 * The message area of a view: one live region for messages and one for errors. Both stay in the page
 * while the view lives and only their text changes, since screen readers announce a change of a live
 * region and often miss a region that is inserted with its text (WAI-ARIA 1.2, section 5.3.3).
 */

import { make, setText } from "./elements.js";

export class MessageArea {
  /**
   * @param {HTMLElement} root
   * @param {AbortSignal} signal
   * @param {number} [noticeMs] how long a notice is shown: enough to read two lines
   */
  constructor(root, signal, noticeMs = 6000) {
    this.noticeMs = noticeMs;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    /** @type {() => void} */
    this.onRetry = () => {};

    const status = make("div", "vidnb-messages");
    status.setAttribute("role", "status");
    this.message = make("div", "vidnb-message");
    this.notice = make("div", "vidnb-notice");
    status.append(this.message, this.notice);

    this.alert = make("div", "vidnb-alert");
    this.error = make("div", "vidnb-error");
    this.error.setAttribute("role", "alert");
    this.retry = make("button", "vidnb-retry", "Try again");
    this.retry.type = "button";
    this.retry.addEventListener("click", () => this.onRetry(), { signal });
    this.alert.append(this.error);
    root.append(status, this.alert);
    signal.addEventListener("abort", () => clearTimeout(this.timer));
  }

  /** Show a message until it is cleared; it replaces an error. */
  show(/** @type {string} */ text) {
    this.clear();
    setText(this.message, text);
  }

  /** Show for a while that an action was done, or why not. */
  notify(/** @type {string} */ text) {
    clearTimeout(this.timer);
    setText(this.notice, text);
    this.timer = setTimeout(() => setText(this.notice, ""), this.noticeMs);
  }

  /**
   * Show an error until it is cleared.
   * @param {string} text
   * @param {(() => void) | null} [onRetry] the action of a button "Try again"; null for no button
   */
  showError(text, onRetry = null) {
    this.clear();
    setText(this.error, text);
    if (!onRetry) return;
    this.onRetry = onRetry;
    this.alert.append(this.retry);
  }

  /** Clear the message and the error; a notice clears itself. */
  clear() {
    setText(this.message, "");
    setText(this.error, "");
    this.retry.remove();
  }
}
