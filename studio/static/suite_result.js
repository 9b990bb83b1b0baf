// What one run over a suite tells: how far it is, scores with intervals, the answers, or those that changed since an
// earlier run. Knows nothing about suites beyond the run that is open.

import { h, keyed, say, show } from "./dom.js";
import { SuiteJudge } from "./suite_judge.js";

const SHOWN = 10; // prompts at once, as the studio answers them

export class SuiteResult {
  constructor({ ask }) {
    this.ask = ask;
    this.run = null;
    this.first = 0;
    this.seen = "";
    const button = (words, act) => h("button", { type: "button", class: "small", onclick: act }, words);
    this.title = h("h3", { class: "suite-name" });
    this.says = h("p", { class: "sentence", role: "status" });
    this.bar = h("div", { class: "progress", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100, "aria-label": "Progress of the run" }, h("span"));
    this.halt = button("Stop", () => this.do("suites_stop"));
    this.on = button("Go on", () => this.do("suites_go_on"));
    this.links = ["md", "jsonl", "csv"].map((form) => h("a", { class: "quiet-link", download: "", "data-form": form }, { md: "Markdown", jsonl: "JSONL", csv: "CSV" }[form]));
    this.table = h("div", { class: "suite-table" });
    this.sentences = h("div", { class: "score-words" });
    this.note = h("p", { class: "score-note" });
    this.judge = new SuiteJudge({ ask, started: () => this.pull() });
    this.against = h("select", { onchange: () => this.pull() });
    this.rows = h("div", { class: "suite-rows" });
    this.where = h("span", { class: "fact" });
    this.back = button("Earlier prompts", () => this.turn(-SHOWN));
    this.next = button("Later prompts", () => this.turn(SHOWN));
    this.node = h("div", { class: "suite-result", hidden: true },
      h("div", { class: "card-head" }, this.title, h("div", { class: "buttons" }, this.halt, this.on, ...this.links)),
      this.says, this.bar, this.table, this.sentences, this.note, this.judge.node,
      h("label", { class: "suite-against" }, "Show", this.against), this.rows,
      h("div", { class: "buttons" }, this.back, this.next, this.where));
  }

  open(run) {
    if (run === this.run) return;
    Object.assign(this, { run, first: 0, seen: "" });
    this.against.replaceChildren();
    this.judge.open(run);
    this.pull();
  }

  close() {
    this.run = null;
    show(this.node, false);
  }

  /** The runs of the open suite, as they are now: what a run can be held against, and whether there is more to show. */
  offer(runs) {
    const mine = runs.find((run) => run.key === this.run);
    if (!mine) return;
    const others = runs.filter((run) => run.key !== this.run);
    const options = [["", "all answers"], ...others.map((run) => [run.key, `what changed since run ${run.id} (${run.names.join(", ")})`])];
    const chosen = this.against.value, before = [...this.against.options].map((one) => one.text).join();
    if (before !== options.map(([, words]) => words).join()) {
      this.against.replaceChildren(...options.map(([value, words]) => h("option", { value }, words)));
      this.against.value = chosen;
    }
    const now = `${mine.answers} ${mine.left} ${mine.state} ${mine.says}`;
    if (now !== this.seen) this.pull();
    this.seen = now;
  }

  async do(what) {
    if (await this.ask(what, { run: this.run })) this.pull();
  }

  turn(by) {
    this.first = Math.max(0, this.first + by);
    this.pull();
  }

  async pull() {
    const number = (this.asked = (this.asked ?? 0) + 1), { run, first } = this;
    const answer = await this.ask("suites_result", { run, first });
    if (!answer || number !== this.asked || run !== this.run) return;
    this.draw(answer.result);
    const against = Number(this.against.value);
    const changed = against ? await this.ask("suites_changed", { run, against }) : null;
    if (number !== this.asked) return;
    if (changed) this.drawChanged(changed);
    else this.drawAnswers(answer);
  }

