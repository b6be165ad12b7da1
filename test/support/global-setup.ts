import path from 'node:path';
import { startTestServers } from './servers';
import type { TestServers } from './servers';

declare global {
  var workloaddTestServers: TestServers | undefined;
}

/** Starts the servers of this run and tells the tests where they are. */
export default async function globalSetup(): Promise<void> {
  const servers = await startTestServers();
  globalThis.workloaddTestServers = servers;
  process.env['WORKLOADD_TEST_FOLDER'] = servers.dataDir.path;
  process.env['WORKLOADD_TEST_DATABASE_URL'] = servers.postgres.url;
  process.env['WORKLOADD_TEST_TEMPORAL_ADDRESS'] = servers.temporal.address;
  process.env['WORKLOADD_TEST_TEMPORAL_UI'] = servers.temporal.uiUrl;
  process.env['WORKLOADD_TEST_WORKFLOW_BUNDLE'] = path.resolve(__dirname, '../../dist/workflow-bundle.js');
}
