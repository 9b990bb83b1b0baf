// The card "Look closer" on a kept comparison: what differs between two answers, how much likelier the adapter made each
// token, how likely an answer of one's own is, and what judges say. Fetched when it is first opened, with its style.
// All that is shown is written as text; knows nothing about how the figures were made.

import { h, keyed, say, show } from "./dom.js";
import { seg } from "./seg.js";

const PARTS = [["words", "Differences"], ["tokens", "Tokens"], ["reference", "Reference"], ["judge", "Judge"]];
const SHADES = [[-3, "100 times less likely"], [-2, "10 times"], [-1, "2 times"], [0, "about as likely"], [1, "2 times"], [2, "10 times"], [3, "100 times likelier"]];
const FAILED = "The studio does not answer. Try again.";

/** The card, once its style is there. */
export async function closerCard(server) {
  await style();
  return new Closer(server);
}

function style() {
  const link = h("link", { rel: "stylesheet", href: new URL("closer.css", import.meta.url).href });
  return new Promise((done) => {
    link.onload = link.onerror = done;
    document.head.append(link);
  });
}

class Closer {
  constructor(server) {
    this.server = server;
    this.facts = null;
    this.status = h("p", { class: "status", role: "status" });
    this.parts = { words: this.words(), tokens: this.tokens(), reference: this.reference(), judge: this.judge() };
    const choice = seg("What to look at", "closer-part", PARTS, (part) => this.open(part));
    this.node = h("section", { class: "card closer" }, h("div", { class: "card-head" }, h("h2", {}, "Look closer"), choice), Object.values(this.parts), this.status);
    this.open("words");
  }

  open(part) {
    for (const [name, node] of Object.entries(this.parts)) show(node, name === part);
  }

  /** Show another comparison, or the same one once more is known of it. */
  async look(id) {
    this.id = id;
    await this.ask("closer_look", {});
  }

  async ask(name, question) {
    const id = this.id;
    const facts = await this.server[name]({ id, ...question }).catch(() => ({ problem: FAILED }));
    if (id !== this.id) return;
    say(this.status, facts.problem ?? "");
    if (!facts.problem) this.draw(facts);
  }

  draw(facts) {
    const another = facts.id !== this.facts?.id;
    this.facts = facts;
    for (const select of [this.one, this.other, this.column]) options(select, facts.names.map((name, at) => [at, name]), another);
    if (another) {
      this.other.value = String(Math.min(1, facts.names.length - 1));
      this.column.value = String(Math.max(0, facts.tokens.findIndex((one) => one.tokens.length)));
      this.text.value = facts.reference?.text ?? "";
    }
    options(this.who, facts.judges.map((one) => [one.value, one.name]), false);
    this.difference();
    this.drawTokens();
    this.drawReference();
    this.drawJudge();
  }

  // --- differences ---

  words() {
    this.one = h("select", { onchange: () => this.difference() });
    this.other = h("select", { onchange: () => this.difference() });
    this.differences = h("p", { class: "closer-text" });
    this.counted = h("p", { class: "sentence" });
    const legend = h("p", { class: "help" }, "Only in the first: ", h("del", {}, "struck through"), ". Only in the second: ", h("ins", {}, "underlined"), ".");
    return h("div", {}, h("div", { class: "closer-fields" }, h("label", {}, "First", this.one), h("label", {}, "Second", this.other)), this.counted, this.differences, legend);
  }

  async difference() {
    const id = this.id, [one, other] = [Number(this.one.value), Number(this.other.value)];
    const told = await this.server.closer_difference({ id, one, other }).catch(() => ({ problem: FAILED }));
    if (id !== this.id || one !== Number(this.one.value) || other !== Number(this.other.value)) return;
    say(this.counted, told.problem ?? told.said);
    const tags = { gone: "del", new: "ins", same: "span" };
    this.differences.replaceChildren(...(told.spans ?? []).map(([kind, text]) => h(tags[kind], {}, text)));
  }

  // --- tokens ---

  tokens() {
    this.column = h("select", { onchange: () => this.drawTokens() });
    this.gained = h("p", { class: "sentence" });
    this.list = h("div", { class: "closer-text closer-tokens", role: "listbox", "aria-label": "Tokens of the answer; arrow keys move", onkeydown: (event) => this.move(event) });
    this.value = h("p", { class: "closer-value" });
    for (const seen of ["pointerover", "focusin"]) this.list.addEventListener(seen, (event) => this.read(event.target.closest("[role=option]")));
    const legend = h("p", { class: "help closer-legend" }, SHADES.map(([shade, words]) => h("span", { "data-shade": shade }, words)));
    const note = h("p", { class: "help" }, "Each token by how likely the adapter was to say it, beside the base at the same place; before temperature and the like.");
    return h("div", {}, h("div", { class: "closer-fields" }, h("label", {}, "Answer of", this.column)), this.gained, this.list, this.value, legend, note);
  }

