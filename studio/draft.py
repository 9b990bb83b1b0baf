"""What static/draft.js has kept of a question when the page was left, as scripts that put it back into the fields.

It counts until somebody was chosen on this page, unless the address names other adapters. Both take the two fields that
say who answers and what else the event is given. Knows nothing about what the fields mean.
"""

from studio.contestants import NOBODY_YET

_KEPT = f"""(handed, chosen, ...more) => {{
  let kept = {{}}
  try {{ kept = JSON.parse(sessionStorage.getItem('lora-studio-question')) ?? {{}} }} catch {{ /* nothing is kept */ }}
  const values = (kept.chosen ?? '').split(',')
  const adapters = values.filter(one => one.startsWith('adapter-')).map(one => one.slice(8)).join()
  const counts = kept.chosen && chosen === '{NOBODY_YET}' && (!handed || handed === adapters)
"""

WHO = f"""{_KEPT}
  return counts ? [adapters, kept.chosen, ...more] : [handed, chosen, ...more]
}}"""

# More are the prompt, which stays where somebody has typed already, the names and the seed.
FIELDS = f"""{_KEPT}
  const [prompt, names, seed] = more
  return [counts ? adapters : handed, prompt || (kept.prompt ?? ''), kept.names ?? names, Number(kept.seed || seed)]
}}"""
