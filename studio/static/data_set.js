// The open data set on the Data tab: what it is, its rows, what was left out of it and who used it. Every text goes in as
// text. Knows nothing about the list of data sets, or about Gradio.

import { DataChecks } from "./data_checks.js";
import { DataRows } from "./data_rows.js";
import { DataTokens } from "./data_tokens.js";
import { h, keyed, say, show, whole } from "./dom.js";

export class DataSet {
  /**
   * `ask(name, question, told)` gives a promise of the answer, or of null once `told` says why there is none;
   * `act`: {trigger(event, data), remove(set), renamed(), cleaning(answer)}.
   */
  constructor(ask, act, plotly) {
    Object.assign(this, act, { ask });
    this.parts = {};
    this.tokens = new DataTokens(ask, plotly, () => this.rows.again(), (row) => this.rows.to(row));
    this.rows = new DataRows(ask, this.tokens);
    this.checks = new DataChecks(ask, (made) => this.cleaning(made), (row) => this.rows.to(row));
    this.box = h("div", { class: "open-run", hidden: true }, this.makeHead(), this.rows.card, this.tokens.card, this.makeSkipped(), this.checks.card, this.makeUsers());
  }

  /** What can be chosen to look through. */
  offer(choices) {
    this.tokens.offer(choices);
    show(this.rows.modes, choices.bases.length > 0);
  }

  /** Show a set; what is being done to the one that is shown already goes on. */
  show(open) {
    const { parts } = this;
    if (this.set?.id !== open.id) this.forget();
    this.set = open;
    say(parts.name, open.name);
    say(parts.sentence, open.sentence);
    keyed(parts.facts, [...open.facts, ["Added", moment(open.at)]].map(([key, said]) => ({ key, said })), makeFact, updateFact);
    this.showUsers(open.users);
    this.showSkipped(open.skipped);
    show(this.rows.card, open.here);
    if (open.here) this.rows.open(open);
    show(this.checks.card, open.here);
    this.checks.show(open);
  }

  forget() {
    this.naming(false);
    say(this.parts.told, "");
  }

  showUsers({ runs, adapters, run_total: runTotal, adapter_total: adapterTotal }) {
    const { parts } = this;
    const counted = [count(runTotal, "run"), count(adapterTotal, "adapter")].filter(Boolean).join(" and ");
    say(parts.usedBy, counted ? `Used by ${counted}` : "Nobody has used it yet");
    const rows = [...runs.map((one) => ({ ...one, key: `r${one.id}`, event: "run_open", what: "Run" })),
      ...adapters.map((one) => ({ ...one, key: `a${one.id}`, event: "adapter_open", what: "Adapter" }))];
    keyed(parts.users, rows, (row) => this.makeUser(row), updateUser);
    const left = runTotal + adapterTotal - rows.length;
    say(parts.moreUsers, left > 0 ? `And ${whole(left)} more.` : "");
  }

  showSkipped({ total, first, files }) {
    const { parts } = this;
    show(parts.skipped, total + files.length > 0);
    const left = [count(total, "row"), count(files.length, "file")].filter(Boolean).join(" and ");
    say(parts.skippedHead, `Left out: ${left}`);
    say(parts.skippedFact, first.length < total ? `the first ${whole(first.length)} rows are named` : "");
    const reasons = [...files, ...first].map((said, key) => ({ key, said }));
    keyed(parts.reasons, reasons, () => h("li"), (node, { said }) => say(node, said));
  }

  naming(open) {
    const { name, field } = this.parts;
    if (field.hidden === !open) return;
    const held = document.activeElement === field;
    show(name, !open);
    show(field, open);
    if (open) {
      field.value = this.set.name;
      field.focus();
      field.select();
    } else if (held) this.parts.rename.focus();
  }

  async rename(keep) {
    const { field } = this.parts;
    if (field.hidden) return;
    const { id, name: before } = this.set;
    const name = field.value.trim();
    this.naming(false);
    if (!keep || !name || name === before) return;
    if (await this.ask("data_rename", { id, name }, this.parts.told)) this.renamed();
  }

  // --- building ---

  makeHead() {
    const { parts } = this;
    const button = (label, kind, act) => h("button", { type: "button", class: `small ${kind}`, onclick: act }, label);
    parts.name = h("h2", { class: "open-name" });
    parts.field = h("input", { class: "rename", type: "text", maxlength: 80, "aria-label": "New name", hidden: true, onblur: () => this.rename(true), onkeydown: (event) => this.named(event) });
    parts.sentence = h("p", { class: "sentence" });
    parts.facts = h("dl", { class: "data-facts" });
    parts.told = h("p", { class: "problems", role: "alert" });
    parts.rename = button("Rename", "", () => this.naming(true));
    parts.remove = button("Delete", "danger", () => this.remove(this.set));
    const train = button("Train with it", "main", () => this.trigger("train_with", { id: this.set.id }));
    return h("section", { class: "card head-card" },
      h("div", { class: "open-head" }, h("div", { class: "open-title" }, parts.name, parts.field), h("div", { class: "buttons" }, train, parts.rename, parts.remove)),
      parts.sentence, parts.facts, parts.told);
  }

  named(event) {
    if (event.key !== "Enter" && event.key !== "Escape") return;
    event.preventDefault(); // or the same press would also press the button that gets the focus
    this.rename(event.key === "Enter");
  }

  makeSkipped() {
    const { parts } = this;
    parts.skippedHead = h("h2");
    parts.skippedFact = h("span", { class: "fact" });
    parts.reasons = h("ul", { class: "data-reasons", tabindex: 0 });
    return (parts.skipped = h("section", { class: "card", hidden: true }, h("div", { class: "card-head" }, parts.skippedHead, parts.skippedFact), parts.reasons));
  }

  makeUsers() {
    const { parts } = this;
    parts.usedBy = h("h2");
    parts.users = h("ul", { class: "data-users" });
    parts.moreUsers = h("p", { class: "help" });
    return h("section", { class: "card" }, h("div", { class: "card-head" }, parts.usedBy), parts.users, parts.moreUsers);
  }

  makeUser({ id, event }) {
    return h("li", {}, h("span", { class: "what" }), h("button", { type: "button", class: "link", onclick: () => this.trigger(event, { id }) }), h("span", { class: "fact" }));
  }
}

function updateUser(node, { what, name, word }) {
  const [kind, link, fact] = node.children;
  say(kind, what);
  say(link, name);
  say(fact, word);
}

function makeFact() {
  return h("div", {}, h("dt"), h("dd"));
}

function updateFact(node, { key, said }) {
  say(node.firstChild, key);
  say(node.lastChild, said);
}

function count(number, word) {
  return number ? `${whole(number)} ${word}${number === 1 ? "" : "s"}` : "";
}

function moment(seconds) {
  const at = new Date(seconds * 1000);
  return at.toLocaleString("en-GB", { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" });
}
