/** What a container runtime's command line needs of the host to find its daemon. */
const RUNTIME_VARIABLES =
  /^(PATH|HOME|XDG_RUNTIME_DIR|DOCKER_[A-Z_]+|CONTAINER_[A-Z_]+|CONTAINERS_[A-Z_]+|SSH_AUTH_SOCK|TMPDIR)$/;

/** The variables of a runtime's command line: its own and, for those that go into the container by name, their values. */
export function hostVariablesOf(host: NodeJS.ProcessEnv, forwarded: readonly string[] = []): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(host).filter(([name]) => RUNTIME_VARIABLES.test(name) || forwarded.includes(name)),
  );
}
