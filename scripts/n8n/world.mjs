// The outside world of the test: a feed, a reader that knows its entries, a task tracker, and a way to the service that can break.
import { createServer, request as httpRequest } from 'node:http';

const escape = (text) => text.replace(/&/g, '&amp;').replace(/</g, '&lt;');

/** Starts it on a free port of this host. */
export async function startWorld() {
  const entries = [];
  const tasks = [];
  const world = { entries, tasks, down: false, refused: 0, target: null, url: '', stop: null };

  const feed = () => {
    const items = entries.map(
      ({ id, title, at }) =>
        `<item><guid isPermaLink="false">${id}</guid><title>${escape(title)}</title><link>http://feed.example/${id}</link>` +
        `<category>Security</category><pubDate>${new Date(at).toUTCString()}</pubDate></item>`,
    );
    return `<?xml version="1.0"?><rss version="2.0"><channel><title>Feed</title>${items.join('')}</channel></rss>`;
  };

  /** Passes a request on to the service, or breaks off as a service that is away. */
  const forward = (incoming, outgoing, path) => {
    if (world.down || !world.target) {
      world.refused += 1;
      return void incoming.socket.destroy();
    }
    const { hostname, port } = new URL(world.target);
    const { method, headers } = incoming;
    const onward = httpRequest({ hostname, port, path, method, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode, answer.headers);
      answer.pipe(outgoing);
    });
    onward.once('error', () => outgoing.destroy());
    incoming.pipe(onward);
  };

  const createTask = async (incoming, outgoing, project) => {
    let text = '';
    for await (const chunk of incoming) text += chunk;
    const key = incoming.headers['idempotency-key'];
    let task = tasks.find((each) => each.key === key);
    if (!task) tasks.push((task = { id: tasks.length + 1, key, project, ...JSON.parse(text) }));
    outgoing.writeHead(201, { 'content-type': 'application/json' }).end(JSON.stringify(task));
  };

  const server = createServer((incoming, outgoing) => {
    const { pathname } = new URL(incoming.url, 'http://world');
    const entry = entries.find(({ id }) => pathname === `/v1/entries/${id}`);
    const project = /^\/api\/projects\/([^/]+)\/tasks$/.exec(pathname)?.[1];
    if (pathname.startsWith('/workloadd/')) forward(incoming, outgoing, incoming.url.slice('/workloadd'.length));
    else if (pathname === '/feed.xml') outgoing.writeHead(200, { 'content-type': 'application/rss+xml' }).end(feed());
    else if (entry) outgoing.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(entry));
    else if (project && incoming.method === 'POST') void createTask(incoming, outgoing, project);
    else outgoing.writeHead(404).end();
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  world.url = `http://127.0.0.1:${server.address().port}`;
  world.stop = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  return world;
}
