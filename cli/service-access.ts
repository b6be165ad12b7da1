import { z } from 'zod';
import { slug } from '../contracts/ids';
import type { Database } from '../ledger/database';
import type { ConfigOf } from './config';
import { CommandFailed, EXIT } from './exit-codes';
import { withLedger } from './ledger-access';
import { printable } from './printable';

type ServiceConfig = ConfigOf<'explain'>;

/** One question, in both ways it can be asked. */
export interface Question<Answer extends z.ZodType> {
  method: 'GET' | 'POST';
  path: string;
  json?: object;
  answer: Answer;
  /** Without an API token: the same from the ledger itself. */
  fromLedger: (db: Database, tenantId: string) => Promise<z.output<Answer>>;
}

/** Long enough for the longest policy diff. */
const TIMEOUT_MS = 60_000;
const TENANT = 'default';

/** Asks the api when an API token is given, which has its tenant; else the ledger's database, for `tenant` (default `default`). */
export async function askService<Answer extends z.ZodType>(
  config: ServiceConfig,
  tenant: string | undefined,
  question: Question<Answer>,
): Promise<z.output<Answer>> {
  if (config.apiToken) {
    if (tenant !== undefined)
      throw new CommandFailed('--tenant goes without an API token, which has its own', EXIT.usage);
    return askApi(config.apiUrl, config.apiToken().reveal(), question);
  }
  if (tenant !== undefined && !slug.safeParse(tenant).success) {
    throw new CommandFailed('--tenant must be lower case letters, digits, "-", "_" or "."', EXIT.usage);
  }
  return withLedger(config, (db) => question.fromLedger(db, tenant ?? TENANT));
}

async function askApi<Answer extends z.ZodType>(
  apiUrl: string,
  token: string,
  { method, path, json, answer }: Question<Answer>,
): Promise<z.output<Answer>> {
  const url = apiUrl.replace(/\/+$/, '') + path;
  const response = await fetch(url, {
    method,
    headers: { authorization: `Bearer ${token}`, ...(json && { 'content-type': 'application/json' }) },
    ...(json && { body: JSON.stringify(json) }),
    signal: AbortSignal.timeout(TIMEOUT_MS),
  }).catch(() => null);
  if (response === null) throw new CommandFailed(`${apiUrl} does not answer: see --api-url`);
  const body: unknown = await response.json().catch(() => null);
  if (!response.ok) throw new CommandFailed(problemText(response.status, body));
  const parsed = answer.safeParse(body);
  if (parsed.success) return parsed.data;
  throw new CommandFailed(`${apiUrl} gives an answer that this version does not know`);
}

const problem = z.object({
  code: z.string(),
  detail: z.string(),
  errors: z.array(z.object({ pointer: z.string(), detail: z.string() })).default([]),
});

/** What a problem document says, for a terminal. */
export function problemText(status: number, body: unknown): string {
  const parsed = problem.safeParse(body);
  if (!parsed.success) return `the api answers ${status}`;
  const { code, detail, errors } = parsed.data;
  return [`${detail} (${code})`, ...errors.map((error) => `${error.pointer}: ${error.detail}`)]
    .map(printable)
    .join('\n');
}
