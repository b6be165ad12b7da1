import type { Browser, Page } from 'playwright-core';
import { findChromium, launchChromium } from '../support/chromium';
import { DrivenSystem } from '../support/driven-system';
import { testEnvironment } from '../support/environment';
import { eventually } from '../support/eventually';

/** What operators see in Temporal's real Web UI, in a real browser, with no tool of ours. */
const POLICY = `
version: 1
default: { decision: ignore, reason: no-rule }
rules:
  - { id: triage-everything, when: 'event.action == "triage"', decision: dispatch }
`;
const COLUMNS = ['Status', 'Workflow ID', 'WorkloadState', 'WorkloadSource', 'WorkloadAction', 'WorkloadRule'];

const browserPath = findChromium();

if (browserPath === null) {
  test.skip('needs Chromium: apt-get install -y chromium', () => undefined);
} else {
  let system: DrivenSystem;
  let browser: Browser;
  let page: Page;

  beforeAll(async () => {
    system = await DrivenSystem.start(POLICY);
    browser = await launchChromium(browserPath);
    const context = await browser.newContext({ viewport: { width: 1600, height: 900 } });
    const columns = JSON.stringify({ [system.namespace.name]: COLUMNS.map((label) => ({ label })) });
    const content = `localStorage.setItem('namespace-workflow-table-columns', ${JSON.stringify(columns)})`;
    await context.addInitScript({ content });
    page = await context.newPage();
    page.setDefaultTimeout(30_000);
  }, 120_000);

  afterAll(async () => {
    await browser?.close();
    await system?.stop();
  });

  test('an operator filters by state, opens a workload and reads source, action, rule, state and reason', async () => {
    const failed = await work('failed');
    await work('completed');
    await eventually(async () => {
      const { count } = await system.namespace.client.workflow.count('ExecutionStatus = "Completed"');
      expect(count).toBe(2);
    });

    await page.goto(`${testEnvironment.temporalUi}/namespaces/${system.namespace.name}/workflows`);
    await page.locator('tbody tr', { hasText: 'completed' }).first().waitFor();
    await page.getByTestId('toggle-manual-query').click();
    await page.getByTestId('manual-search-input').fill('WorkloadState="failed"');
    await page.keyboard.press('Enter');

    const rows = page.locator('tbody tr', { hasText: 'workload/wl_' });
    await eventually(async () => {
      expect(await rows.count()).toBe(1);
      const cells = await rows.first().innerText();
      for (const word of [failed, 'failed', 'rss', 'triage', 'triage-everything']) expect(cells).toContain(word);
    });

    await rows.first().getByRole('link', { name: failed }).first().click();
    await shows([
      '"failed"',
      '"executor_failed"',
      '"triage-everything"',
      'opencrow delivery 1 by rule triage-everything',
    ]);
    await page.getByRole('tab', { name: 'User Metadata' }).click();
    await shows(['rss', 'triage', 'rule triage-everything', 'failed: executor_failed', 'delivery 1']);
    await page.getByRole('tab', { name: 'Search Attributes' }).click();
    await shows(['"WorkloadState": "failed"', '"WorkloadSource": "rss"', '"WorkloadTenant": "default"']);
  }, 120_000);

  async function work(status: 'completed' | 'failed'): Promise<string> {
    const { workloadId } = await system.post();
    await eventually(async () => expect((await system.row(workloadId)).state).toBe('delivered'));
    await system.report(workloadId, 'running');
    await system.report(workloadId, status);
    return workloadId;
  }

  /** The page shows all of these; its frames hold what the Web UI renders from Markdown. */
  async function shows(words: readonly string[]): Promise<void> {
    await eventually(
      async () => {
        const texts = await Promise.all(page.frames().map((frame) => frame.locator('body').innerText()));
        const text = texts.join('\n');
        for (const word of words) expect(text).toContain(word);
      },
      { timeout: 30_000 },
    );
  }
}
