// The kept comparisons: a list to search, newest first; a press opens one. Asks when something was kept, and while
// somebody types; knows nothing about what a comparison holds.

import { h, keyed, say, show, when } from "./dom.js";

const PAUSE = 250; // ms without a key before the search is asked

export function pastCard({ server, open }) {
  const search = h("input", { type: "search", class: "past-search", "aria-label": "Search kept comparisons", placeholder: "Search prompts, names and answers" });
  const list = h("ul", { class: "past-list" });
  const nothing = h("p", { class: "status" });
  const links = ["jsonl", "csv", "md"].map((form) => h("a", { class: "quiet-link", href: `/download/comparisons.${form}`, download: "" }, form.toUpperCase()));
  const pairs = h("a", { class: "quiet-link", href: "/download/preference-pairs.jsonl", download: "", title: "prompt, chosen, rejected" }, "Preference pairs");
  const node = h("section", { class: "card past", hidden: true },
    h("div", { class: "card-head" }, h("h2", {}, "Kept comparisons"), search),
    list, nothing, h("div", { class: "past-links" }, h("span", {}, "Export all that have been told:"), links, pairs));
  let asked = 0, timer = null;

  async function ask() {
    const number = (asked += 1);
    const { rows = [] } = await server.compare_past({ search: search.value }).catch(() => ({}));
    if (number !== asked) return;
    show(node, rows.length > 0 || search.value !== "");
    keyed(list, rows, (row) => makeRow(() => open(row.key)), updateRow);
    show(nothing, rows.length === 0);
    say(nothing, rows.length ? "" : "Nothing kept has all of these words.");
  }

  search.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(ask, PAUSE);
  });
  new IntersectionObserver(([seen], watching) => {
    if (!seen.isIntersecting) return;
    watching.disconnect();
    ask();
  }).observe(document.querySelector("#compare-answers") ?? document.body);
  return { node, ask };
}

function makeRow(open) {
  return h("li", {}, h("button", { type: "button", class: "past-row", onclick: open }, h("span", { class: "past-prompt" }), h("span", { class: "past-names" }), h("span", { class: "past-said" }), h("span", { class: "past-at" })));
}

function updateRow(node, row) {
  const [prompt, names, said, at] = node.firstChild.children;
  say(prompt, row.prompt);
  say(names, row.names);
  say(said, row.said);
  say(at, when(row.at));
}
