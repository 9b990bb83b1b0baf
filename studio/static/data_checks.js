// What is doubtful about a data set: looked for on request, told kind by kind, and left out of a cleaned copy on request.
// Every text goes in as text. Knows nothing about what is looked for.

import { showRows } from "./data_rows.js";
import { h, keyed, say, show, whole } from "./dom.js";

const MOST_ROWS = 12; // links to rows, of each kind

export class DataChecks {
  /** `ask` as for DataRows; `cleaning(answer)` hears of the job that makes a cleaned copy; `go(row)` leads to a row. */
  constructor(ask, cleaning, go) {
    Object.assign(this, { ask, cleaning, go });
    this.build();
  }

  show(set) {
    const { found, job } = set.checks;
    if (this.set?.id !== set.id) {
      this.name.value = "";
      say(this.told, "");
      this.list.replaceChildren();
    }
    this.set = set;
    const busy = Boolean(job && !job.ended);
    this.busy = busy;
    say(this.fact, busy ? job.words : "");
    show(this.bar, busy);
    this.bar.firstChild.style.width = `${Math.round(100 * (job?.share ?? 0))}%`;
    this.bar.setAttribute("aria-valuenow", Math.round(100 * (job?.share ?? 0)));
    say(this.sentence, sentence(found, job));
    keyed(this.list, found ?? [], (one) => this.makeFinding(one), (node, one) => this.updateFinding(node, one));
    say(this.search, found ? "Check again" : "Check the rows");
    show(this.search, !busy);
    show(this.form, Boolean(found?.some(({ fix }) => fix)));
    this.name.placeholder = `${set.name}-clean`;
  }

  async examine() {
    await this.ask("data_examine", { id: this.set.id }, this.told);
    window.dispatchEvent(new Event("studio:ask"));
  }

  async clean(event) {
    event.preventDefault();
    const fixes = [...this.list.querySelectorAll("input:checked")].map((box) => box.value);
    const answer = await this.ask("data_clean", { id: this.set.id, fixes, name: this.name.value }, this.told);
    if (answer) this.cleaning(answer);
  }

  // --- building ---

  build() {
    this.fact = h("span", { class: "fact", role: "status" });
    this.sentence = h("p", { class: "sentence" });
    this.told = h("p", { class: "problems", role: "alert" });
    this.bar = h("div", { class: "progress", role: "progressbar", "aria-label": "Progress of the checks", "aria-valuemin": 0, "aria-valuemax": 100, hidden: true }, h("span"));
    this.list = h("ul", { class: "data-findings" });
    this.search = h("button", { type: "button", class: "small", onclick: () => this.examine() });
    this.name = h("input", { type: "text", maxlength: 80 });
    this.form = h("form", { class: "data-line", novalidate: true, hidden: true, onsubmit: (event) => this.clean(event) },
      h("label", { class: "named" }, "Name of the copy", this.name), h("button", { type: "submit", class: "small" }, "Make a cleaned copy"));
    this.card = h("section", { class: "card data-checks" },
      h("div", { class: "card-head" }, h("div", { class: "open-title" }, h("h2", {}, "Checks"), this.fact), this.search), this.sentence, this.bar, this.list, this.form, this.told);
  }

  makeFinding({ key, fix, advised }) {
    const box = fix ? h("input", { type: "checkbox", value: key, checked: advised }) : null;
    return h("li", {}, h(fix ? "label" : "div", { class: "mark" }, box, h("span", { class: "words" })), h("span", { class: "row-numbers" }));
  }

  updateFinding(node, { total, words, fix, rows }) {
    say(node.querySelector(".words"), `${whole(total)} ${total === 1 ? "row" : "rows"} ${words}${fix ? `: the copy ${fix}` : ""}.`);
    showRows(node.lastChild, rows.slice(0, MOST_ROWS), total, this.go);
  }
}

function sentence(found, job) {
  if (job?.ended && job.why && !found) return job.why;
  if (!found) return "Looks for copies, contradictions, empty or repeated answers, secrets and e-mail addresses.";
  if (!found.length) return "Nothing doubtful was found.";
  return found.some(({ fix }) => fix) ? "A cleaned copy leaves out what is ticked. This set stays as it is." : "";
}
