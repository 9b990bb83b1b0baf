// The answers side by side: one grid whose rows line up, filled as the texts grow. Keeps its nodes, so a text can be
// selected while another still streams. All that is shown is written as text.

import { h, keyed, say, show } from "./dom.js";

export function mountAnswers({ element, trigger, watch, props }) {
  const advice = h("p");
  const example = h("button", { type: "button", class: "link example", onclick: () => trigger("example", {}) });
  const empty = h("div", { class: "empty-place" }, h("h2", {}, "Ask all of them the same thing"), advice, example);
  const grid = h("div", { class: "answers" });
  const status = h("p", { class: "status answers-status", role: "status" });
  const card = h("section", { class: "card answers-card", hidden: true }, h("h2", { class: "for-readers" }, "Answers"), grid);
  element.replaceChildren(empty, card, status);

  let last = { state: "empty", columns: [] };

  // Answers to events that were asked earlier may arrive later: they change nothing that is newer than they are.
  function newest(next) {
    const over = (grid) => grid.state === "complete" || grid.state === "ended";
    if (!next.columns.length && last.columns.length) return next.status ? { ...last, state: "ended", status: next.status } : last;
    if (last.round && next.round < last.round) return last;
    return next.round === last.round && over(last) && !over(next) ? last : next;
  }

  function draw() {
    if (!props.value || !Array.isArray(props.value.columns)) return;
    const shown = last = newest(props.value);
    if (shown !== props.value) props.value = shown; // what the next event is given
    const busy = shown.state === "waiting" || shown.state === "streaming";
    show(empty, shown.columns.length === 0);
    show(card, shown.columns.length > 0);
    grid.style.setProperty("--columns", shown.columns.length);
    grid.dataset.state = shown.state;
    grid.setAttribute("aria-busy", busy);
    keyed(grid, shown.columns, makeColumn, (node, column) => updateColumn(node, column, shown.state));
    say(status, shown.status ?? "");
  }

  function drawHint() {
    const hint = props.hint ?? {};
    say(advice, hint.advice || "Type a prompt and press Answer. Same seed, same sampling, one base in memory.");
    say(example, hint.example ? `For example: ${hint.example}` : "");
    show(example, Boolean(hint.example));
  }

  watch("value", draw);
  watch("hint", drawHint);
  drawHint();
  draw();
}

function makeColumn() {
  const waiting = h("span", { class: "waiting-text", "aria-hidden": "true" }, [92, 80, 55].map((width) => h("i", { style: `width: ${width}%` })));
  return h("article", { class: "answer", "aria-live": "off" },
    h("div", { class: "answer-head" }, h("span", { class: "swatch", "aria-hidden": "true" }), h("h3", {}), h("span", { class: "fact" })),
    h("div", { class: "answer-text" }, waiting, h("p", {})),
    h("p", { class: "proof" }, h("span", {}), h("span", {})));
}

function updateColumn(node, column, state) {
  const [head, text, proof] = node.children;
  const [, name, fact] = head.children;
  const [waiting, said] = text.children;
  const [what, how] = proof.children;
  say(name, column.name);
  say(fact, column.fact);
  say(said, column.text || (state === "complete" ? "(nothing: the answer ended at once)" : ""));
  said.classList.toggle("nothing", !column.text);
  show(waiting, !column.text && (state === "waiting" || state === "streaming"));
  say(what, column.what);
  what.title = column.whole;
  say(how, column.how);
}
