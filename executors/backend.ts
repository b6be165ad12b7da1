import type {
  BackendKind,
  BackendLocality,
  ExecutionHandle,
  ExecutionRequest,
  RefusalCode,
  SandboxDimension,
  SandboxSupport,
} from '../contracts/execution';
import type { SandboxProfile } from '../contracts/sandbox-profile';
import type { Secret } from '../contracts/secret';

/** What a backend is, without running anything. */
export interface BackendSpec {
  id: string;
  title: string;
  /** `local` starts processes itself; `delegating` hands the command to something that does, and needs a target. */
  kind: BackendKind;
  locality: BackendLocality;
  /** What a request has to name for it, e.g. `an image`. Only for delegating backends. */
  target?: string;
  /** What it does for each dimension of a sandbox profile. */
  support: Record<SandboxDimension, SandboxSupport>;
  /** Milliseconds a command gets when nobody says otherwise. */
  defaultTimeoutMs: number;
}

/** A request whose gates are passed: it has a command, a profile that allows it and, where one is needed, a target. */
export interface CheckedRequest {
  command: string;
  args: readonly string[];
  cwd: string;
  timeoutMs: number;
  profile: SandboxProfile;
  /** Names of the variables in `hostEnv` that go along, PATH and HOME not among them unless the profile exposes them. */
  forwarded: readonly string[];
  handle: ExecutionHandle | undefined;
}

/** What a backend may use while it runs a command. */
export interface RunContext {
  /** Aborted: end the command and everything it started, then return. */
  signal: AbortSignal;
  /**
   * Aborted: stop waiting for what goes on without this process and is known by {@link targetKnown}, which somebody else then waits
   * for; what is being submitted is submitted first. Backends whose commands end with this process take no notice. Default: never.
   */
  leave?: AbortSignal;
  /** The host's variables and those of the run. Values reach a command only through `forwarded`. */
  hostEnv: NodeJS.ProcessEnv;
  /**
   * Stands for this one run: the same on every repeat of it, so that what an earlier attempt left can be found. 1 to 64 letters,
   * digits and dashes.
   */
  runKey: string;
  /** The backend calls it when it starts the command, so that it may have run from here on. Default: nothing. */
  started?: () => void;
  /** Takes what the command prints, as it comes. */
  output: (stream: 'stdout' | 'stderr', chunk: Uint8Array) => void;
  /** Id of the worker it runs for, put on what outlives this process, so that its worker can find it. Default: none. */
  workerId?: string;
  /** Variables that the command gets unless its profile denies them. Values are secret. Default: none. */
  variables?: Readonly<Record<string, string>>;
  /**
   * Folder where a process of this host is noted while it runs, so that the next start can end it should this one be killed.
   * Default: nothing is noted.
   */
  runsFolder?: string;
  /**
   * The target told who it is, e.g. a runner its job id: to be kept before anything is waited for. When it rejects, the job is
   * cancelled if it can be, and nobody waits for it. Default: nothing.
   */
  targetKnown?: (handle: ExecutionHandle) => Promise<void>;
  /** What an earlier process told by {@link targetKnown} of this same run: nothing is submitted, only its end waited for. */
  resumeFrom?: ExecutionHandle;
  /** Where the target may tell that it is done, signed by the secret. Default: it is asked every few seconds. */
  callback?: { url: string; secret: Secret };
  /** Aborted: the target said that it is done; ask it now. */
  doneHint?: AbortSignal;
}

/** How a run ended. */
export type RunEnd =
  | {
      type: 'exited';
      /** Null when it was ended by a signal or a limit, or could not be started; `why` then says which. */
      exitCode: number | null;
      stdoutDigest: string;
      why?: string;
      notes?: string[];
      /** What became known of the target, e.g. the digest of an image or the job id of a runner. */
      handle?: ExecutionHandle;
    }
  | {
      type: 'refused';
      code: RefusalCode;
      reason: string;
      /** It may have run all the same. Default false: it did not. */
      outcomeUnknown?: boolean;
      notes?: string[];
      handle?: ExecutionHandle;
    }
  /** It goes on, and this process waits no more: only after {@link RunContext.leave}. */
  | { type: 'left' };

/** What a backend may use while it ends what was left. */
export interface TidyContext {
  hostEnv: NodeJS.ProcessEnv;
  workerId: string;
  /** As in {@link RunContext}. */
  runsFolder: string;
  /** Keys of the runs of this process. A run is among them before its backend begins, and until it has ended. */
  running: () => ReadonlySet<string>;
  /** Of these runs, those that nobody waits for any more. May reject: then nothing is known of them. */
  over: (runKeys: readonly string[]) => Promise<readonly string[]>;
  /** Aborted: begin nothing more. */
  signal: AbortSignal;
}

/** Whether a backend can be used here, and why not. */
export interface BackendProbe {
  ready: boolean;
  checks: { name: string; ok: boolean; detail: string }[];
}

/** A way to run commands. To add one, write a module that exports a value of this type and give it to the registry. */
export interface Backend {
  readonly spec: BackendSpec;
  /** What the request points it at; undefined when that is missing. Only for delegating backends. */
  handleOf?: (request: ExecutionRequest, hostEnv: NodeJS.ProcessEnv) => ExecutionHandle | undefined;
  /** What is wrong with the request for this backend, before anything else is looked at. */
  check?: (request: ExecutionRequest) => { code: RefusalCode; reason: string } | null;
  /** Looks whether it could run something now. Changes nothing; at most 20 s. */
  probe: (context: Pick<RunContext, 'hostEnv'>) => Promise<BackendProbe>;
  /** Runs the command once. Rejects only for defects: every expected end is a {@link RunEnd}. */
  run: (request: CheckedRequest, context: RunContext) => Promise<RunEnd>;
  /**
   * Ends what runs left whose worker was killed, and answers with their keys. Called at the worker's start and every few minutes.
   * Default: there is nothing to end.
   */
  tidy?: (context: TidyContext) => Promise<string[]>;
}
