// The Scores card: for each contestant a line from 0 to 100 %, the interval as a bar, the estimate as a tick, and all of
// it in words. Knows nothing about how the figures were made.

import { h, keyed, say, show } from "./dom.js";

export function scoresCard() {
  const fact = h("span", { class: "fact" });
  const rows = h("div", { class: "score-rows" });
  const axis = h("div", { class: "score-axis", "aria-hidden": "true" }, h("span", {}, "0 %"), h("span", {}, "half"), h("span", {}, "100 %"));
  const sentences = h("div", { class: "score-words" });
  const note = h("p", { class: "score-note" });
  const node = h("section", { class: "card scores", hidden: true }, h("div", { class: "card-head" }, h("h2", {}, "Scores"), fact), rows, axis, sentences, note);

  function draw(card) {
    show(node, true);
    say(fact, card.fact);
    keyed(rows, card.rows, makeRow, updateRow);
    show(axis, card.rows.length > 0);
    keyed(sentences, card.sentences.map((words, key) => ({ key, words })), () => h("p"), (line, one) => say(line, one.words));
    say(note, card.note);
  }
  return { node, draw };
}

function makeRow() {
  return h("div", { class: "score-row" },
    h("span", { class: "score-name" }),
    h("span", { class: "score-line", "aria-hidden": "true" }, h("i", { class: "range" }), h("i", { class: "half" }), h("i", { class: "tick" })),
    h("span", { class: "score-share" }));
}

function updateRow(node, row) {
  const [name, line, share] = node.children;
  const [range, , tick] = line.children;
  const colour = `var(--s${1 + (row.swatch - 1) % 8})`;
  say(name, row.name);
  say(share, row.words);
  Object.assign(range.style, { left: `${100 * row.low}%`, width: `${100 * (row.high - row.low)}%`, background: colour });
  Object.assign(tick.style, { left: `${100 * row.value}%`, background: colour });
}
