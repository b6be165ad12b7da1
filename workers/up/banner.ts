/** What somebody who started `up` has to know. */
export interface UpFacts {
  version: string;
  apiUrl: string;
  /** Null when Temporal is not ours. */
  temporalUiUrl: string | null;
  temporalAddress: string;
  adminTokenFile: string;
  /** What to tell OpenCrow when the paths were not chosen by the operator; null when they were. */
  openCrow: { sessionDir: string; lifecycleSocket: string } | null;
  hasPolicy: boolean;
  /** Execution backends that its own worker offers. */
  backends: readonly string[];
}

/** The text `up` greets with. It names where the token is, never the token. */
export function banner(facts: UpFacts): string {
  const lines = [
    `opencrow-workloadd ${facts.version} is up. Ctrl-C stops it.`,
    `  API              ${facts.apiUrl}`,
    `  Temporal         ${facts.temporalAddress} (TEMPORAL_ADDRESS of further workers)`,
    ...(facts.temporalUiUrl === null ? [] : [`  Web UI           ${facts.temporalUiUrl}`]),
    `  Admin token      ${facts.adminTokenFile}`,
  ];
  if (facts.openCrow) {
    lines.push(
      `  OpenCrow         --trigger-pipe and --lifecycle-socket were not given. Start OpenCrow with`,
      `                   OPENCROW_PI_SESSION_DIR=${facts.openCrow.sessionDir}`,
      `                   OPENCROW_WORKLOAD_LIFECYCLE_SOCKET=${facts.openCrow.lifecycleSocket}`,
    );
  }
  if (facts.backends.length > 0) lines.push(`  Commands         run on ${facts.backends.join(', ')}`);
  if (!facts.hasPolicy) {
    lines.push(
      '  Policy           tenant default has none yet, so every event is ignored: --policy FILE or PUT /api/policy',
    );
  }
  return `${[...lines, 'Try:', ...firstRequest(facts)].join('\n')}\n`;
}

const firstRequest = ({ apiUrl, adminTokenFile }: UpFacts): string[] => [
  `  curl -s -X POST ${apiUrl}/api/events -H "Authorization: Bearer $(cat '${adminTokenFile}')" \\`,
  `    -H 'Content-Type: application/json' -d '{"source":"try","action":"hello","event_id":"1","data":{}}'`,
];
