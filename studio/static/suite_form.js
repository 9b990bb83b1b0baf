// The form that makes a suite: where its prompts come from, and how answers are scored. Knows nothing about runs.

import { h, say, show } from "./dom.js";

const WAYS = [["typed", "Typed, one a line"], ["data", "All rows of a data set"], ["run", "Held-out rows of a run"]];

export class SuiteForm {
  constructor({ ask, done, close }) {
    Object.assign(this, { ask, done });
    this.name = h("input", { type: "text", maxlength: 80 });
    this.way = h("select", { onchange: () => this.turn() }, WAYS.map(([value, words]) => h("option", { value }, words)));
    this.text = h("textarea", { rows: 5 });
    this.references = h("textarea", { rows: 3 });
    this.data = h("select");
    this.job = h("select");
    this.system = h("textarea", { rows: 2 });
    this.scores = h("div", { class: "suite-scores" });
    this.pattern = h("input", { type: "text", maxlength: 1000, spellcheck: "false" });
    this.nothing = h("p", { class: "help" });
    this.save = h("button", { type: "submit", class: "small main" }, "Keep suite");
    const field = (label, control, help = "") => h("label", { class: "suite-field" }, h("span", {}, label), control, help && h("span", { class: "help" }, help));
    this.places = {
      typed: h("div", { class: "suite-typed" }, field("Prompts", this.text, "One a line."),
        field("References (optional)", this.references, "The right answer to each prompt, on the line of the same number.")),
      data: field("Data set", this.data, "The last answer of each row is its reference. Files become data sets on the Data tab."),
      run: field("Run", this.job, "What the run set aside to measure on: its adapter has not learned it. The answers are the references."),
    };
    this.patternField = field("Pattern", this.pattern, "RE2. {reference} in it stands for the reference, taken literally.");
    this.node = h("form", { class: "suite-form", hidden: true, onsubmit: (event) => this.send(event) },
      field("Name", this.name), field("Prompts come from", this.way), ...Object.values(this.places), this.nothing,
      field("System message (optional)", this.system, "Stands before prompts that bring none of their own."),
      h("fieldset", { class: "suite-field" }, h("legend", {}, "Scores"), this.scores, h("span", { class: "help" }, "None chosen: what fits the references.")),
      this.patternField,
      h("div", { class: "buttons" }, this.save, h("button", { type: "button", class: "small", onclick: close }, "Cancel")));
  }

  async open() {
    this.turn();
    this.name.focus();
    const choices = await this.ask("suites_choices", {});
    if (!choices) return;
    const fill = (select, items) => select.replaceChildren(...items.map((one) => h("option", { value: one.id }, one.name)));
    fill(this.data, choices.data);
    fill(this.job, choices.runs);
    if (!this.scores.children.length) this.scores.replaceChildren(...choices.scores.map((one) => this.box(one)));
    this.turn();
  }

  box({ key, title, help }) {
    return h("label", { class: "auto-resume", title: help }, h("input", { type: "checkbox", value: key, onchange: () => this.turn() }), title);
  }

  chosen() {
    return [...this.scores.querySelectorAll("input:checked")].map((box) => box.value);
  }

  turn() {
    const way = this.way.value;
    for (const [name, node] of Object.entries(this.places)) show(node, name === way);
    show(this.patternField, this.chosen().includes("regex"));
    const none = (way === "data" && !this.data.options.length && "There is no data set small enough yet.") || (way === "run" && !this.job.options.length && "No run has set rows aside yet.");
    say(this.nothing, none || "");
    this.save.disabled = Boolean(none);
  }

  async send(event) {
    event.preventDefault();
    this.save.disabled = true;
    const pattern = this.chosen().includes("regex") ? this.pattern.value : "";
    const question = { name: this.name.value, way: this.way.value, text: this.text.value, references: this.references.value, data: Number(this.data.value), job: Number(this.job.value), system: this.system.value, score: this.chosen(), pattern };
    const made = await this.ask("suites_make", question);
    this.save.disabled = false;
    if (!made) return;
    this.node.reset();
    this.done(made.id);
  }
}
