// Renews docs/images: runs the demo, and takes pictures of Temporal's Web UI in a real Chromium.
// Needs Chromium on PATH (apt-get install -y chromium). Takes about a minute.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const images = join(root, 'docs', 'images');
const LIMIT_BYTES = 300 * 1024;
const COLUMNS = ['Status', 'Workflow ID', 'WorkloadState', 'WorkloadSource', 'WorkloadAction', 'WorkloadRule'];
const QUIET = ['quic', 'gpu', 'background-networking', 'component-update', 'sync'].map((what) => `--disable-${what}`);

function findChromium() {
  const found = process.env.PATH.split(delimiter)
    .map((folder) => join(folder, 'chromium'))
    .find(existsSync);
  if (!found) throw new Error('there is no chromium on PATH: apt-get install -y chromium');
  return found;
}

/** Runs the demo until all its events have ended; it stays up until it is stopped. */
async function startDemo() {
  const child = spawn(process.execPath, [join(root, 'dist', 'examples', 'demo.js'), '--keep'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const stop = async () => {
    child.kill('SIGINT');
    await ended;
  };
  let output = '';
  const url = new Promise((resolve) => {
    child.stdout.on('data', (data) => {
      output += data;
      const match = /^Temporal Web UI: (http\S+)$/m.exec(output);
      if (match) resolve(match[1]);
    });
  });
  const result = await Promise.race([url, ended]);
  if (typeof result !== 'string') throw new Error(`the demo ended by itself:\n${output}`);
  if (!/ events ended as their files say\.$/m.test(output)) {
    await stop();
    throw new Error(`the demo did not come out as it should:\n${output}`);
  }
  return { url: result, stop };
}

const listOf = (ui, query) => `${ui}/namespaces/default/workflows?query=${encodeURIComponent(query)}`;

async function picture(page, name) {
  const path = join(images, name);
  await page.screenshot({ path, animations: 'disabled' });
  const { size } = statSync(path);
  if (size > LIMIT_BYTES) throw new Error(`${name} has ${size} bytes, more than ${LIMIT_BYTES}`);
  console.log(`docs/images/${name}: ${Math.round(size / 1024)} KB`);
}

/** All that did not simply complete, with the service's columns. */
async function takeList(page, ui) {
  await page.goto(listOf(ui, 'WorkloadState != "completed"'));
  await page.locator('tbody tr', { hasText: 'workload/wl_' }).first().waitFor();
  await page.getByRole('button', { name: 'Collapse saved views' }).click();
  await page.locator('th', { hasText: 'WorkloadRule' }).waitFor();
  await picture(page, 'web-ui-list.png');
}

/** The task whose first delivery failed and whose second one completed. */
async function takeWorkload(page, ui) {
  await page.goto(listOf(ui, 'WorkloadRule = "vikunja-agent-task" AND WorkloadState = "completed"'));
  await page.locator('tbody a[href*="/workflows/workload"]').first().click();
  await page.setViewportSize({ width: 1440, height: 1060 });
  await page.getByText('delivery 2 by rule').first().waitFor();
  await page.getByText('executor_completed').first().waitFor();
  await picture(page, 'web-ui-workload.png');
  await page.setViewportSize({ width: 1440, height: 720 });
  await page.getByRole('tab', { name: 'User Metadata' }).click();
  await page.frameLocator('iframe >> nth=2').getByText('executor_completed').waitFor();
  await picture(page, 'web-ui-details.png');
}

mkdirSync(images, { recursive: true });
const executablePath = findChromium();
const demo = await startDemo();
try {
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--no-first-run', ...QUIET] });
  const context = await browser.newContext({ viewport: { width: 1440, height: 860 } });
  const columns = JSON.stringify({ default: COLUMNS.map((label) => ({ label })) });
  const content = `localStorage.setItem('namespace-workflow-table-columns', ${JSON.stringify(columns)})`;
  await context.addInitScript({ content });
  const page = await context.newPage();
  await takeList(page, demo.url);
  await takeWorkload(page, demo.url);
  await browser.close();
} finally {
  await demo.stop();
}
