// @ts-check
/** The front end of vidnb.Player, an anywidget module. */

import { PlayerView } from "./player_view.js";

/**
 * Show the player in `el` until the signal aborts (anywidget 0.11).
 * @param {{ model: import("./widget.js").Model, el: HTMLElement, signal: AbortSignal }} props
 */
function render({ model, el, signal }) {
  new PlayerView(model, el, signal);
}

export default { render };
