// @ts-check
/**
 * The markers as this view knows them: those of Python, and what was done here and Python has not
 * told yet (its kernel may be busy, and a person wants to see the marker at once).
 *
 * @typedef {{ id: string, t_s: number, label: string }} Mark
 */

export class Marks {
  constructor(/** @type {string} */ view) {
    this.view = view;
    this.count = 0;
    /** @type {Mark[]} */
    this.told = [];
    /** @type {Map<string, Mark>} */
    this.added = new Map();
    /** @type {Set<string>} */
    this.removed = new Set();
  }

  /** Takes what Python says; what it knows by now is no longer ours to remember. */
  hear(/** @type {unknown} */ told) {
    this.told = (Array.isArray(told) ? told : []).filter(
      (mark) => typeof mark?.id === "string" && Number.isFinite(mark.t_s) && typeof mark.label === "string",
    );
    const ids = new Set(this.told.map(({ id }) => id));
    for (const id of ids) this.added.delete(id);
    for (const id of this.removed) if (!ids.has(id)) this.removed.delete(id);
  }

  add(/** @type {number} */ seconds) {
    this.count += 1;
    const mark = { id: `${this.view}-${this.count}`, t_s: Math.round(seconds * 1e6) / 1e6, label: "" };
    this.added.set(mark.id, mark);
    return mark;
  }

  remove(/** @type {string} */ id) {
    if (!this.added.delete(id)) this.removed.add(id);
  }

  /** All that are to be shown, by time. */
  all() {
    const told = this.told.filter(({ id }) => !this.removed.has(id));
    return [...told, ...this.added.values()].sort((one, other) => one.t_s - other.t_s);
  }
}
