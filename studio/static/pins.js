// The checkpoints of the open run, and pinning them. Knows nothing about how they are asked for.

import { h, keyed, say, show } from "./dom.js";

const SURE = 4000; // ms in which a second press on Unpin deletes what nothing else keeps

export class Pins {
  /** `pin(id, on)` pins a checkpoint, or unpins it. */
  constructor(pin) {
    this.pin = pin;
    this.shown = [];
    this.doomed = null; // the one whose deletion waits for a second press
    this.rows = h("ul", { class: "pin-rows" });
    this.element = h("section", { class: "card pins-card", hidden: true }, h("h3", {}, "Checkpoints"), this.rows,
      h("p", { class: "help" }, "The last two are kept until the run has ended, pinned ones until they are unpinned. All of them can answer under Compare."));
  }

  show(rows) {
    this.shown = rows;
    show(this.element, rows.length > 0);
    keyed(this.rows, rows, (row) => this.make(row), (node, row) => this.update(node, row));
  }

  /** Whether one of those shown is pinned. */
  get any() {
    return this.shown.some((row) => row.pinned);
  }

  make({ key, step }) {
    const button = h("button", { type: "button", class: "small", onclick: () => this.press(key) });
    return h("li", {}, h("span", {}, `step ${step.toLocaleString("en-US")}`), button);
  }

  update(node, { key, step, pinned }) {
    const button = node.lastChild;
    node.classList.toggle("pinned", pinned);
    say(button, this.doomed === key ? "Delete it?" : pinned ? "Unpin" : "Pin");
    button.setAttribute("aria-label", `${button.textContent} step ${step}`);
  }

  press(key) {
    const row = this.shown.find((one) => one.key === key);
    if (!row) return;
    if (row.goes && this.doomed !== key) return this.sure(key);
    this.sure(null);
    this.pin(key, !row.pinned);
  }

  sure(key) {
    clearTimeout(this.unsure);
    this.doomed = key;
    this.show(this.shown);
    if (key != null) this.unsure = setTimeout(() => this.sure(null), SURE);
  }
}