  drawTokens() {
    const told = this.facts.tokens[Number(this.column.value)];
    say(this.gained, told.said);
    this.list.replaceChildren(...told.tokens.map(([text, shade, words], at) => h("span", { role: "option", "aria-selected": "false", "data-shade": shade, "data-words": words, "aria-label": `${text.trim() || "space"}: ${words}`, tabindex: at ? -1 : 0 }, text)));
    show(this.list, told.tokens.length > 0);
    say(this.value, told.tokens.length ? "Point at a token, or go to the text and use the arrow keys." : "");
  }

  read(token) {
    if (!token) return;
    for (const one of this.list.querySelectorAll("[aria-selected=true]")) one.setAttribute("aria-selected", "false");
    token.setAttribute("aria-selected", "true");
    say(this.value, `“${token.textContent.trim() || "␣"}” ${token.dataset.words}`);
  }

  move(event) {
    const all = [...this.list.children], at = all.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (at < 0 || to === undefined || !all[to]) return;
    event.preventDefault();
    all[at].tabIndex = -1;
    all[to].tabIndex = 0;
    all[to].focus();
  }

  // --- a reference answer ---

  reference() {
    this.text = h("textarea", { rows: 2 });
    this.measure = h("button", { type: "button", class: "small", onclick: () => this.during(this.measure, "closer_reference", { text: this.text.value }, "Measuring.") }, "Measure");
    this.likeliest = h("p", { class: "sentence" });
    this.rows = h("tbody");
    this.table = h("table", { class: "quiet" }, h("thead", {}, h("tr", {}, ["Contestant", "In all", "Per token", "Perplexity"].map((word, i) => h("th", { scope: "col", class: i ? "number" : "" }, word)))), this.rows);
    const help = h("p", { class: "help" }, "An answer of your own, such as the right one. How likely is each contestant to give it? In all is the sum of its tokens' log-probabilities; nearer to 0 is likelier.");
    return h("div", {}, h("label", { class: "closer-wide" }, "Reference answer", this.text), help, this.measure, this.likeliest, this.table);
  }

  drawReference() {
    const told = this.facts.reference;
    show(this.table, Boolean(told));
    say(this.likeliest, told?.said ?? "");
    const make = () => h("tr", {}, h("th", { scope: "row" }), [0, 1, 2].map(() => h("td", { class: "number" })));
    keyed(this.rows, (told?.rows ?? []).map((row, key) => ({ ...row, key })), make, (node, row) => {
      [row.name, ...row.said].forEach((words, i) => say(node.children[i], words));
    });
  }

  // --- judges ---

  judge() {
    this.who = h("select", {});
    this.go = h("button", { type: "button", class: "small", onclick: () => this.during(this.go, "closer_judge", { judge: this.who.value }, "Reading the answers, both ways round.") }, "Judge");
    this.judged = h("div", { class: "closer-judges" });
    this.refused = h("p", { class: "sentence" });
    this.asking = h("div", { class: "closer-fields" }, h("label", {}, "Judge", this.who), this.go);
    const help = h("p", { class: "help" }, "A model of the library reads prompt and answers, each pair both ways round; a verdict counts if it is the same both times. Small models are weak judges: see how far this one agrees with votes.");
    return h("div", {}, this.asking, this.refused, help, this.judged);
  }

  drawJudge() {
    show(this.asking, this.facts.judges.length > 0);
    say(this.refused, this.facts.no_judge);
    const make = () => h("article", {}, h("h3", {}), h("ul", {}), h("div", {}));
    keyed(this.judged, this.facts.verdicts, make, (node, one) => {
      const [name, rows, sentences] = node.children;
      say(name, `Judge: ${one.judge}`);
      rows.replaceChildren(...one.rows.map((row) => h("li", {}, `${row.pair}: `, h("b", {}, row.said))));
      sentences.replaceChildren(...one.sentences.map((words) => h("p", { class: "help" }, words)));
    });
  }

  async during(button, name, question, words) {
    if (button.disabled) return;
    button.disabled = true;
    say(this.status, words);
    await this.ask(name, question);
    button.disabled = false;
  }
}

/** Fill a choice, and keep what was chosen unless `anew`. */
function options(select, pairs, anew) {
  const before = select.value;
  select.replaceChildren(...pairs.map(([value, name]) => h("option", { value }, name)));
  if (!anew && pairs.some(([value]) => String(value) === before)) select.value = before;
}
