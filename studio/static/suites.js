// The Suites card: prompts that are kept to be asked again, who answered them when, and what a run tells. Asks when
// something changed and the card is in sight. Knows nothing about how answers are made or scored.

import { h, keyed, say, show, when } from "./dom.js";
import { SuiteForm } from "./suite_form.js";
import { SuiteResult } from "./suite_result.js";

const UNDO = 10_000; // ms a deletion can be taken back in place
const AGAIN = 3000; // ms after a question that was not answered

export function mountSuites(host) {
  new Suites(host).start();
}

class Suites {
  constructor({ element, server }) {
    Object.assign(this, { element, server });
    this.suite = null; // the number of the open suite
    this.build();
  }

  build() {
    const button = (words, act, kind = "small") => h("button", { type: "button", class: kind, onclick: act }, words);
    this.list = h("ul", { class: "past-list suite-list" });
    this.told = h("p", { class: "problems", role: "alert" });
    this.notice = h("p", { class: "undo", role: "status" });
    this.empty = h("p", { class: "help", hidden: true }, "A suite is a set of prompts that any contestants can answer again and again, with scores where the right answer is known.");
    this.make = button("New suite", () => this.openForm());
    this.form = new SuiteForm({ ask: (...given) => this.ask(...given), done: (id) => this.made(id), close: () => show(this.form.node, false) });
    this.result = new SuiteResult({ ask: (...given) => this.ask(...given) });
    this.open = this.openPart(button);
    this.node = h("section", { class: "card suites" },
      h("div", { class: "card-head" }, h("h2", {}, "Suites"), this.make),
      this.empty, this.told, this.notice, this.form.node, this.list, this.open);
    this.element.replaceChildren(this.node);
  }

  openPart(button) {
    this.name = h("h3", { class: "suite-name" });
    this.fact = h("p", { class: "help" });
    this.who = h("p", { class: "sentence suite-who" });
    const field = (label, facts) => h("label", { class: "suite-number" }, label, h("input", { type: "number", ...facts }));
    this.temperature = field("Temperature", { min: 0, max: 2, step: 0.05, value: 0 });
    this.tokens = field("Most tokens", { min: 1, max: 4096, step: 1, value: 200 });
    this.go = button("Run suite", () => this.run(), "small main");
    this.runs = h("ul", { class: "past-list suite-runs" });
    const remove = button("Delete suite", () => this.remove());
    return h("div", { class: "suite-open", hidden: true, onmouseenter: () => this.people(), onfocusin: () => this.people() },
      h("div", { class: "card-head" }, this.name, remove), this.fact, this.who,
      h("div", { class: "suite-go" }, this.temperature, this.tokens, this.go), this.runs, this.result.node);
  }

  start() {
    const concerns = (topic) => topic === "suites" || ((topic === "jobs" || topic === "progress") && this.live);
    const changed = ({ detail }) => (detail.topics.some(concerns) ? this.pull() : null);
    window.addEventListener("studio:changed", changed);
    this.stop = () => window.removeEventListener("studio:changed", changed);
    new IntersectionObserver(([seen]) => (seen.isIntersecting ? this.pull() : null)).observe(this.element);
  }

  // --- asking ---

  /** Ask the studio. What goes wrong is said under the head of the card, and null comes back. */
  async ask(name, question) {
    try {
      const answer = await this.server[name](question);
      say(this.told, answer?.problem ?? "");
      return answer?.problem ? null : answer;
    } catch {
      say(this.told, "The studio does not answer. Try again.");
      return null;
    }
  }

  async pull() {
    if (!this.element.isConnected) return this.stop();
    if (this.element.offsetParent === null) return;
    if (this.asking) return void (this.missed = true);
    this.asking = true;
    const wanted = this.suite;
    const answer = await this.server.suites_state({ suite: wanted }).catch(() => null);
    this.asking = false;
    clearTimeout(this.timer);
    if (!answer || answer.problem) this.timer = setTimeout(() => this.pull(), AGAIN);
    else if (wanted === this.suite) this.take(answer);
    if (this.missed || wanted !== this.suite) {
      this.missed = false;
      this.pull();
    }
  }

