// Pictures of the workflows on n8n's real canvas, for the documentation.
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { chromium } from 'playwright-core';
import { WORKFLOWS } from './scenario.mjs';

const LIMIT_BYTES = 200 * 1024;
const PICTURES = [
  ['rss', 'n8n-rss.png'],
  ['context', 'n8n-context-webhook.png'],
  ['callback', 'n8n-callback.png'],
  ['missed', 'n8n-missed-events.png'],
];
/** On a busy machine the editor takes a minute to come up. */
const PATIENCE_MS = 180_000;
const QUIET = ['quic', 'gpu', 'background-networking', 'component-update', 'sync'].map((what) => `--disable-${what}`);

function findChromium() {
  const found = process.env.PATH.split(delimiter)
    .map((folder) => join(folder, 'chromium'))
    .find(existsSync);
  if (!found) throw new Error('there is no chromium on PATH: apt-get install -y chromium');
  return found;
}

/** Logs in as the owner and takes every picture into docs/images. */
export async function takeScreenshots(root, n8n) {
  const images = join(root, 'docs', 'images');
  mkdirSync(images, { recursive: true });
  const args = ['--no-sandbox', '--no-first-run', ...QUIET];
  const browser = await chromium.launch({ executablePath: findChromium(), args });
  try {
    const page = await browser.newPage({ viewport: { width: 1280, height: 720 } });
    page.setDefaultTimeout(PATIENCE_MS);
    // The editor asks n8n's own servers for banners and news.
    await page.route(/^https?:/, (route) =>
      route.request().url().startsWith(n8n.url) ? route.continue() : route.abort(),
    );
    await page.goto(`${n8n.url}/signin`);
    await page.locator('input[type="email"], input[name="emailOrLdapLoginId"]').first().fill(n8n.owner.email);
    await page.locator('input[type="password"]').fill(n8n.owner.password);
    await page.locator('button:has-text("Sign in")').click();
    await page.waitForURL((url) => !url.pathname.startsWith('/signin'));
    for (const [name, file] of PICTURES) await takeCanvas(page, n8n, WORKFLOWS[name], join(images, file));
    const node = { path: join(images, 'n8n-authorize-node.png'), workflow: WORKFLOWS.context, name: 'Authorize' };
    await takeNode(page, n8n, node);
  } finally {
    await browser.close();
  }
}

async function openWorkflow(page, n8n, id) {
  await page.goto(`${n8n.url}/workflow/${id}`, { waitUntil: 'domcontentloaded' });
  await page.locator('[data-test-id="canvas-node"], .vue-flow__node').first().waitFor();
}

async function takeCanvas(page, n8n, id, path) {
  await openWorkflow(page, n8n, id);
  await page.locator('[data-test-id="zoom-to-fit"]').click();
  await save(page, path);
}

async function takeNode(page, n8n, { workflow, name, path }) {
  await openWorkflow(page, n8n, workflow);
  await page.locator('[data-test-id="zoom-to-fit"]').click();
  await page.locator(`[data-test-id="canvas-node"][data-node-name="${name}"]`).dblclick();
  await page.locator('[data-test-id="ndv"], [data-test-id="node-parameters"]').first().waitFor();
  await save(page, path);
}

async function save(page, path) {
  // Zooming and fonts settle; there is nothing on the page that tells when.
  await page.waitForTimeout(1500);
  await page.screenshot({ path, animations: 'disabled' });
  const { size } = statSync(path);
  if (size > LIMIT_BYTES) throw new Error(`${path} has ${size} bytes, more than ${LIMIT_BYTES}`);
}
