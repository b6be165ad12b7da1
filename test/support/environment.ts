/** What the test run started, see global-setup. Reading one of these in a unit test fails: those run without servers. */
export const testEnvironment = {
  /** Of the run's Postgres, as its superuser. */
  get databaseUrl(): string {
    return required('WORKLOADD_TEST_DATABASE_URL');
  },
  /** gRPC address of the run's Temporal dev server. */
  get temporalAddress(): string {
    return required('WORKLOADD_TEST_TEMPORAL_ADDRESS');
  },
  /** Address of its Web UI. */
  get temporalUi(): string {
    return required('WORKLOADD_TEST_TEMPORAL_UI');
  },
  /** Path of the prebuilt workflow bundle. */
  get workflowBundle(): string {
    return required('WORKLOADD_TEST_WORKFLOW_BUNDLE');
  },
};

function required(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: this test needs the servers of the integration tests`);
  return value;
}
