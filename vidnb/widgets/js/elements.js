// @ts-check
/** Small factories for the DOM elements of the widgets. */

/**
 * Create an element with a class and a text.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {string} className
 * @param {string} [text]
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(tag, className, text = "") {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}

/** Set the text of an element; unchanged text causes no DOM mutation. */
export function setText(/** @type {HTMLElement} */ element, /** @type {string} */ text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Make `root` the labelled group that holds one widget, with a style sheet that hides its static card.
 *
 * The style sheet is a child of the widget, so that the card reappears when the widget leaves the page.
 * The card's output area is hidden too where it holds nothing else; `:has()` is in a rule of its own,
 * since a browser without it drops the whole rule.
 * @param {HTMLElement} root
 * @param {string} label
 * @param {string} cardClass the class of the static card in the saved notebook
 */
export function setUpWidgetRoot(root, label, cardClass) {
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", label);
  // JupyterLab's own shortcuts (arrows, m, space) would act on cells while the player has the focus.
  root.setAttribute("data-lm-suppress-shortcuts", "true");
  const card = `.${CSS.escape(cardClass)}`;
  const style = document.createElement("style");
  style.textContent =
    `${card} { display: none !important; }\n` +
    `.jp-OutputArea-child:has(${card}):not(:has(.vidnb-player)) { display: none !important; }`;
  root.append(style);
}

/** Toggle full screen for `root`. @throws where the browser refuses, as outside of a user gesture */
export async function setFullscreen(/** @type {Element} */ root, on = document.fullscreenElement == null) {
  if (!on) {
    if (document.fullscreenElement) await document.exitFullscreen();
  } else if (document.fullscreenElement == null) {
    // Safari on the iPhone fills the screen with a video alone, by a method of its own.
    await (root.requestFullscreen ?? /** @type {any} */ (root).webkitEnterFullscreen).call(root);
  }
}
