// The runs of the grid that the open run belongs to, best first. Knows nothing about curves or how runs are asked for.

import { h, keyed, say, show } from "./dom.js";
import { showState } from "./run_list.js";

export class RunGroup {
  /** `open(id)` opens a run. */
  constructor(open) {
    this.open = open;
    this.title = h("h3", {}, "");
    this.rows = h("tbody");
    const heads = ["Run", "State", "Best validation"].map((head) => h("th", { scope: "col" }, head));
    this.element = h("section", { class: "card run-group-card", hidden: true }, this.title,
      h("div", { class: "table-room" }, h("table", {}, h("thead", {}, h("tr", {}, heads)), this.rows)));
  }

  show(rows, open) {
    show(this.element, rows.length > 0);
    say(this.title, `${rows.length} runs of one grid, best first`);
    keyed(this.rows, rows, (row) => this.make(row), (node, row) => update(node, row, open));
  }

  make({ key }) {
    const name = h("button", { type: "button", class: "link", onclick: () => this.open(Number(key)) });
    return h("tr", {}, h("td", {}, name), h("td", {}, h("span", { class: "pill" })), h("td", { class: "number" }));
  }
}

function update(node, row, open) {
  const [name, state, validation] = node.children;
  say(name.firstChild, row.given);
  showState(state.firstChild, row);
  say(validation, row.validation);
  node.classList.toggle("open", row.key === open);
  if (row.key === open) name.firstChild.setAttribute("aria-current", "true");
  else name.firstChild.removeAttribute("aria-current");
}