  take({ rows, open }) {
    show(this.empty, rows.length === 0);
    keyed(this.list, rows, (row) => makeRow(() => this.choose(row.key)), (node, row) => updateRow(node, row, row.key === this.suite));
    show(this.open, Boolean(open));
    if (!open) return;
    say(this.name, open.name);
    say(this.fact, [`${open.fact}.`, open.scored ? `Scored by ${open.scores}.` : "Not scored.", open.system && `System: ${open.system}`, open.pattern && `Pattern: ${open.pattern}`].filter(Boolean).join(" "));
    this.live = open.runs.some((run) => run.live);
    keyed(this.runs, open.runs, (run) => makeRun(() => this.show(run.key)), (node, run) => updateRun(node, run, run.key === this.result.run));
    this.result.offer(open.runs);
    this.people();
  }

  async people() {
    const chosen = contestants();
    if (chosen === this.chosen) return;
    const answer = await this.server.suites_people({ people: chosen }).catch(() => null);
    if (!answer || answer.problem) return;
    this.chosen = chosen;
    const names = answer.names.join(", ");
    say(this.who, answer.problems.length ? answer.problems.join(" ") : `The contestants chosen above answer: ${names}.`);
    this.go.disabled = answer.problems.length > 0;
  }

  // --- doing ---

  choose(id) {
    this.suite = this.suite === id ? null : id;
    this.result.close();
    this.pull();
  }

  openForm() {
    show(this.form.node, true);
    this.form.open();
  }

  made(id) {
    show(this.form.node, false);
    this.suite = id;
    this.result.close();
    this.pull();
  }

  async run() {
    const [temperature, tokens] = [this.temperature, this.tokens].map((label) => Number(label.querySelector("input").value));
    this.go.disabled = true;
    const answer = await this.ask("suites_run", { suite: this.suite, people: contestants(), temperature, max_tokens: tokens });
    this.go.disabled = false;
    if (answer) this.show(answer.id);
  }

  show(run) {
    this.result.open(run);
    this.pull();
  }

  async remove() {
    const gone = await this.ask("suites_delete", { suite: this.suite });
    if (!gone) return;
    this.suite = null;
    this.result.close();
    this.notice.replaceChildren(`Deleted ${gone.name}. `, h("button", { type: "button", class: "link", onclick: () => this.undo(gone.id) }, "Undo"));
    clearTimeout(this.forget);
    this.forget = setTimeout(() => say(this.notice, ""), UNDO);
    this.pull();
  }

  async undo(id) {
    say(this.notice, "");
    if (await this.ask("suites_undo", { suite: id })) this.made(id);
  }
}

/** The choice above, as the page keeps it. */
function contestants() {
  return document.querySelector("#compare-chosen textarea, #compare-chosen input")?.value ?? "";
}

function makeRow(open) {
  return h("li", {}, h("button", { type: "button", class: "past-row suite-row", onclick: open }, h("span", { class: "past-prompt" }), h("span"), h("span")));
}

function updateRow(node, row, open) {
  const [name, fact, scores] = node.firstChild.children;
  node.firstChild.setAttribute("aria-expanded", open);
  node.firstChild.classList.toggle("open", open);
  say(name, row.name);
  say(fact, row.fact);
  say(scores, row.scores);
}

function makeRun(open) {
  return h("li", {}, h("button", { type: "button", class: "past-row suite-row", onclick: open }, h("span", { class: "past-prompt" }), h("span"), h("span", { class: "past-at" })));
}

function updateRun(node, run, open) {
  const [names, says, at] = node.firstChild.children;
  node.firstChild.classList.toggle("open", open);
  node.firstChild.setAttribute("aria-pressed", open);
  say(names, `Run ${run.id}: ${run.names.join(", ")}`);
  say(says, run.says);
  say(at, when(Date.parse(run.at) / 1000));
}
