// The answers side by side: one grid whose rows line up, filled as the texts grow; the votes on blind ones, and the kept
// ones. Keeps its nodes, so a text can be selected while another still streams. All that is shown is written as text.

import { h, keyed, say, show } from "./dom.js";
import { pastCard } from "./past.js";
import { scoresCard } from "./scores.js";

export function mountAnswers(host) {
  new Answers(host).start();
}

class Answers {
  constructor({ element, trigger, watch, props, server }) {
    Object.assign(this, { element, trigger, watch, props, server });
    this.last = { state: "empty", columns: [] };
    this.build();
  }

  build() {
    this.advice = h("p");
    this.example = h("button", { type: "button", class: "link example", onclick: () => this.trigger("example", {}) });
    this.empty = h("div", { class: "empty-place" }, h("h2", {}, "Ask all of them the same thing"), this.advice, this.example);
    this.grid = h("div", { class: "answers" });
    this.card = h("section", { class: "card answers-card", hidden: true }, h("h2", { class: "for-readers" }, "Answers"), this.grid);
    this.bar = this.voteBar();
    this.again = h("button", { type: "button", class: "small", onclick: () => this.trigger("again", { id: this.last.id }) }, "Ask again exactly");
    this.reseed = h("button", { type: "button", class: "small", onclick: () => this.trigger("reseed", { id: this.last.id }) }, "Ask with another seed");
    this.kept = h("div", { class: "kept-bar", hidden: true }, h("span", { class: "kept-name" }), this.again, this.reseed, this.closerButton(), exportLink("md"), exportLink("jsonl"), exportLink("csv"));
    this.onwards = this.nextQuestion();
    this.ways = h("div", { class: "ways", role: "group", "aria-label": "Ways to go on", hidden: true });
    this.status = h("p", { class: "status answers-status", role: "status" });
    this.scores = scoresCard();
    this.past = pastCard({ server: this.server, open: (id) => this.open(id) });
    this.element.replaceChildren(this.empty, this.card, this.bar, this.onwards, this.status, this.ways, this.kept, this.closer_place, this.scores.node, this.past.node);
  }

  // The card behind it is fetched when somebody first looks closer.
  closerButton() {
    this.closer_place = h("div", { hidden: true });
    this.look = h("button", { type: "button", class: "small", "aria-expanded": "false", onclick: () => this.lookCloser() }, "Look closer");
    return this.look;
  }

  async lookCloser() {
    this.looking = !this.looking;
    this.look.setAttribute("aria-expanded", String(this.looking));
    const { closerCard } = await import("./closer.js");
    this.closer ??= closerCard(this.server);
    this.closer_place.replaceChildren((await this.closer).node);
    this.drawCloser(this.last);
  }

  async drawCloser(shown) {
    const seen = Boolean(this.looking && shown.id && !shown.secret);
    show(this.closer_place, seen);
    if (seen && this.closer) (await this.closer).look(shown.id);
  }

  // The next turn of the conversation in all columns; each goes on with what it said itself.
  nextQuestion() {
    this.next_field = h("textarea", { rows: 1, id: "compare-next", onkeydown: (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.askOn();
    } });
    this.next_button = h("button", { type: "button", class: "small", onclick: () => this.askOn() }, "Ask all");
    return h("div", { class: "next-question", hidden: true }, h("label", { for: "compare-next" }, "Next question to all columns"), h("div", {}, this.next_field, this.next_button));
  }

  askOn() {
    const prompt = this.next_field.value;
    if (!prompt.trim() || this.next_button.disabled) return;
    this.next_button.disabled = true;
    this.trigger("onwards", { id: this.last.id, prompt });
  }

  drawWays(shown) {
    const ways = shown.ways ?? [];
    keyed(this.ways, ways, () => h("button", { type: "button", class: "small" }), (node, one) => {
      say(node, one.words);
      node.onclick = () => { show(this.ways, false); this.trigger("way_out", { way: one.key, retry: one.retry }); };
    });
    show(this.ways, ways.length > 0);
  }

