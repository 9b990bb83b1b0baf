// A data set on a hub, in the card that adds one: its id, then which subset and split of it. What its first rows are, and which
// column is what, is shown by the card as for any file. The hub is asked only when a button is pressed. Every text goes in as text.

import { h, say, show, whole } from "./dom.js";

export class DataHub {
  /** `ask`, and `told` for what goes wrong, as for DataRows; `busy(words)`; `look(split)` shows one. */
  constructor(ask, told, busy, look) {
    Object.assign(this, { ask, told, busy, look });
    this.build();
  }

  forget() {
    this.found = null;
    this.turn = (this.turn ?? 0) + 1;
    show(this.choice, false);
  }

  clear() {
    this.id.value = "";
    this.forget();
  }

  async list(event) {
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
    show(this.choice, true);
    this.splits();
  }

  splits() {
    const there = this.found.parts.filter(([subset]) => subset === this.subset.value);
    this.split.replaceChildren(...there.map(([, split, size]) => h("option", { value: split }, `${split} (${size})`)));
    this.chosen();
  }

  chosen() {
    this.look({ id: this.found.id, subset: this.subset.value, split: this.split.value });
  }

  build() {
    const named = (word, field) => h("label", { class: "named" }, word, field);
    this.id = h("input", { type: "text", maxlength: 400, "aria-label": "Id of a data set on a hub", placeholder: "organisation/name", spellcheck: "false" });
    this.title = h("h3");
    this.subset = h("select", { "aria-label": "Subset", onchange: () => this.splits() });
    this.split = h("select", { "aria-label": "Split", onchange: () => this.chosen() });
    this.more = h("p", { class: "help" });
    this.choice = h("div", { class: "data-found", hidden: true }, this.title, h("div", { class: "data-line" }, named("Subset", this.subset), named("Split", this.split)), this.more);
    const line = h("form", { class: "data-line", novalidate: true, onsubmit: (event) => this.list(event) }, this.id, h("button", { type: "submit", class: "small" }, "Look it up"));
    this.panel = h("div", {}, line, h("p", { class: "help" }, "Parquet, JSON, JSONL, CSV, TSV or text, pinned to a commit. No code of a data set is ever run."), this.choice);
  }
}
