// Building blocks of the page's own pieces: elements made from text (never from markup), and numbers in words.
// Knows nothing about runs, adapters or Gradio.

/** An element with attributes and children; strings become text, so no name can turn into markup. */
export function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child != null));
  return node;
}

/** Write text only where it differs: an untouched node keeps selection and focus, and causes no layout. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function show(node, shown) {
  if (node.hidden === shown) node.hidden = !shown;
}

/** Rows by key: nodes that stay are kept (with their focus), new ones are made, others go. */
export function keyed(parent, items, make, update) {
  const old = new Map([...parent.children].map((node) => [node.dataset.key, node]));
  items.forEach((item, place) => {
    const node = old.get(String(item.key)) ?? make(item);
    old.delete(String(item.key));
    node.dataset.key = item.key;
    if (parent.children[place] !== node) parent.insertBefore(node, parent.children[place] ?? null);
    update(node, item);
  });
  old.forEach((node) => node.remove());
}

/** The pill of a state: a mark whose shape tells as much as its colour, and a word. */
export function setPill(node, kind, word) {
  const wanted = `pill ${kind}`;
  if (node.className !== wanted) node.className = wanted;
  say(node, word);
}

const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");
const DAYS = "Sun Mon Tue Wed Thu Fri Sat".split(" ");

/** A moment as people say it beside a list: 14:05, yesterday, Mon, 4 Nov, 4 Nov 2025. */
export function when(seconds, now = new Date()) {
  if (seconds == null) return "";
  const at = new Date(seconds * 1000);
  const midnight = new Date(now.getFullYear(), now.getMonth(), now.getDate()).getTime();
  const days = Math.ceil((midnight - at.getTime()) / 86_400_000);
  if (days <= 0) return clock(at);
  if (days === 1) return "yesterday";
  if (days < 7) return DAYS[at.getDay()];
  const date = `${at.getDate()} ${MONTHS[at.getMonth()]}`;
  return at.getFullYear() === now.getFullYear() ? date : `${date} ${at.getFullYear()}`;
}

export function clock(at, seconds = false) {
  const two = (number) => String(number).padStart(2, "0");
  const minutes = `${two(at.getHours())}:${two(at.getMinutes())}`;
  return seconds ? `${minutes}:${two(at.getSeconds())}` : minutes;
}

/** 3 significant digits without an exponent, for losses and norms. */
export function digits(value, count = 3) {
  if (value == null) return "–";
  if (value !== 0 && Math.abs(value) < 0.001) return value.toExponential(1);
  return Number(value).toPrecision(count).includes("e") ? String(Math.round(value)) : Number(value).toPrecision(count);
}

/** A learning rate: 2e-4, 1.1e-4. */
export function rate(value) {
  if (value == null) return "–";
  if (value === 0) return "0";
  return value.toExponential(1).replace(".0e", "e");
}

export function whole(value) {
  return value == null ? "–" : Math.round(value).toLocaleString("en-US");
}

export function gigabytes(bytes) {
  return bytes == null ? "–" : `${(bytes / 1e9).toFixed(bytes < 1e9 ? 2 : 1)} GB`;
}