  voteBar() {
    const button = (words, choice) => h("button", { type: "button", class: "small", onclick: () => this.vote(choice) }, words);
    this.tie = button("Tie (T)", "tie");
    this.bad = button("All bad (0)", "bad");
    this.words = h("span", { class: "vote-words" });
    this.next = h("button", { type: "button", class: "small", onclick: () => this.nextPrompt() }, "Next prompt");
    return h("div", { class: "vote-bar", hidden: true }, this.tie, this.bad, this.words, this.next);
  }

  start() {
    const keys = (event) => (this.element.isConnected ? this.key(event) : document.removeEventListener("keydown", keys));
    document.addEventListener("keydown", keys);
    new IntersectionObserver(() => this.keepAddress()).observe(this.element);
    this.watch("value", () => this.draw());
    this.watch("hint", () => this.drawHint());
    this.drawHint();
    this.draw();
    const query = new URLSearchParams(location.search);
    if (query.get("tab") === "compare" && /^\d{1,9}$/.test(query.get("id") ?? "")) this.open(Number(query.get("id")));
  }

  // Answers to events that were asked earlier may arrive later: they change nothing that is newer than they are.
  newest(next) {
    const over = (grid) => grid.state === "complete" || grid.state === "ended", last = this.last;
    if (!next.columns.length && last.columns.length) return next.status ? { ...last, state: "ended", status: next.status } : last;
    if (last.round && next.round < last.round) return last;
    if (last.vote && next.secret && next.id === last.id) return last; // it was on its way while the vote was cast
    return next.round === last.round && over(last) && !over(next) ? last : next;
  }

  draw() {
    if (!this.props.value || !Array.isArray(this.props.value.columns)) return;
    const before = this.last, shown = (this.last = this.newest(this.props.value));
    if (shown !== this.props.value) this.props.value = shown; // what the next event is given
    const busy = shown.state === "waiting" || shown.state === "streaming";
    show(this.empty, shown.columns.length === 0);
    show(this.card, shown.columns.length > 0);
    this.grid.style.setProperty("--columns", shown.columns.length);
    this.grid.dataset.state = shown.state;
    this.grid.classList.toggle("blind", Boolean(shown.blind));
    this.grid.setAttribute("aria-busy", busy);
    const make = (column) => makeColumn(() => this.vote("best", this.last.columns.findIndex((one) => one.key === column.key)));
    keyed(this.grid, shown.columns, make, (node, column) => updateColumn(node, column, shown));
    say(this.status, shown.status ?? "");
    this.drawVote(shown);
    this.drawCloser(shown);
    this.drawWays(shown);
    show(this.onwards, shown.state === "complete" && Boolean(shown.id));
    this.next_button.disabled = false;
    if (shown.id !== before.id && shown.state === "complete") this.next_field.value = "";
    if (shown.id && shown.id !== before.id) this.keepAddress();
    if (shown.id !== before.id || Boolean(shown.vote) !== Boolean(before.vote)) this.past.ask();
  }

  drawVote(shown) {
    show(this.bar, Boolean(shown.blind));
    for (const button of [this.tie, this.bad]) button.disabled = !shown.secret;
    const count = shown.columns.length;
    say(this.words, shown.vote ? shown.vote.words : shown.problem ?? `Vote by click or with keys 1 to ${count}.`);
    show(this.next, Boolean(shown.vote));
    show(this.kept, Boolean(shown.id) && !shown.secret);
    if (!shown.id || shown.secret) return;
    say(this.kept.firstChild, `Comparison ${shown.id}`);
    for (const link of this.kept.querySelectorAll("a")) link.href = `/download/comparisons.${link.dataset.form}?id=${shown.id}`;
  }

  drawHint() {
    const hint = this.props.hint ?? {};
    say(this.advice, hint.advice || "Type a prompt and press Answer. Same seed, same sampling, one base in memory.");
    say(this.example, hint.example ? `For example: ${hint.example}` : "");
    show(this.example, Boolean(hint.example));
    if (hint.scores) this.scores.draw(hint.scores);
  }

  // --- votes and kept comparisons ---