  draw(told) {
    show(this.node, true);
    say(this.title, `Run ${told.id}`);
    const cut = told.cut ? ` ${told.cut} were cut at the most tokens.` : "";
    const failed = told.failed ? ` ${told.failed} could not be asked: ${told.problems.join(" ")}` : "";
    say(this.says, `${told.says}${cut}${failed}`);
    const share = Math.floor(100 * (told.share ?? 0));
    this.bar.setAttribute("aria-valuenow", share);
    this.bar.firstChild.style.width = `${share}%`;
    show(this.bar, told.live);
    show(this.halt, told.live);
    show(this.on, !told.live && told.left > 0);
    for (const link of this.links) link.href = `/download/suite-run/${told.id}.${link.dataset.form}`;
    this.table.replaceChildren(...(told.scores.length ? [scoreTable(told)] : []));
    const sentences = told.scores.flatMap((score) => score.sentences.map((words) => ({ key: score.title + words, words: `${score.title}: ${words}` })));
    keyed(this.sentences, sentences, () => h("p"), (line, one) => say(line, one.words));
    say(this.note, told.scores.length ? told.note : "");
    this.judge.draw(told);
    this.names = told.names;
    this.titles = Object.fromEntries(told.scores.map((score) => [score.key, score.title]));
    this.prompts = told.total / Math.max(1, told.names.length);
  }

  drawAnswers({ answers, first }) {
    keyed(this.rows, answers, makePrompt, (node, row) => updatePrompt(node, row, this.names));
    show(this.back, first > 0);
    show(this.next, first + answers.length < this.prompts);
    say(this.where, answers.length ? `Prompts ${first + 1} to ${first + answers.length} of ${this.prompts}` : "");
  }

  drawChanged({ rows, says, pairs, more }) {
    const names = new Map(pairs.map((pair) => [pair.place, pair.name === pair.before ? pair.name : `${pair.name}, before ${pair.before}`]));
    const told = rows.map((row) => ({ ...row, key: `changed-${row.key}` }));
    keyed(this.rows, told, makeChange, (node, row) => updateChange(node, row, names.get(row.place), this.titles));
    show(this.back, false);
    show(this.next, false);
    say(this.where, more ? `${says} The first ${rows.length} are shown; the command suites changed tells all.` : says);
  }
}

function scoreTable({ names, scores }) {
  const head = h("tr", {}, h("th", { scope: "col" }, "Contestant"), scores.map((score) => h("th", { scope: "col", class: "number", title: score.help }, score.title)));
  const body = names.map((name, place) => h("tr", {}, h("td", { class: "name" }, name), scores.map((score) => h("td", { class: "number" }, score.means[place].words))));
  return h("table", { class: "quiet" }, h("thead", {}, head), h("tbody", {}, body));
}

function makePrompt() {
  return h("article", { class: "suite-prompt" }, h("h4", {}), h("p", { class: "suite-reference" }), h("div", { class: "suite-answers" }));
}

function updatePrompt(node, row, names) {
  const [question, reference, answers] = node.children;
  say(question, `${row.number}. ${row.prompt}`);
  say(reference, row.reference ? `Reference: ${row.reference}` : "");
  show(reference, Boolean(row.reference));
  answers.style.setProperty("--columns", Math.min(4, names.length));
  keyed(answers, row.answers, () => h("div", {}, h("p", { class: "proof" }), h("p", { class: "suite-text" })), (part, one) => {
    say(part.firstChild, [names[one.key], one.fact].filter(Boolean).join(" · "));
    say(part.lastChild, one.problem || one.text);
    part.lastChild.classList.toggle("nothing", Boolean(one.problem) || !one.text);
  });
}

function makeChange() {
  return h("article", { class: "suite-prompt" }, h("h4", {}), h("p", { class: "proof" }), h("p", { class: "suite-text" }));
}

function updateChange(node, row, name, titles) {
  const [question, who, text] = node.children;
  say(question, `${row.number}. ${row.prompt}`);
  const scores = Object.entries(row.scores).map(([key, [before, now]]) => `${titles[key] ?? key} ${before.toFixed(2)}, now ${now.toFixed(2)}`);
  say(who, [name, ...scores].join(" · "));
  const tags = { gone: "del", new: "ins", same: "span" };
  text.replaceChildren(...row.diff.map(([kind, words]) => h(tags[kind], {}, words)));
}
