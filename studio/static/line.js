// The line of waiting jobs on the Runs tab: the buttons that move a job up or down, dragging it to another place, and the
// pause of the whole queue.
// Knows nothing about what a job is, or about the run that is open.

import { h, say, show } from "./dom.js";

export class Line {
  /** `ask(name, question)` asks the studio and then looks at once; `row` makes what a job's row begins with. */
  constructor(ask, row) {
    this.ask = ask;
    this.row = row;
    this.says = h("p");
    const goOn = h("button", { type: "button", class: "small", onclick: () => ask("pause_queue", { on: false }) }, "Continue the queue");
    this.notice = h("div", { class: "queue-paused", role: "status", hidden: true }, this.says, goOn);
    this.pause = h("button", { type: "button", class: "small pause-queue", onclick: () => ask("pause_queue", { on: true }) }, "Pause the queue");
    this.unlisted = h("p", { class: "unlisted", hidden: true });
    this.told = h("p", { class: "for-readers", role: "status" });
  }

  show({ paused, says, unlisted }) {
    say(this.says, says);
    show(this.notice, paused);
    show(this.pause, !paused);
    say(this.unlisted, `And ${unlisted} more that wait.`);
    show(this.unlisted, unlisted > 0);
  }

  make({ key }) {
    const move = (to, sign) => h("button", { type: "button", onclick: ({ currentTarget }) => this.move(Number(key), to, currentTarget) }, sign);
    const grip = h("span", { class: "grip", "aria-hidden": "true", title: "Drag to another place" }, "⠿"); // some browsers drag no button
    const node = h("li", { class: "waiting" }, this.row({ key }), grip, h("div", { class: "moves" }, move("up", "↑"), move("down", "↓")));
    this.makeDraggable(node);
    return node;
  }

  // --- dragging; who has no mouse has the buttons ---

  makeDraggable(node) {
    const on = (name, act) => node.addEventListener(name, act);
    on("dragstart", (event) => {
      this.dragged = node;
      event.dataTransfer.effectAllowed = "move";
      event.dataTransfer.setData("text/plain", ""); // without data some browsers begin no drag
      node.classList.add("dragged");
    });
    on("dragover", (event) => {
      if (!this.dragged || !node.draggable || node === this.dragged) return;
      event.preventDefault();
      const after = this.isAfter(node, event);
      node.classList.toggle("drop-before", !after);
      node.classList.toggle("drop-after", after);
    });
    on("dragleave", () => unmark(node));
    on("drop", (event) => {
      event.preventDefault();
      unmark(node);
      if (this.dragged && node !== this.dragged) this.drop(this.dragged, node, this.isAfter(node, event));
    });
    on("dragend", () => {
      node.classList.remove("dragged");
      this.dragged = null;
    });
  }

  isAfter(node, event) {
    const { top, height } = node.getBoundingClientRect();
    return event.clientY > top + height / 2;
  }

  /** The last place has nobody to stand before. */
  drop(from, target, after) {
    const next = after ? target.nextElementSibling : target;
    if (next === from || (!after && target.previousElementSibling === from)) return;
    const job = Number(from.dataset.key);
    const place = next?.draggable ? { before: Number(next.dataset.key) } : after && this.unlisted.hidden ? { to: "last" } : null;
    if (!place) return;
    this.ask("move_in_line", { job, ...place });
    say(this.told, `Moved ${from.querySelector(".run-name").textContent}`);
  }

  /** Buttons that lead nowhere stay where the focus may be, and say so. */
  update(node, row) {
    show(node.lastChild, row.up != null); // a paused run has no place in the line
    show(node.children[1], row.up != null);
    if (node.draggable !== (row.up != null)) node.draggable = row.up != null;
    for (const [button, way] of [[node.lastChild.firstChild, "up"], [node.lastChild.lastChild, "down"]]) {
      button.setAttribute("aria-label", `Move ${row.name} ${way}`);
      button.setAttribute("aria-disabled", String(!row[way]));
    }
  }

  async move(job, to, button) {
    if (button.getAttribute("aria-disabled") === "true" || this.moving) return;
    this.moving = true; // one after the other: a second press means the place that the first one leads to
    await this.ask("move_in_line", { job, to });
    this.moving = false;
    say(this.told, button.getAttribute("aria-label").replace("Move", "Moved"));
  }
}

function unmark(node) {
  node.classList.remove("drop-before", "drop-after");
}

/** Do what moves nodes about, and leave the focus where it was: a node that is put elsewhere loses it. */
export function keepFocus(parent, act) {
  const held = parent.contains(document.activeElement) ? document.activeElement : null;
  act();
  if (held && held !== document.activeElement && held.isConnected) held.focus();
}
