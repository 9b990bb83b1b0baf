// A choice between a few words, drawn as one segmented button.

import { h } from "./dom.js";

/** `words`: pairs of value and word, the first one chosen; `chosen(value)` hears of another choice. */
export function seg(label, name, words, chosen) {
  const options = words.map(([value, word], i) =>
    h("label", {}, h("input", { type: "radio", name, value, checked: i === 0, onchange: () => chosen(value) }), h("span", {}, word)));
  return h("div", { class: "seg" }, h("div", { class: "wrap", role: "radiogroup", "aria-label": label }, options));
}
