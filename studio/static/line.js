// The line of waiting jobs on the Runs tab: the buttons that move a job up or down, and the pause of the whole queue.
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
    return h("li", { class: "waiting" }, this.row({ key }), h("div", { class: "moves" }, move("up", "↑"), move("down", "↓")));
  }

  /** Buttons that lead nowhere stay where the focus may be, and say so. */
  update(node, row) {
    show(node.lastChild, row.up != null); // a paused run has no place in the line
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

/** Do what moves nodes about, and leave the focus where it was: a node that is put elsewhere loses it. */
export function keepFocus(parent, act) {
  const held = parent.contains(document.activeElement) ? document.activeElement : null;
  act();
  if (held && held !== document.activeElement && held.isConnected) held.focus();
}
