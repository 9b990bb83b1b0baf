// The question in the fields of Compare, kept in this window of the browser, so that a reload loses nothing of it: who
// answers, how it is drawn, the prompt. What was answered is in the library. compare_tab.py reads the same key.

const KEY = "lora-studio-question";

/** What was kept; nothing where nothing was, or where the browser keeps nothing. */
export function kept() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY)) ?? {};
  } catch {
    return {};
  }
}

/** Keep what `read` gives whenever the page is left or hidden. */
export function keepWhenLeft(read) {
  const keep = () => {
    try {
      sessionStorage.setItem(KEY, JSON.stringify({ ...kept(), ...read() }));
    } catch {
      // A browser without storage forgets the question.
    }
  };
  addEventListener("pagehide", keep);
  document.addEventListener("visibilitychange", () => document.visibilityState === "hidden" && keep());
}
