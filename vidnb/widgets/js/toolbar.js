// @ts-check
/** The toolbar below the picture: what the browser's own controls lack, in one row. */

import { RATES } from "./controls.js";
import { make, setText } from "./elements.js";
import { DEFAULT_FRAME_S } from "./frames.js";
import { iconButton } from "./icons.js";
import { rateName, timeCode } from "./messages.js";

/** The time display, the buttons for frame steps and the playback rate: for one video or for several. */
export class Toolbar {
  /**
   * @param {string} label
   * @param {{ step(frames: number): unknown, setRate(rate: number): void }} actions
   * @param {AbortSignal} signal
   */
  constructor(label, actions, signal) {
    this.actions = actions;
    this.signal = signal;
    this.root = make("div", "vidnb-toolbar");
    this.currentTime = make("span", "vidnb-current-time");
    this.duration = make("span", "vidnb-duration");
    this.frame = make("span", "vidnb-frame");
    this.frame.hidden = true;
    const time = make("span", "vidnb-time");
    time.append(this.currentTime, this.duration, this.frame);
    this.buttons = make("div", "vidnb-buttons");
    this.buttons.setAttribute("role", "toolbar");
    this.buttons.setAttribute("aria-label", label);
    this.rate = make("select", "vidnb-rate");
    this.root.append(time, this.buttons);
  }

  /**
   * @param {Parameters<typeof iconButton>[0]} icon
   * @param {string} label
   * @param {string} hint
   * @param {(event: MouseEvent) => unknown} act
   */
  addButton(icon, label, hint, act) {
    const button = iconButton(icon, label, hint);
    button.addEventListener("click", act, { signal: this.signal });
    this.buttons.append(button);
    return button;
  }

  /** Add the buttons for frame steps and the list of rates. */
  addStepAndRate(rateLabel = "Playback rate") {
    const { actions, rate } = this;
    const back = this.addButton("back", "One frame back", "One frame back (,)", () => actions.step(-1));
    const forward = this.addButton("forward", "One frame forward", "One frame forward (.)", () => actions.step(1));
    rate.setAttribute("aria-label", rateLabel);
    rate.title = "Playback rate (< and >)";
    for (const each of RATES) this.addRate(each);
    rate.value = "1";
    rate.addEventListener("change", () => actions.setRate(Number(rate.value)), { signal: this.signal });
    this.buttons.append(rate);
    return { back, forward };
  }

  addRate(/** @type {number} */ rate) {
    const option = make("option", "", rateName(rate));
    option.value = String(rate);
    this.rate.append(option);
  }

  showRate(/** @type {number} */ rate) {
    const value = String(rate);
    if (this.rate.value === value) return;
    this.rate.value = value;
    if (this.rate.value === value) return;
    this.addRate(rate); // a rate that Python set
    this.rate.value = value;
  }

  showTime(/** @type {number} */ now_s, /** @type {number | null} */ duration_s) {
    setText(this.currentTime, timeCode(now_s));
    setText(this.duration, ` / ${timeCode(duration_s)}`);
  }

  /** Show the number of the frame, or none where it is not known. */
  showFrame(/** @type {number | null} */ index, /** @type {number} */ count) {
    setText(this.frame, index === null ? "" : ` · frame ${index}`);
    this.frame.title = `Frame ${index} of ${count}, counted from 0 as in vidnb.frames`;
    this.frame.hidden = index === null;
  }
}

/** The toolbar of a player. */
export class PlayerToolbar extends Toolbar {
  /**
   * @param {import("./controls.js").Controls} controls
   * @param {string} name the file
   * @param {AbortSignal} signal
   */
  constructor(controls, name, signal) {
    super("Video tools", controls, signal);
    this.stepper = () => controls.stepper;
    this.stepButtons = this.addStepAndRate();
    this.addButton("marker", "Set a marker here", "Set a marker here (m); Delete on a marker removes it", () => controls.setMarker());
    this.addButton("snapshot", "Save this frame as PNG", "Save this frame as PNG (with Shift: copy it)", (event) => controls.saveSnapshot(event.shiftKey));
    if (document.pictureInPictureEnabled) {
      this.addButton("pip", "Picture in picture", "Picture in picture", () => controls.togglePictureInPicture());
    }
    const title = make("span", "vidnb-title", name);
    title.title = name;
    this.route = make("span", "vidnb-route");
    this.route.hidden = true;
    this.download = make("span", "vidnb-download");
    this.download.hidden = true;
    this.delivery = make("span", "vidnb-delivery");
    this.delivery.hidden = true;
    const source = make("span", "vidnb-source");
    source.append(this.delivery, this.route);
    this.root.append(title, this.download, source);
    this.showFrameDuration();
  }

  /** Show in the hints of the step buttons how long a frame is taken to be. */
  showFrameDuration() {
    const { clock: { frame_s }, times } = this.stepper();
    if (times) {
      this.stepButtons.back.title = "One frame back (,)";
      this.stepButtons.forward.title = "One frame forward (.)";
      return;
    }
    const text = frame_s === null
      ? `assumed to last 1/${Math.round(1 / DEFAULT_FRAME_S)} s until the video has played`
      : `${(frame_s * 1000).toFixed(1)} ms`;
    this.stepButtons.back.title = `One frame back (,) · a frame is ${text}`;
    this.stepButtons.forward.title = `One frame forward (.) · a frame is ${text}`;
  }

  /**
   * Show how far the download or the encoding of the file is, or how it ended.
   * @param {{ state: string, ranges: [number, number][], note: string, text?: string }} download
   *   `ranges` are fractions of the file, `text` is shown instead of one made of them
   */
  showDownload({ state, ranges, note, text: given }) {
    const fraction = ranges.reduce((sum, [from, to]) => sum + to - from, 0);
    const text = given ?? { downloading: `downloading ${Math.floor(100 * fraction)} %`, saved: "saved", failed: "not saved" }[state] ?? "";
    setText(this.download, text);
    this.download.title = note;
    this.download.classList.toggle("vidnb-failed", state === "failed");
    this.download.hidden = !text;
  }

  /** Show whether the file is remuxed or transcoded, and why. */
  showDelivery(/** @type {import("./deliveries.js").Delivery | null} */ delivery) {
    const text = { direct: "", remux: "remuxed", transcode: "transcoded" }[delivery?.kind ?? "direct"];
    setText(this.delivery, text);
    this.delivery.title = delivery?.reason ?? "";
    this.delivery.hidden = !text;
  }

  /** Show the route by which the bytes come. */
  showRoute(/** @type {string} */ route, /** @type {string} */ description) {
    setText(this.route, route);
    this.route.title = description;
    this.route.hidden = false;
  }
}
