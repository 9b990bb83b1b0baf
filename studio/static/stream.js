// Gradio reads all answers of its queue from one stream, and closes it when the server says that none is left to come.
// A question that was taken while those words were on their way is then never answered: a press is lost. Here the
// stream goes on for as long as an answer is owed. Stopping an answer closes the stream as well, once the server has
// stopped: a question asked in between would never be answered either, so it waits until then. It knows the queue's
// messages and nothing of what they are about.
(() => {
  const plain = window.fetch.bind(window), bytes = new TextEncoder();
  let asking = 0;             // questions on their way
  const owed = new Set();     // questions that were taken and have no answer yet
  const early = new Set();    // answers that came before the word that their question was taken
  let stopped = Promise.resolve(); // when no stop is under way any more

  window.fetch = (resource, options) => {
    const path = new URL(resource.url ?? resource, document.baseURI).pathname;
    if (path.endsWith('/queue/join')) return ask(resource, options);
    if (path.endsWith('/cancel')) return stop(resource, options);
    return path.endsWith('/queue/data') ? listen(resource, options) : plain(resource, options);
  };

  async function ask(resource, options) {
    asking += 1;
    try {
      await stopped;
      const answer = await plain(resource, options);
      const id = answer.ok && (await answer.clone().json()).event_id;
      if (id && !early.delete(id)) owed.add(id);
      return answer;
    } finally { asking -= 1 }
  }

  function stop(resource, options) {
    owed.delete(JSON.parse(options.body).event_id);
    const answer = plain(resource, options);
    // One turn later, so that the client has closed its stream by then.
    stopped = Promise.allSettled([stopped, answer]).then(() => new Promise((over) => setTimeout(over)));
    return answer;
  }

  async function listen(resource, options) {
    const first = await plain(resource, options);
    if (!first.ok) return first;
    const said = goingOn(first, () => plain(resource, options));
    const body = new ReadableStream({
      async pull(out) {
        const {done, value} = await said.next();
        done ? out.close() : out.enqueue(bytes.encode(value + '\n\n'));
      },
      cancel: () => said.return(),
    });
    return new Response(body, {status: first.status, headers: first.headers});
  }

  async function* goingOn(stream, again) {
    while (stream.ok) {
      let over = true, last = null;
      for await (const message of messages(stream)) {
        const {msg, event_id: id} = JSON.parse(message.replace(/^data:/, ''));
        if (msg === 'process_completed' && !owed.delete(id)) early.add(id);
        if (msg !== 'close_stream') { yield message; continue }
        over = !asking && !owed.size;
        if (over) yield message;
        last = message;
      }
      if (over) return;
      stream = await again();
      if (!stream.ok) yield last;
    }
  }

  async function* messages(stream) {
    const reader = stream.body.pipeThrough(new TextDecoderStream()).getReader();
    try {
      for (let rest = '';;) {
        const {done, value} = await reader.read();
        if (done) return;
        const parts = (rest + value).split('\n\n');
        rest = parts.pop();
        yield* parts;
      }
    } finally { reader.cancel().catch(() => {}) }
  }
})();
