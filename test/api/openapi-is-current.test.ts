import { readFileSync } from 'node:fs';
import path from 'node:path';
import { openApiDocument } from '../../api/openapi';
import { ROUTES } from '../../api/routes';
import { PROBLEMS } from '../../contracts/problems';
import { startTestApi } from '../support/api-server';

interface Operation {
  operationId: string;
  responses: Record<string, { content: Record<string, unknown> }>;
}

const committed = readFileSync(path.resolve(__dirname, '../../docs/openapi.json'), 'utf8');

test('docs/openapi.json is what the routes say; write it with npm run openapi', () => {
  expect(`${JSON.stringify(openApiDocument(ROUTES), null, 2)}\n`).toBe(committed);
});

test('the service serves that document', async () => {
  const api = await startTestApi();
  try {
    const served = await api.ask('GET', '/openapi.json', { token: null });
    expect(served.body).toEqual(JSON.parse(committed));
  } finally {
    await api.stop();
  }
});

test('every route documents its errors as problem documents, and every operation has its own id', () => {
  const { paths } = JSON.parse(committed) as { paths: Record<string, Record<string, Operation>> };
  const operations = Object.values(paths).flatMap((path) => Object.values(path));
  expect(new Set(operations.map(({ operationId }) => operationId)).size).toBe(ROUTES.length);
  for (const { responses, operationId } of operations) {
    const errors = Object.entries(responses).filter(([status]) => Number(status) >= 400);
    expect(errors.length).toBeGreaterThan(0);
    for (const [status, { content }] of errors) {
      if (operationId === 'readyz' && status === '503') continue;
      expect([operationId, status, Object.keys(content)]).toEqual([operationId, status, ['application/problem+json']]);
    }
  }
});

test('docs/api.md has every route and every problem code', () => {
  const page = readFileSync(path.resolve(__dirname, '../../docs/api.md'), 'utf8');
  for (const { method, path: route } of ROUTES) expect(page).toContain(`${method.toUpperCase()} ${route}`);
  for (const [code, status] of Object.entries(PROBLEMS)) {
    expect(page).toMatch(new RegExp(`^\\| \`${code.replace('.', '\\.')}\` +\\| ${status} `, 'm'));
  }
});
