// The list on the Runs tab: what runs now, waits and is done, and the switches for all runs. It shows and asks; which run
// is open, and what is pulled when, is for the tab.

import { h, keyed, say, setPill, show, when } from "./dom.js";
import { Line, keepFocus } from "./line.js";

const PILLS = { starting: "run", running: "run", finishing: "run", queued: "queued", completed: "ok", failed: "failed", interrupted: "warn", paused: "queued" };

/** Show a job's state as a pill. */
export function showState(pill, { state, word }) {
  setPill(pill, PILLS[state] ?? "done", word);
}

export class RunList {
  /** `ask(name, question)` asks the studio and then looks at once; `open(id)` opens a run. */
  constructor(ask, open) {
    this.open = open;
    this.line = new Line(ask, (row) => this.makeRow(row));
    this.groups = {};
    this.auto = switchOf("Interrupted runs go on by themselves", (on) => ask("set_auto_resume", { on }));
    this.spare = switchOf("Out of memory: go on with half the rows at once", (on) => ask("set_spare_memory", { on }));
    this.stalled = switchOf("No progress: end the worker after a while", (on) => ask("set_end_stalled", { on }));
    this.element = this.build();
  }

  /** `rows` is all of the list, or nothing where only what is `going` can have changed. */
  show({ rows, going, auto_resume: auto, spare_memory: spare, end_stalled: stalled, queue }) {
    this.auto.box.checked = auto;
    this.spare.box.checked = spare;
    this.stalled.box.checked = stalled;
    this.line.show(queue);
    if (rows) this.showRows(rows);
    else for (const row of going) this.showGoing(row);
  }

  showRows(rows) {
    for (const [group, { box, list }] of Object.entries(this.groups)) {
      const own = rows.filter((row) => row.group === group);
      show(box, own.length > 0);
      if (group === "Queue") keepFocus(list, () => keyed(list, own, (row) => this.line.make(row), (node, row) => this.updateWaiting(node, row)));
      else keyed(list, own, (row) => h("li", {}, this.makeRow(row)), updateRow);
    }
    const done = rows.filter((row) => row.group === "Done").length;
    say(this.more, `Show ${done} done`);
    show(this.more, done > 0);
  }

  showGoing(row) {
    const node = this.element.querySelector(`li[data-key="${row.key}"]`);
    if (node) updateRow(node, row);
  }

  updateWaiting(node, row) {
    updateRow(node, row);
    this.line.update(node, row);
  }

  markOpen(id) {
    this.element.querySelectorAll("li").forEach((row) => {
      const open = row.dataset.key === String(id);
      row.firstChild.classList.toggle("open", open);
      if (open) row.firstChild.setAttribute("aria-current", "true");
      else row.firstChild.removeAttribute("aria-current");
    });
  }

  // --- building ---

  makeRow({ key }) {
    const name = h("span", { class: "run-name" });
    return h("button", { type: "button", class: "run-row", onclick: () => this.open(Number(key)) },
      name, h("span", { class: "pill" }), h("span", { class: "run-fact" }), h("span", { class: "run-time" }));
  }

  build() {
    const { notice, unlisted, pause, told } = this.line;
    const [now, queue, done] = ["Now", "Queue", "Done"].map((group) => this.makeGroup(group));
    queue.append(unlisted);
    const more = (this.more = h("button", { type: "button", class: "small more", "aria-expanded": "false" }, ""));
    more.addEventListener("click", () => {
      more.setAttribute("aria-expanded", "true");
      this.element.classList.add("all");
    });
    const switches = h("div", { class: "runs-switches" }, this.auto.label, this.spare.label, this.stalled.label, pause);
    return h("nav", { class: "runs-list", "aria-label": "Runs", hidden: true }, h("h2", { class: "for-readers" }, "Runs"), notice, now, queue, more, done, switches, told);
  }

  makeGroup(group) {
    const list = h("ul", { class: "run-rows" });
    const box = h("section", { class: `run-group ${group.toLowerCase()}`, hidden: true }, h("h3", {}, group), list);
    this.groups[group] = { box, list };
    return box;
  }
}

function switchOf(words, ask) {
  const box = h("input", { type: "checkbox", onchange: () => ask(box.checked) });
  return { box, label: h("label", { class: "auto-resume" }, box, words) };
}

function updateRow(node, row) {
  const [name, pill, fact, time] = node.firstChild.children;
  say(name, row.name);
  name.title = row.name;
  showState(pill, row);
  say(fact, row.fact);
  fact.title = row.fact;
  say(time, row.time || when(row.at));
}
