// The Library tab: turns clicks and keys on the table and the card into events, keeps the focus when either is drawn anew,
// and opens the field for a new name. The markup comes from the server, escaped; nothing here makes markup from text.

const UNDO = 10_000; // ms a deletion can be taken back in place
const AT_MOST = 4; // adapters beside the base

export function mountTable({ element, trigger, watch }) {
  const marked = () => [...element.querySelectorAll("tr[data-id]:has(input:checked)")].map((row) => Number(row.dataset.id));
  let focused = null; // how to find the focused element again when the table is drawn anew

  function pick(row) {
    element.querySelectorAll("tr[data-id]").forEach((one) => {
      one.setAttribute("aria-selected", one === row);
      one.tabIndex = one === row ? 0 : -1;
    });
    row.focus();
    trigger("row_open", { id: Number(row.dataset.id) });
  }

  function mark(box) {
    if (marked().length > AT_MOST) box.checked = false;
    trigger("marked", { ids: marked() });
  }

  element.addEventListener("click", (event) => {
    const sort = event.target.closest("[data-sort]");
    const act = event.target.closest("[data-act]");
    const row = event.target.closest("tr[data-id]");
    if (sort) trigger("sort_by", { sort: sort.dataset.sort });
    else if (act) trigger(act.dataset.act, {});
    else if (event.target.closest(".mark")) toggle(event, row);
    else if (row && (event.ctrlKey || event.metaKey)) toggle(event, row);
    else if (row) pick(row);
  });

  function toggle(event, row) {
    const box = row?.querySelector("input");
    if (!box) return;
    if (event.target !== box) box.checked = !box.checked;
    mark(box);
  }

  element.addEventListener("keydown", (event) => {
    const row = event.target.closest("tr[data-id]");
    if (!row) return;
    const to = { ArrowDown: row.nextElementSibling, ArrowUp: row.previousElementSibling, Home: row.parentNode.firstElementChild, End: row.parentNode.lastElementChild }[event.key];
    if (to) {
      event.preventDefault();
      pick(to);
    } else if (event.key === " " && event.target === row) {
      event.preventDefault();
      toggle(event, row);
    }
  });

  element.addEventListener("focusin", ({ target }) => {
    const row = target.closest("tr[data-id]");
    if (target.dataset.sort) focused = `[data-sort="${target.dataset.sort}"]`;
    else if (row) focused = target === row ? 'tr[aria-selected="true"]' : `tr[data-id="${row.dataset.id}"] input`;
  });
  document.addEventListener("focusin", ({ target }) => {
    if (!element.contains(target)) focused = null;
  });
  watch("value", () => {
    if (focused && document.activeElement === document.body) element.querySelector(focused)?.focus();
  });
}

export function mountCard({ element, trigger, watch }) {
  const detail = () => element.querySelector(".detail");
  let editing = false;

  element.addEventListener("click", (event) => {
    const act = event.target.closest("[data-act]")?.dataset.act;
    if (!act || !detail()) return;
    if (act === "rename") return rename();
    trigger(act, { id: Number(detail().dataset.id) });
  });

  function rename() {
    if (editing) return;
    editing = true;
    const head = detail().querySelector("h2");
    const field = document.createElement("input");
    Object.assign(field, { type: "text", className: "rename", value: detail().dataset.name, maxLength: 80 });
    field.setAttribute("aria-label", "New name");
    const id = Number(detail().dataset.id);
    const end = (keep) => {
      if (!editing) return;
      editing = false;
      const name = field.value.trim();
      field.replaceWith(head);
      if (keep && name && name !== detail()?.dataset.name) trigger("rename", { id, name });
      detail()?.querySelector('[data-act="rename"]')?.focus();
    };
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter") end(true);
      if (event.key === "Escape") end(false);
    });
    field.addEventListener("blur", () => end(true));
    head.replaceWith(field);
    field.focus();
    field.select();
  }

  watch("value", () => {
    editing = false;
    // On a phone the card lies under the table: bring what was asked for into sight.
    if (matchMedia("(max-width: 760px)").matches && document.activeElement?.matches("tr[data-id]")) {
      detail()?.scrollIntoView({ block: "nearest" });
    }
  });
}

export function mountNotice({ element, trigger, watch }) {
  let timer;
  element.addEventListener("click", (event) => {
    const undo = event.target.closest('[data-act="undo"]');
    if (undo) trigger("undo", { id: Number(undo.dataset.id) });
  });
  watch("value", () => {
    clearTimeout(timer);
    const line = element.querySelector(".undo");
    if (line) timer = setTimeout(() => line.remove(), UNDO);
  });
}
