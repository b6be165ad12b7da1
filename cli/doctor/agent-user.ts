import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync, statSync } from 'node:fs';
import type { HostUser } from '../../domain/file-access';
import { CommandFailed, EXIT } from '../exit-codes';

/** The user that OpenCrow's agent runs as, and how we know. */
export interface AgentUser extends HostUser {
  /** For messages, such as `uid 990 (owner of /var/lib/opencrow/sessions/trigger.pipe)`. */
  label: string;
}

/**
 * The agent's user: the one named, or the owner of the trigger pipe, since OpenCrow and its agent run as one user. Null when no one is named
 * and there is no pipe. Fails when the name is unknown.
 */
export function agentUser(named: string | undefined, triggerPipe: string): AgentUser | null {
  if (named !== undefined) {
    const [user = '', groups = ''] = named.split(':');
    const known = userOf(uidOf(user), /^\d+$/.test(user) ? '' : ` (${user})`);
    return { ...known, gids: [...known.gids, ...groups.split(',').filter(Boolean).map(Number)] };
  }
  const pipe = statSync(triggerPipe, { throwIfNoEntry: false });
  return pipe === undefined ? null : userOf(pipe.uid, ` (owner of ${triggerPipe})`);
}

function uidOf(named: string): number {
  if (/^\d+$/.test(named)) return Number(named);
  const uid = id('-u', named);
  if (uid.length === 0)
    throw new CommandFailed(`--agent-user names ${JSON.stringify(named)}, and there is no such user here`, EXIT.usage);
  return uid[0]!;
}

/** Groups by the user database, and those its processes have: a unit or a container may give it others. */
function userOf(uid: number, how: string): AgentUser {
  const ofProcesses = processIds().flatMap((pid) => groupsOfProcess(pid, uid));
  return { uid, gids: [...new Set([...id('-G', String(uid)), ...ofProcesses])], label: `uid ${uid}${how}` };
}

function id(flag: '-u' | '-G', user: string): number[] {
  try {
    const answer = execFileSync('id', [flag, '--', user], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    return answer.trim().split(/\s+/).map(Number);
  } catch {
    return [];
  }
}

/** Ids of all processes; none where there is no /proc. */
export function processIds(): number[] {
  try {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(Number);
  } catch {
    return [];
  }
}

/** The user a process acts as; null when it is gone. */
export function uidOfProcess(pid: number): number | null {
  return statusField(pid, 'Uid')?.[1] ?? null;
}

function groupsOfProcess(pid: number, uid: number): number[] {
  if (uidOfProcess(pid) !== uid) return [];
  return [...(statusField(pid, 'Gid') ?? []), ...(statusField(pid, 'Groups') ?? [])];
}

function statusField(pid: number, name: string): number[] | null {
  try {
    const line = readFileSync(`/proc/${pid}/status`, 'utf8')
      .split('\n')
      .find((each) => each.startsWith(`${name}:`));
    return (
      line
        ?.slice(name.length + 1)
        .trim()
        .split(/\s+/)
        .filter(Boolean)
        .map(Number) ?? null
    );
  } catch {
    return null;
  }
}
