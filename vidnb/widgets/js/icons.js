// @ts-check
/** The icons and the buttons that show them. */

import { make } from "./elements.js";

const SVG = "http://www.w3.org/2000/svg";

/** SVG paths on a 16 x 16 grid, filled with the text colour. */
const ICONS = {
  play: "M4 2.4v11.2L13.2 8z",
  pause: "M3.6 2.6h3v10.8h-3z M9.4 2.6h3v10.8h-3z",
  sound: "M2 5.8h2.6L8.4 2.6v10.8L4.6 10.2H2z M10 5.2c1.5 1.2 1.5 4.4 0 5.6l.7 1c2.3-1.8 2.3-5.8 0-7.6z " +
    "M11.9 2.9c3 2.6 3 7.6 0 10.2l.7.9c3.6-3.1 3.6-8.9 0-12z",
  silent: "M2 5.8h2.6L8.4 2.6v10.8L4.6 10.2H2z M10.3 5.7l.9-.9 1.7 1.7 1.7-1.7.9.9L13.8 7.4l1.7 1.7-.9.9-1.7-1.7-1.7 1.7-.9-.9 1.7-1.7z",
  back: "M11 3.2v9.6L4.6 8z M3 3.5h1.4v9H3z",
  forward: "M5 3.2v9.6L11.4 8z M11.6 3.5H13v9h-1.4z",
  marker: "M4 1.8h8v12.4L8 10.9l-4 3.3z M5.4 3.2v8.1L8 9.1l2.6 2.2V3.2z",
  snapshot:
    "M5.6 2.6h4.8l.9 1.6h2.1c.6 0 1 .4 1 1v7c0 .6-.4 1-1 1H2.6c-.6 0-1-.4-1-1v-7c0-.6.4-1 1-1h2.1z " +
    "M3 5.6v6.2h10V5.6z M8 6.2a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5z M8 7.5a1.2 1.2 0 1 1 0 2.4 1.2 1.2 0 0 1 0-2.4z",
  pip: "M1.6 2.8h12.8v10.4H1.6z M3 4.2v7.6h10V4.2z M7.6 7.4h4.6v3.6H7.6z",
};

/**
 * Create a button that shows an icon.
 * @param {keyof typeof ICONS} icon
 * @param {string} label the accessible name
 * @param {string} [hint] the tooltip
 */
export function iconButton(icon, label, hint = label) {
  const button = make("button", "vidnb-button");
  button.type = "button";
  button.title = hint;
  button.setAttribute("aria-label", label);
  button.append(drawIcon(icon));
  return button;
}

/** Create the SVG element of an icon. */
export function drawIcon(/** @type {keyof typeof ICONS} */ icon) {
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("viewBox", "0 0 16 16");
  drawing.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[icon]);
  path.setAttribute("fill-rule", "evenodd");
  drawing.append(path);
  return drawing;
}
