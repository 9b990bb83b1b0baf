// The Library tab: turns clicks and keys on the table and the card into events, keeps the focus when either is drawn anew,
// and opens the field for a new name. The markup comes from the server, escaped; nothing here makes markup from text.

const UNDO = 10_000; // ms a deletion can be taken back in place
const AT_MOST = 4; // adapters beside the base

export function mountTable({ element, trigger, watch }) {
  const ids = (box) => [...element.querySelectorAll(`tr[data-id]:has(input${box})`)].map((row) => Number(row.dataset.id));
  const marked = () => ids(":checked");
  let unseen = null; // what was marked here, until a table is drawn with it: an older answer must not take it back

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
    unseen = marked();
    trigger("marked", { ids: unseen });
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

  // The table is drawn anew over the old nodes, place by place: what a person did to a node must not stay with its place.
  watch("value", () => {
    const drawn = ids("[checked]");
    const shown = unseen?.filter((id) => element.querySelector(`tr[data-id="${id}"]`));
    if (shown?.length === drawn.length && shown.every((id) => drawn.includes(id))) unseen = null;
    element.querySelectorAll("tr[data-id]").forEach((row) => {
      row.querySelector("input").checked = (unseen ?? drawn).includes(Number(row.dataset.id));
    });
    if (document.activeElement?.matches("tr[data-id]") && element.contains(document.activeElement)) {
      element.querySelector('tr[aria-selected="true"]')?.focus();
    }
  });
}

export function mountCard({ element, trigger, watch }) {
  const detail = () => element.querySelector(".detail");
  const field = () => element.querySelector(".rename");
  let editing = null; // the adapter whose name is being typed
  let folding = null; // the adapter for which a folder is being typed
  let folder = "";

  element.addEventListener("click", (event) => {
    const act = event.target.closest("[data-act]")?.dataset.act;
    if (!act || !detail()) return;
    const id = Number(detail().dataset.id);
    if (act === "rename") begin(id);
    else if (act === "merge_open") unfold(folding === id ? null : id);
    else if (act === "merge") write(id);
    else trigger(act, { id });
  });
  element.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.matches(".folder")) {
      event.preventDefault();
      write(Number(detail().dataset.id));
    }
    if (event.target !== field()) return;
    if (event.key !== "Enter" && event.key !== "Escape") return;
    event.preventDefault(); // or the same press would also press the button that gets the focus
    end(event.key === "Enter");
  });
  element.addEventListener("focusout", (event) => {
    if (event.target === field()) end(true);
  });

  element.addEventListener("input", (event) => {
    if (event.target.matches(".folder")) folder = event.target.value;
  });

  function unfold(id) {
    if (folding !== id) folder = "";
    folding = id;
    const place = element.querySelector(".merge");
    if (!place) return;
    place.hidden = id === null;
    element.querySelector('[data-act="merge_open"]').setAttribute("aria-expanded", id !== null);
    place.querySelector(".folder").value = folder;
    if (id !== null) place.querySelector(".folder").focus();
  }

  function write(id) {
    trigger("merge", { id, folder: folder.trim() });
    unfold(null);
  }

  function show(open) {
    element.querySelector("h2").hidden = open;
    field().hidden = !open;
  }

  function begin(id) {
    editing = id;
    show(true);
    field().value = detail().dataset.name;
    field().focus();
    field().select();
  }

  function end(keep) {
    if (editing === null) return;
    const id = editing;
    const name = field().value.trim();
    const back = document.activeElement === field();
    editing = null;
    show(false);
    if (back) element.querySelector('[data-act="rename"]').focus();
    if (keep && name && name !== detail().dataset.name) trigger("rename", { id, name });
  }

  watch("value", () => {
    // The card may be drawn anew while a name is being typed: the words typed so far stay.
    if (editing !== null && detail() && Number(detail().dataset.id) === editing) {
      show(true);
      field().focus();
    } else editing = null;
    if (folding !== null && detail() && Number(detail().dataset.id) === folding) {
      const there = document.activeElement?.matches(".folder") || document.activeElement === document.body;
      const place = element.querySelector(".merge");
      if (place) {
        place.hidden = false;
        place.querySelector(".folder").value = folder;
        element.querySelector('[data-act="merge_open"]').setAttribute("aria-expanded", true);
        if (there) place.querySelector(".folder").focus();
      }
    } else folding = null;
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
