// A data set on a hub, in the card that adds one: its id, then which subset and split of it, then the fetching. The hub is
// asked only when a button is pressed. Every text goes in as text.

import { h, say, show, whole } from "./dom.js";
import { seg } from "./seg.js";

export class DataHub {
  /** `ask`, and `told` for what goes wrong, as for DataRows; `busy(words)`; `added(answer)` hears of what was queued. */
  constructor(ask, told, busy, added) {
    Object.assign(this, { ask, told, busy, added });
    this.build();
  }

  forget() {
    this.found = null;
    this.turn = (this.turn ?? 0) + 1;
    show(this.choice, false);
  }

  async look(event) {
    event.preventDefault();
    this.forget();
    const { turn } = this;
    this.busy("Asking the hub…");
    const found = await this.ask("data_hub_look", { id: this.id.value }, this.told);
    if (turn !== this.turn) return;
    this.busy("");
    if (found) this.show(found);
  }

  show(found) {
    this.found = found;
    say(this.title, found.title);
    const subsets = [...new Set(found.parts.map(([subset]) => subset))];
    this.subset.replaceChildren(...subsets.map((subset) => h("option", { value: subset }, subset)));
    say(this.more, found.more ? `${whole(found.more)} more splits are not listed. The command line takes them by name.` : "");
    show(this.more, Boolean(found.more));
    this.name.value = found.name;
    this.splits();
    show(this.choice, true);
  }

  splits() {
    const there = this.found.parts.filter(([subset]) => subset === this.subset.value);
    this.split.replaceChildren(...there.map(([, split, size]) => h("option", { value: split }, `${split} (${size})`)));
  }

  async fetch(event) {
    event.preventDefault();
    if (this.go.getAttribute("aria-disabled") === "true") return;
    const { turn, found } = this;
    const skip = this.bad.querySelector("input:checked").value === "skip";
    const question = { id: found.id, subset: this.subset.value, split: this.split.value, name: this.name.value, columns: this.columns.value, skip_bad: skip };
    this.go.setAttribute("aria-disabled", "true");
    this.busy("Asking the hub…");
    const made = await this.ask("data_hub_add", question, this.told);
    this.go.setAttribute("aria-disabled", "false");
    if (turn !== this.turn) return;
    this.busy("");
    if (!made) return;
    this.id.value = this.columns.value = "";
    this.forget();
    this.added(made);
  }

  build() {
    const named = (word, field) => h("label", { class: "named" }, word, field);
    this.id = h("input", { type: "text", maxlength: 400, "aria-label": "Id of a data set on a hub", placeholder: "organisation/name", spellcheck: "false" });
    this.title = h("h3");
    this.subset = h("select", { "aria-label": "Subset", onchange: () => this.splits() });
    this.split = h("select", { "aria-label": "Split" });
    this.more = h("p", { class: "help" });
    this.name = h("input", { type: "text", maxlength: 80, "aria-label": "Name of the fetched data set" });
    this.columns = h("input", { type: "text", maxlength: 400, "aria-label": "Columns", placeholder: "found by themselves", spellcheck: "false" });
    this.bad = seg("Rows of the hub that cannot be used", "data-hub-bad", [["stop", "Stop at them"], ["skip", "Skip them"]], () => {});
    this.go = h("button", { type: "submit", class: "small main" }, "Fetch and add");
    this.choice = h("form", { class: "data-found", novalidate: true, hidden: true, onsubmit: (event) => this.fetch(event) }, this.title,
      h("div", { class: "data-line" }, named("Subset", this.subset), named("Split", this.split), named("Columns", this.columns)), this.more,
      h("p", { class: "help" }, "Columns are found by themselves. Where they are not, write them like prompt=question, answer=reply."),
      h("div", { class: "data-line" }, named("Name", this.name), h("div", { class: "named" }, "Rows that cannot be used", this.bad), this.go));
    const line = h("form", { class: "data-line", novalidate: true, onsubmit: (event) => this.look(event) }, this.id, h("button", { type: "submit", class: "small" }, "Look it up"));
    this.panel = h("div", {}, line, h("p", { class: "help" }, "Parquet, JSON, JSONL, CSV, TSV or text, pinned to a commit. No code of a data set is ever run."), this.choice);
  }
}
