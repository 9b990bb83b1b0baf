// Draws what a method trains, to one scale, and says the counts beside it. Pure functions of a few numbers:
// {method, title, dial, n, r, a, O, I, layer, root, own, per, fixed, bytesPer, bytesFixed, inBase, parameters, blocks, last}.
// Nothing is asked of the server.
(() => {
  const esc = text => String(text).replace(/[&<>"'`$]/g, c => '&#' + c.charCodeAt(0) + ';');
  const whole = n => Math.round(n).toLocaleString('en-US');
  const three = n => String(Number(n.toPrecision(3)));
  const percent = share => `${three(Number((100 * share).toPrecision(2)))}\u00a0%`;
  const lowRank = v => v && (v.method === 'lora' || v.method === 'dora');
  const drawable = v => v && v.O > 0 && v.I > 0 && v.r > 0 && Number.isFinite(v.a);
  const known = v => v && v.parameters > 0 && Number.isFinite(v.n) && v.n > 0 && (!lowRank(v) || drawable(v));

  function size(bytes) {
    if (bytes >= 1e9) return (bytes / 1e9).toFixed(2) + ' GB';
    if (bytes >= 1e6) return (bytes / 1e6).toFixed(1) + ' MB';
    return Math.max(1, Math.round(bytes / 1e3)) + ' kB';
  }

  const trained = v => v.fixed + v.n * v.per;
  const ratio = v => v.a / (v.root ? Math.sqrt(v.r) : v.r);

  // What the sentence says about the strength alpha / r: null while it is usual.
  function strength(v) {
    const times = `Alpha is ${three(ratio(v))} times ${v.root ? 'the root of r' : 'r'}`;
    if (ratio(v) > 4) return `${times}: strong. Lower it, or the learning rate.`;
    if (ratio(v) < 0.5) return `${times}: weak. The adapter may hardly be heard.`;
    return null;
  }

  function lowRankSentence(v) {
    const numbers = v.r * (v.O + v.I) + (v.method === 'dora' ? v.O : 0), frozen = v.O * v.I;
    if (numbers >= frozen)
      return `At rank ${whole(v.r)} B and A hold as many numbers as W itself. A lower rank does the same for less.`;
    const first = `${v.layer}: ${whole(numbers)} trained numbers beside ${whole(frozen)} frozen ones (${percent(numbers / frozen)}).`;
    return [first, strength(v)].filter(Boolean).join(' ');
  }

  const text = (x, y, words, kind = 'dim', extra = '') =>
    `<text x="${x}" y="${y}" class="${kind}" text-anchor="middle" ${extra}>${words}</text>`;
  const turned = (x, y, words) => text(x, y, words, 'dim', `transform="rotate(90 ${x} ${y})" dominant-baseline="central"`);
  const box = (x, y, wide, high, kind) =>
    `<rect x="${x}" y="${y}" width="${wide}" height="${high}" rx="${Math.min(3, wide / 2, high / 2)}" class="${kind}"/>`;
  const bracket = (x, middle, half, bend) =>
    `<path d="M${x} ${middle - half} q${bend} ${half} 0 ${2 * half}" class="bracket"/>`;
  const figure = (width, height, label, parts, words) =>
    `<figure class="lora-figure"><svg width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img"
      aria-label="${esc(label)}">${parts.join('')}</svg><figcaption class="sentence">${words}</figcaption></figure>`;

  // --- low rank: W + alpha/r · B · A, and for DoRA m before it ------------------------------------------------------

  function lowRankFigure(v) {
    const scale = Math.min(112 / Math.max(v.O, v.r), 128 / Math.max(v.I, v.r));
    const high = v.O * scale, wide = v.I * scale, thin = Math.max(2, v.r * scale);
    const tall = Math.max(high, 30), top = 18, middle = top + tall / 2, odd = strength(v) !== null;
    const over = middle - high / 2 - 6, under = middle + high / 2 + 15;
    const parts = [];
    let x = 1;
    if (v.method === 'dora') {
      parts.push(box(x + 3, middle - high / 2, 2, high, 'trained'), text(x + 4, under, 'm', 'part'));
      parts.push(text(x + 18, middle + 4, '·', 'sign'));
      x += 26;
      parts.push(bracket(x + 6, middle, high / 2 + 4, -6));
      x += 12;
    }
    parts.push(box(x, middle - high / 2, wide, high, 'frozen'));
    parts.push(text(x + wide / 2, over, whole(v.I)), turned(x + wide + 14, middle, whole(v.O)));
    parts.push(text(x + wide / 2, wide > 56 ? middle - 2 : middle + 5, 'W', 'part'));
    if (wide > 56) parts.push(text(x + wide / 2, middle + 15, 'frozen', 'dim'));
    x += wide + 36;
    parts.push(text(x, middle + 5, '+', 'sign'));
    x += 14;
    parts.push(`<rect x="${x}" y="${middle - 15}" width="46" height="30" rx="6" class="chip${odd ? ' odd' : ''}"/>`);
    parts.push(text(x + 23, middle + 5, three(ratio(v)), odd ? 'part odd' : 'part'));
    parts.push(text(x + 23, middle + 31, v.root ? 'alpha / √r' : 'alpha / r'));
    x += 62;
    parts.push(box(x, middle - high / 2, thin, high, 'trained'));
    parts.push(text(x + thin / 2, over, whole(v.r)), text(x + thin / 2, under, 'B', 'part'));
    x += thin + 14;
    parts.push(text(x, middle + 4, '·', 'sign'));
    x += 12;
    parts.push(box(x, middle - thin / 2, wide, thin, 'trained'));
    parts.push(text(x + wide / 2, middle - thin / 2 - 6, whole(v.I)), text(x + wide / 2, middle + thin / 2 + 15, 'A', 'part'));
    x += wide + 14;
    parts.push(turned(x, middle, whole(v.r)));
    if (v.method === 'dora') parts.push(bracket(x + 10, middle, high / 2 + 4, 6));
    const thick = v.r * scale < 2 ? ' <span class="dim">B and A are drawn thicker than they are.</span>' : '';
    const parallel = v.method === 'dora' ? 'm times the direction of W plus alpha over r times B times A' : 'W plus alpha over r times B times A';
    return figure(Math.ceil(x + (v.method === 'dora' ? 16 : 10)), 150, `${parallel}. ${lowRankSentence(v)}`, parts, esc(lowRankSentence(v)) + thick);
  }

  // --- the other methods: the blocks of the base in a row, what is trained in the accent ----------------------------

  const sentences = {
    bottleneck: v => `Each of the ${whole(v.blocks)} blocks gets two small layers: down to ${whole(v.n)} numbers and up again.`,
    prompt: v => `${whole(v.n)} trained tokens of ${whole(v.per)} numbers each stand before every row. The base reads them like words.`,
    bitfit: v => `The biases are trained: ${whole(trained(v))} numbers over ${whole(v.blocks)} blocks. All else stays frozen.`,
    norms: v => `The norms are trained: ${whole(trained(v))} numbers over ${whole(v.blocks)} blocks. All else stays frozen.`,
    blocks: v => v.last < v.blocks ? `The last ${v.last === 1 ? 'block' : whole(v.last)} of ${whole(v.blocks)}${v.last === 1 ? '' : ' blocks'} ${v.last === 1 ? 'is' : 'are'} trained whole. The others stay frozen.`
      : `All ${whole(v.blocks)} blocks are trained. Embedding and head stay frozen.`,
    full: v => `All ${whole(trained(v))} numbers are trained; nothing stays frozen.`,
  };

  const marks = {
    bottleneck: (x, wide) => [box(x + wide * .2, 44, Math.max(2, wide * .22), 44, 'trained'), box(x + wide * .62, 44, Math.max(2, wide * .22), 44, 'trained')],
    bitfit: (x, wide) => [box(x + 1, 107, Math.max(1, wide - 2), 4, 'trained')],
    norms: (x, wide) => [box(x + 1, 46, Math.max(1, wide - 2), 3, 'trained'), box(x + 1, 80, Math.max(1, wide - 2), 3, 'trained')],
  };

  function rowFigure(v) {
    const top = 18, high = 96, gap = v.blocks > 40 ? 1 : 3, parts = [];
    let x = 1;
    if (v.method === 'prompt') {
      const drawn = Math.min(v.n, 8), step = 11;
      for (let i = 0; i < drawn + 4; i++)
        parts.push(box(x + i * step, top + high / 2 - 4, 8, 8, i < drawn ? 'trained' : 'frozen'));
      parts.push(text(x + drawn * step / 2 - 1, top + high / 2 - 14, whole(v.n)));
      parts.push(text(x + (drawn + 2) * step - 1, top + high / 2 + 22, 'row'));
      x += (drawn + 4) * step + 12;
    }
    const room = v.method === 'prompt' ? 190 : 300, wide = Math.max(2, Math.min(26, (room - gap * v.blocks) / v.blocks));
    const start = x;
    for (let i = 0; i < v.blocks; i++) {
      const all = v.method === 'full' || (v.method === 'blocks' && i >= v.blocks - v.last);
      parts.push(box(x, top, wide, high, all ? 'trained' : 'frozen'), ...(marks[v.method]?.(x, wide) ?? []));
      x += wide + gap;
    }
    parts.push(text((start + x - gap) / 2, top + high + 18, `${whole(v.blocks)} blocks`));
    return figure(Math.ceil(x + 2), 150, sentences[v.method](v), parts, esc(sentences[v.method](v)));
  }

  window.loraFigure = v => {
    if (!known(v)) return '<p class="lora-figure empty-figure help">The adapter is drawn here as soon as there is a base model.</p>';
    return lowRank(v) ? lowRankFigure(v) : rowFigure(v);
  };

  window.loraHead = v => {
    const share = known(v) ? `, ${percent(trained(v) / (v.parameters + trained(v) - v.inBase))} of the model` : '';
    const fact = known(v) ? `${whole(trained(v))} trained numbers${share}` : '';
    return `<div class="card-head"><h2>Adapter</h2><span class="fact" id="trained-count">${fact}</span></div>`;
  };

  window.loraSize = v => {
    const count = known(v) ? whole(trained(v)) : '–';
    const file = known(v) ? size(v.bytesFixed + v.n * v.bytesPer) : '–';
    return `<dl class="facts"><dt>Trained numbers</dt><dd>${count}</dd><dt>Adapter file</dt><dd>${file}</dd></dl>`;
  };

  // What is being moved, together with the shape that came from the server.
  window.loraLive = (moved, shape) => {
    const given = shape || {}, own = given.own || {};
    const n = given.dial ? Number(moved[given.dial]) : 1;
    const value = {...given, n, r: own.r ?? Number(moved.rank), a: own.a ?? Number(moved.alpha)};
    return [value, value, value];
  };

  // One ticket for one intent: pressing Start twice in a moment with the same values, be it in two tabs, asks for the same
  // run. Where the browser keeps nothing for the page, a double click still does.
  let last = {said: '', at: 0, ticket: ''};
  const kept = () => { try { return JSON.parse(localStorage.getItem('studio-ticket')) ?? last; } catch { return last; } };
  const keep = () => { try { localStorage.setItem('studio-ticket', JSON.stringify(last)); } catch { /* this tab knows it */ } };
  window.studioTicket = values => {
    last = kept();
    const said = JSON.stringify(values.slice(0, -1)), now = Date.now();
    const same = said === last.said && now - last.at < 2000;
    const ticket = same ? last.ticket : [...crypto.getRandomValues(new Uint8Array(16))].map(b => b.toString(16).padStart(2, '0')).join('');
    last = {said, at: now, ticket};
    keep();
    return [...values.slice(0, -1), ticket];
  };
})();
