// The frame of the page: the pulse, the address bar, the keys of the tabs, the theme.
// It knows nothing of what the tabs show. Every text from outside goes in by textContent.
(() => {
  if (window.studioPulse) return;
  const $ = id => document.getElementById(id);
  const write = (node, text) => { if (node && node.textContent !== text) node.textContent = text };

  // ---- the pulse: what changed since the last look ----
  const PERIOD = 1000, SLOWEST = 15000;

  function showJobs(jobs) {
    const pill = $('pulse-pill'), word = pill.querySelector('.word');
    const parts = [];
    if (jobs.running) parts.push(jobs.running + ' running');
    if (jobs.queued) parts.push(jobs.queued + ' queued');
    write(word, parts.join(', ') || 'idle');
    pill.className = 'pill ' + (jobs.running ? 'run' : jobs.queued ? 'queued' : 'idle');
    pill.dataset.job = jobs.open || '';
    pill.disabled = !parts.length;
  }

  // Readers hear of a run at its start, at every tenth of it, and at its end; never of single steps.
  let told = {open: null, tenth: -1, name: ''};
  function tell(jobs) {
    const tenth = jobs.steps ? Math.floor(10 * jobs.step / jobs.steps) : 0;
    let text = '';
    if (told.open && jobs.open !== told.open) text = told.name + ' has ended.';
    else if (jobs.open && jobs.open !== told.open) text = jobs.name + ' has started.';
    else if (jobs.open && tenth > told.tenth) text = `${jobs.name}: step ${jobs.step} of ${jobs.steps}.`;
    told = {open: jobs.open, tenth: jobs.open === told.open ? Math.max(tenth, told.tenth) : tenth, name: jobs.name};
    if (text) write($('announcer'), text);
  }

  function showFetch(fetch) {
    const line = document.querySelector(`.fetch-line[data-job="${fetch.job}"]`);
    if (!line) return;
    write(line.querySelector('.words'), fetch.words);
    const bar = line.querySelector('[role=progressbar]');
    bar.setAttribute('aria-valuenow', fetch.share);
    bar.firstElementChild.style.width = fetch.share + '%';
  }

  window.studioPulse = (element, trigger, server, events) => {
    let after = -1, wait = PERIOD, timer = null, busy = false;
    const known = new Set(events);

    function take(news) {
      window.studioNews = news;
      showJobs(news.jobs); tell(news.jobs); news.fetches.forEach(showFetch);
      write($('machine'), news.machine);
      const first = after < 0;
      after = news.revision;
      if (first || !news.topics.length) return;
      window.dispatchEvent(new CustomEvent('studio:changed', {detail: news}));
      for (const topic of news.topics) if (known.has(topic + '_changed')) trigger(topic + '_changed');
    }

    async function beat() {
      clearTimeout(timer);
      if (!element.isConnected) return;
      if (!busy && document.visibilityState === 'visible') {
        busy = true;
        try {
          const news = await server.changes({after});
          if (news.problem) throw new Error(news.problem);
          wait = PERIOD;
          document.body.classList.remove('stale');
          take(news);
        } catch (error) {
          // The page keeps what it shows, says that it may be old, and asks less and less often.
          wait = Math.min(SLOWEST, wait * 2);
          document.body.classList.add('stale');
          const pill = $('pulse-pill');
          if (pill) { write(pill.querySelector('.word'), 'no answer from the studio'); pill.className = 'pill failed'; pill.disabled = true }
        } finally { busy = false }
      }
      timer = setTimeout(beat, wait);
    }

    document.addEventListener('visibilitychange', () => { if (document.visibilityState === 'visible') { wait = PERIOD; beat() } });
    // After a button was pressed the answer should not wait for the next second.
    window.addEventListener('studio:ask', beat);
    $('pulse-pill').addEventListener('click', e => trigger('open_run', {id: e.currentTarget.dataset.job}));
    $('theme-switch').addEventListener('click', switchTheme);
    labelTheme();
    beat();
  };

  // ---- the address bar: ?tab=runs&job=12 ----
  const here = {tab: '', job: '', adapter: '', contestants: '', data: ''};
  const shownOn = {job: 'runs', adapter: 'library', contestants: 'compare', data: 'data'};

  window.studioAddress = part => {
    Object.assign(here, part);
    const query = new URLSearchParams(location.search);
    if (here.tab) here.tab === 'train' ? query.delete('tab') : query.set('tab', here.tab);
    for (const [name, tab] of Object.entries(shownOn))
      here[name] && here.tab === tab ? query.set(name, here[name]) : query.delete(name);
    const text = query.toString().replaceAll('%2C', ',');
    const address = location.pathname + (text ? '?' + text : '');
    if (address !== location.pathname + location.search) history.replaceState(history.state, '', address);
  };

  // ---- tabs: arrow keys, one tab stop, named panels ----
  const tabButtons = list => [...list.querySelectorAll('[role=tab]')].filter(b => b.id && !b.disabled);
  const panelOf = button => $(button.id.replace(/-button$/, ''));

  function tidyTabs(list) {
    for (const button of tabButtons(list)) {
      const chosen = button.getAttribute('aria-selected') === 'true';
      if (button.tabIndex !== (chosen ? 0 : -1)) button.tabIndex = chosen ? 0 : -1;
      const panel = panelOf(button);
      if (panel && panel.getAttribute('aria-labelledby') !== button.id) panel.setAttribute('aria-labelledby', button.id);
      const tab = button.id.replace(/^tab-|-button$/g, '');
      if (chosen && here.tab !== tab) {
        // The first tab shown is the one of the address, before the page has moved to it.
        if (here.tab || !new URLSearchParams(location.search).get('tab')) window.studioAddress({tab});
        else here.tab = tab;
      }
    }
  }

  document.addEventListener('keydown', e => {
    const button = e.target.closest && e.target.closest('#tabs > .tab-wrapper [role=tab]');
    if (!button) return;
    const all = tabButtons(button.closest('[role=tablist]')), at = all.indexOf(button), n = all.length;
    const to = {ArrowRight: all[(at + 1) % n], ArrowLeft: all[(at + n - 1) % n], Home: all[0], End: all[n - 1]}[e.key];
    if (to) { e.preventDefault(); to.click(); to.focus() }
  });

  // ---- theme: the address wins, then the choice made here, then the system ----
  const KEY = 'lora-studio-theme';
  const asked = new URLSearchParams(location.search).get('__theme');
  const remembered = () => { try { return localStorage.getItem(KEY) } catch { return null } };
  const isDark = () => document.body.classList.contains('dark');
  let chosen = asked === 'light' || asked === 'dark' ? asked : remembered();

  function labelTheme() {
    const button = $('theme-switch');
    if (!button) return;
    write(button, isDark() ? 'Light' : 'Dark');
    button.setAttribute('aria-label', isDark() ? 'Light theme' : 'Dark theme');
  }
  function putTheme() {
    if (chosen && isDark() !== (chosen === 'dark')) document.body.classList.toggle('dark', chosen === 'dark');
  }
  function switchTheme() {
    chosen = isDark() ? 'light' : 'dark';
    try { localStorage.setItem(KEY, chosen) } catch { /* a browser without storage forgets the choice */ }
    putTheme();
  }
  // Gradio sets the class itself while it starts, so the choice is put back whenever it changes.
  let wasDark = isDark();
  new MutationObserver(() => {
    putTheme();
    if (isDark() === wasDark) return;
    wasDark = isDark();
    labelTheme();
    window.dispatchEvent(new CustomEvent('studio:theme', {detail: {dark: wasDark}}));
  }).observe(document.body, {attributes: true, attributeFilter: ['class']});
  putTheme();

  // ---- what Gradio mounts is watched for as long as the page lives ----
  let pending = false;
  const settle = () => {
    pending = false;
    const list = document.querySelector('#tabs > .tab-wrapper [role=tablist]');
    if (list) tidyTabs(list);
  };
  new MutationObserver(() => { if (!pending) { pending = true; requestAnimationFrame(settle) } })
    .observe(document.body, {subtree: true, childList: true, attributes: true, attributeFilter: ['aria-selected']});
})();