  key(event) {
    if (!this.last.secret || this.element.offsetParent === null || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, textarea, select, [contenteditable=true]")) return;
    const at = Number(event.key) - 1;
    if (/^[1-8]$/.test(event.key) && at < this.last.columns.length) this.vote("best", at);
    else if (event.key.toLowerCase() === "t") this.vote("tie");
    else if (event.key === "0") this.vote("bad");
    else return;
    event.preventDefault();
  }

  async vote(choice, at) {
    if (!this.last.secret || this.voting) return;
    this.voting = true;
    try {
      this.take(await this.server.compare_vote({ id: this.last.id, choice, at: at ?? 0 }));
    } catch {
      this.take({ problem: "The vote did not reach the studio. Try again." });
    } finally {
      this.voting = false;
    }
  }

  async open(id) {
    try {
      this.take(await this.server.compare_open({ id }));
    } catch {
      say(this.status, "The studio does not answer. Try again.");
    }
  }

  take(answer) {
    if (answer.problem) {
      say(this.words, answer.problem);
      say(this.status, answer.problem);
      return;
    }
    this.props.value = { ...answer.grid, round: this.last.round };
    this.scores.draw(answer.scores);
    this.draw();
  }

  nextPrompt() {
    const field = document.querySelector("#compare-prompt textarea");
    field?.focus();
    field?.select();
  }

  /** The address names the comparison that is shown while this tab is. */
  keepAddress() {
    if (!this.last.id) return;
    const query = new URLSearchParams(location.search);
    this.element.offsetParent === null ? query.delete("id") : query.set("id", this.last.id);
    history.replaceState(history.state, "", `${location.pathname}?${query.toString().replaceAll("%2C", ",")}`);
  }
}

function exportLink(form) {
  const words = { md: "Markdown", jsonl: "JSONL", csv: "CSV" };
  return h("a", { class: "quiet-link", "data-form": form, download: "" }, words[form]);
}

function makeColumn(vote) {
  const waiting = h("span", { class: "waiting-text", "aria-hidden": "true" }, [92, 80, 55].map((width) => h("i", { style: `width: ${width}%` })));
  return h("article", { class: "answer", "aria-live": "off" },
    h("div", { class: "answer-head" }, h("span", { class: "swatch", "aria-hidden": "true" }), h("h3", {}), h("span", { class: "fact" })),
    h("div", { class: "answer-text" }, h("div", { class: "turns" }), waiting, h("p", { class: "said" })),
    h("p", { class: "proof" }, h("span", {}), h("span", {}), h("span", { class: "flag" })),
    h("button", { type: "button", class: "small best", onclick: vote }, h("span", {}), h("kbd", {})));
}

function updateColumn(node, column, shown) {
  const [head, text, proof, best] = node.children;
  const [swatch, name, fact] = head.children;
  const [turns, waiting, said] = text.children;
  drawTurns(turns, column.earlier ?? [], shown.prompt);
  const [what, how, flag] = proof.children;
  swatch.style.background = column.swatch ? `var(--s${1 + (column.swatch - 1) % 8})` : "var(--ink-3)";
  say(name, column.name);
  say(fact, column.fact);
  say(said, column.text || (shown.state === "complete" ? "(nothing: the answer ended at once)" : ""));
  said.classList.toggle("nothing", !column.text);
  show(waiting, !column.text && (shown.state === "waiting" || shown.state === "streaming"));
  say(what, column.what);
  what.title = column.whole;
  say(how, column.how);
  say(flag, column.flag ?? "");
  const at = shown.columns.indexOf(column), letter = "ABCDEFGH"[at], chosen = shown.vote?.at === at;
  show(best, Boolean(shown.blind));
  best.disabled = !shown.secret;
  best.classList.toggle("chosen", chosen);
  say(best.firstChild, chosen ? "Your choice" : `${letter} is best`);
  say(best.lastChild, String(at + 1));
}

// What this column was asked and has answered before, and what it is asked now; nothing on a first turn.
function drawTurns(node, earlier, prompt) {
  const asked = earlier.length && prompt ? [{ prompt, text: null }] : [];
  keyed(node, [...earlier, ...asked].map((turn, key) => ({ ...turn, key })), () => h("div", {}, h("p", { class: "asked" }), h("p", { class: "was-said" })), (row, turn) => {
    say(row.firstChild, turn.prompt);
    say(row.lastChild, turn.text ?? "");
    show(row.lastChild, turn.text != null);
  });
}
