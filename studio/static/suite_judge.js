// What a judge says of a run over a suite, and the choice of one. Knows nothing about how a judge reads.

import { h, keyed, say, show } from "./dom.js";

export class SuiteJudge {
  constructor({ ask, started }) {
    Object.assign(this, { ask, started });
    this.who = h("select");
    this.against = h("select");
    this.go = h("button", { type: "button", class: "small", onclick: () => this.judge() }, "Judge");
    this.table = h("div", { class: "suite-table" });
    this.words = h("div", { class: "score-words" });
    this.note = h("p", { class: "score-note" });
    this.choice = h("div", { class: "suite-go" },
      h("label", { class: "suite-number" }, "Judge", this.who), h("label", { class: "suite-number" }, "Against", this.against), this.go);
    this.help = h("p", { class: "help" }, "A judge reads each answer beside that of one contestant, both ways round; only what it says both times counts.");
    this.node = h("div", { class: "suite-judge" }, this.table, this.words, this.note, this.choice, this.help);
  }

  /** What can be chosen for a run whose contestants have these names. */
  async open(run) {
    this.run = run;
    const answer = await this.ask("suites_judges", {});
    if (answer) fill(this.who, answer.judges.map((one) => [one.value, one.name]));
  }

  draw({ judge, names, live, answers, total }) {
    show(this.node, names.length > 1);
    if (this.names !== names.join()) fill(this.against, names.map((name, place) => [place, name]));
    this.names = names.join();
    show(this.choice, !live && answers === total);
    show(this.help, !live && answers === total && !judge);
    show(this.table, Boolean(judge));
    this.table.replaceChildren(...(judge ? [rates(judge)] : []));
    const words = judge ? [...judge.rows.map((row) => row.said), ...judge.sentences, ...judge.problems] : [];
    keyed(this.words, words.map((one) => ({ key: one, words: one })), () => h("p"), (line, one) => say(line, one.words));
    say(this.note, judge ? judge.note : "");
  }

  async judge() {
    const asked = { run: this.run, judge: this.who.value, against: Number(this.against.value) };
    if (await this.ask("suites_judge", asked)) this.started();
  }
}

function fill(select, options) {
  select.replaceChildren(...options.map(([value, words]) => h("option", { value }, words)));
}

function rates({ name, against, rows }) {
  const heads = [`Against ${against}, by ${name}`, "Win rate", "Better", "Worse", "No verdict", "Not judged"];
  const cells = (row) => [row.words, row.won, row.lost, row.undecided, row.left_out].map((one) => h("td", { class: "number" }, String(one)));
  return h("table", { class: "quiet" },
    h("thead", {}, h("tr", {}, heads.map((words, place) => h("th", { scope: "col", class: place ? "number" : "" }, words)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, h("td", { class: "name" }, row.name), cells(row)))));
}
