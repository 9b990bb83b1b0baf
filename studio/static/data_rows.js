// The rows of one data set, a page at a time, as text: who says what, and what of it the model learns. Every text goes in
// as text. Knows nothing about the list of data sets, or about Gradio.

import { h, keyed, say, show, whole } from "./dom.js";
import { seg } from "./seg.js";

const PAGE = 10;

export class DataRows {
  /**
   * `ask(name, question, told)` gives a promise of the answer, or of null once `told` says why there is none;
   * `tokens` shows the same rows as a base model sees them.
   */
  constructor(ask, tokens) {
    Object.assign(this, { ask, tokens });
    this.mode = "text";
    this.first = 0; // the number of the row that stands first, from 0
    this.build();
  }

  /** Show a data set from its first row; the one that is shown already stays where it is. */
  open(set) {
    if (this.set?.id === set.id) return;
    this.set = set;
    this.to(0);
    this.tokens.open(set, this.mode === "tokens");
  }

  look(mode) {
    this.mode = mode;
    const tokens = mode === "tokens";
    show(this.tokens.fields, tokens);
    show(this.textProof, !tokens);
    show(this.tokens.proof, tokens);
    this.again(); // first: the studio answers one after the other, and lengths may take a while
    this.tokens.open(this.set, tokens);
  }

  again() {
    this.to(this.first);
  }

  async to(first) {
    const { set, mode } = this;
    this.first = Math.max(0, Math.min(first, set.rows - 1));
    const asked = { id: set.id, first: this.first, count: PAGE };
    const turn = (this.turn = (this.turn ?? 0) + 1);
    this.list.setAttribute("aria-busy", "true");
    const rows = mode === "tokens" ? await this.tokens.rows(asked, this.told) : await this.text(asked);
    if (turn !== this.turn) return;
    this.list.setAttribute("aria-busy", "false");
    if (!rows) return;
    this.list.replaceChildren(...rows);
    this.showPlace(rows.length);
  }

  async text(asked) {
    const answer = await this.ask("data_rows", asked, this.told);
    return answer && answer.rows.map((row) => this.makeRow(row));
  }

  showPlace(count) {
    const { rows } = this.set;
    say(this.place, rows > 1 ? `${whole(this.first + 1)} to ${whole(this.first + count)} of ${whole(rows)}` : "1 row");
    this.list.setAttribute("start", this.first + 1);
    this.back.setAttribute("aria-disabled", String(this.first === 0));
    this.on.setAttribute("aria-disabled", String(this.first + count >= rows));
    this.number.max = rows;
    show(this.tools, rows > PAGE);
  }

  turn(pages) {
    const to = this.first + pages * PAGE;
    if (to < this.set.rows && to > -PAGE) this.to(to);
  }

  go(event) {
    event.preventDefault();
    const number = Math.round(Number(this.number.value));
    if (number >= 1) this.to(number - 1);
  }

  async wholeRow(key, item) {
    const { set } = this;
    const answer = await this.ask("data_rows", { id: set.id, first: key, count: 1 }, this.told);
    if (answer?.rows.length && set === this.set && item.isConnected) item.replaceWith(this.makeRow(answer.rows[0]));
  }

  // --- building ---

  build() {
    const step = (sign, label, pages) => h("button", { type: "button", class: "small", "aria-label": label, onclick: () => this.turn(pages) }, sign);
    this.back = step("←", "Earlier rows", -1);
    this.on = step("→", "Later rows", 1);
    this.place = h("span", { class: "fact", role: "status" });
    this.number = h("input", { type: "number", min: 1, step: 1, "aria-label": "Go to row", placeholder: "Row" });
    const go = h("form", { novalidate: true, onsubmit: (event) => this.go(event) }, this.number);
    this.tools = h("div", { class: "chart-tools" }, this.back, this.on, go);
    this.modes = seg("Rows are shown", "data-mode", [["text", "As text"], ["tokens", "As the model sees them"]], (mode) => this.look(mode));
    this.told = h("p", { class: "problems", role: "alert" });
    this.list = h("ol", { class: "data-rows", "aria-label": "Rows of the data set" });
    this.textProof = h("p", { class: "proof" }, "The model learns the ", h("span", { class: "learned" }, "marked"), " text; the rest is context.");
    this.card = h("section", { class: "card rows-card" },
      h("div", { class: "card-head" }, h("div", { class: "open-title" }, h("h2", {}, "Rows"), this.place), h("div", { class: "chart-tools" }, this.modes, this.tools)), this.tokens.fields, this.told, this.list, this.textProof, this.tokens.proof);
  }

  makeRow({ key, pieces }) {
    const left = pieces.reduce((sum, piece) => sum + piece.left, 0);
    const item = h("li", { "data-key": key }, h("span", { class: "n" }, whole(key + 1)), h("div", { class: "pieces" }, pieces.map(makePiece)));
    if (left) item.lastChild.append(h("button", { type: "button", class: "link", onclick: () => this.wholeRow(key, item) }, `Show ${whole(left)} more characters`));
    return item;
  }
}

/** What somebody says in a row: their role, and the text, marked where the model learns it. */
export function makePiece({ role, text, learned, left }) {
  const said = h("span", { class: learned ? "learned" : "" }, left ? `${text}…` : text);
  return h("div", { class: "piece" }, h("span", { class: "role" }, role), h("div", { class: "said" }, said));
}

/** Numbers of rows, from 0, as links that lead to them; `total` counts those that are not named, too. */
export function showRows(list, rows, total, go) {
  const link = ({ key }) => h("button", { type: "button", class: "link", "aria-label": `Go to row ${key + 1}`, onclick: () => go(key) }, whole(key + 1));
  keyed(list, rows.map((key) => ({ key })), link, () => {});
  list.dataset.more = total > rows.length ? `and ${whole(total - rows.length)} more` : "";
}
