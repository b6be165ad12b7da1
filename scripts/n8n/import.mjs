// Imports our workflows and their credentials by n8n's own command, as a user would, with the test's addresses in them.
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';

/** Tokens with the scopes that the package's README names, and no more. */
const CREDENTIALS = [
  ['ocwConnector0001', 'Workloadd connector', ['events:write', 'sources:write']],
  ['ocwHooks00000001', 'Workloadd hooks', ['capabilities:authorize']],
  ['ocwOperator00001', 'Workloadd operator', ['workloads:read', 'workloads:write']],
];

/** `makeToken(name, scopes)` gives a token; `url` is where the nodes find the service. */
export async function importAll({ root, folder, n8n, world, makeToken }) {
  const credentials = [
    { id: 'ocwN8nApi0000001', name: 'n8n', type: 'n8nApi', data: { apiKey: n8n.apiKey, baseUrl: `${n8n.url}/api/v1` } },
  ];
  for (const [id, name, scopes] of CREDENTIALS) {
    const data = { baseUrl: `${world.url}/workloadd`, apiToken: await makeToken(id, scopes) };
    credentials.push({ id, name, type: 'opencrowWorkloaddApi', data });
  }
  const file = join(folder, 'credentials.json');
  writeFileSync(file, JSON.stringify(credentials), { mode: 0o600 });
  n8n.command('import:credentials', `--input=${file}`);

  const source = join(root, 'n8n', 'workflows');
  const copies = join(folder, 'workflows');
  mkdirSync(copies);
  const files = readdirSync(source).map((name) => join(source, name));
  for (const file of [...files, join(root, 'scripts', 'n8n', 'every-operation.json')]) {
    const workflow = adapted(readFileSync(file, 'utf8'), world);
    writeFileSync(join(copies, basename(file)), JSON.stringify(workflow));
  }
  n8n.command('import:workflow', '--separate', `--input=${copies}`);
}

/** The workflow with the test's addresses, and seconds in place of minutes. Nothing else is changed. */
function adapted(text, world) {
  const workflow = JSON.parse(text.replaceAll(/https:\/\/(example|reader\.example|tracker\.example)\.org/g, world.url));
  for (const node of workflow.nodes) {
    if (node.name === 'Every 15 Minutes') {
      node.parameters.rule = { interval: [{ field: 'seconds', secondsInterval: 5 }] };
    }
    if (node.name === 'Two Minutes Later') Object.assign(node.parameters, { amount: 5, unit: 'seconds' });
    if (node.retryOnFail) node.waitBetweenTries = 300;
  }
  return workflow;
}
