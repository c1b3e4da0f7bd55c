// @ts-check
/**
 * The markers of a view: those of Python, and changes made here that Python has not confirmed yet,
 * since its kernel may be busy.
 *
 * @typedef {{ id: string, t_s: number, label: string }} Marker
 */

export class Markers {
  constructor(/** @type {string} */ viewId) {
    this.viewId = viewId;
    this.count = 0;
    /** @type {Marker[]} */
    this.confirmed = [];
    /** @type {Map<string, Marker>} */
    this.added = new Map();
    /** @type {Set<string>} */
    this.removed = new Set();
  }

  /** Take Python's list; pending changes that it contains are done. */
  update(/** @type {unknown} */ list) {
    this.confirmed = (Array.isArray(list) ? list : []).filter(
      (marker) => typeof marker?.id === "string" && Number.isFinite(marker.t_s) && typeof marker.label === "string",
    );
    const ids = new Set(this.confirmed.map(({ id }) => id));
    for (const id of ids) this.added.delete(id);
    for (const id of this.removed) if (!ids.has(id)) this.removed.delete(id);
  }

  /** Add a marker at a time (s). @returns {Marker} */
  add(/** @type {number} */ seconds) {
    this.count += 1;
    const marker = { id: `${this.viewId}-${this.count}`, t_s: Math.round(seconds * 1e6) / 1e6, label: "" };
    this.added.set(marker.id, marker);
    return marker;
  }

  remove(/** @type {string} */ id) {
    if (!this.added.delete(id)) this.removed.add(id);
  }

  /** The markers to show, by time. @returns {Marker[]} */
  all() {
    const kept = this.confirmed.filter(({ id }) => !this.removed.has(id));
    return [...kept, ...this.added.values()].sort((one, other) => one.t_s - other.t_s);
  }
}
