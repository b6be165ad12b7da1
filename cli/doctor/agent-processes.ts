import { readFileSync } from 'node:fs';
import type { HostUser } from '../../domain/file-access';
import { processIds, uidOfProcess } from './agent-user';
import type { Finding } from './agent-files';

/** API tokens and worker credentials. Capability tokens are the agent's to have. */
const TOKEN = /ow[tw]_[0-9a-z]{16}_[A-Za-z0-9_-]{43}/;

/** Names of the service's commands that hold its secrets in memory. */
const SERVICE = /(?:^|\/)workloadd(?:\.js)?\0(?:up|api|control|worker)\0/;

export interface ProcessFindings {
  findings: Finding[];
  /** Processes of the user whose environment is not ours to see. */
  unseen: number;
}

/**
 * Secrets that processes show to the agent's user: in the environment of its own processes, in the arguments of any; and processes of this
 * service that run as that user. `known` are secrets besides tokens. Names processes and variables, never a value.
 */
export function processesOpenTo(user: HostUser, known: readonly string[]): ProcessFindings {
  const holdsSecret = (text: string): boolean => TOKEN.test(text) || known.some((secret) => text.includes(secret));
  const findings: Finding[] = [];
  let unseen = 0;
  for (const pid of processIds()) {
    const args = read(pid, 'cmdline') ?? '';
    if (holdsSecret(args)) findings.push(`a secret is among the arguments of process ${pid}, which every user can see`);
    if (uidOfProcess(pid) !== user.uid || pid === process.pid) continue;
    if (SERVICE.test(args)) findings.push(`process ${pid} of this service runs as the agent's user`);
    const environment = read(pid, 'environ');
    if (environment === null) unseen += 1;
    for (const variable of (environment ?? '').split('\0').filter(holdsSecret)) {
      findings.push(`${variable.split('=')[0]!} in the environment of process ${pid} holds a secret`);
    }
  }
  return { findings, unseen };
}

function read(pid: number, what: 'cmdline' | 'environ'): string | null {
  try {
    return readFileSync(`/proc/${pid}/${what}`, 'utf8');
  } catch {
    return null;
  }
}
