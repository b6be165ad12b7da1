import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';

const ROOT = path.join(__dirname, '..', '..');
const FILES = ['flake.nix', 'nix/package.nix', 'nix/module.nix', 'nix/check.nix'];

const hasNix = spawnSync('nix-instantiate', ['--version']).status === 0;
/** The folder of nixpkgs' lib: of the variable, or of NIX_PATH. */
const lib = process.env['WORKLOADD_TEST_NIXPKGS_LIB'] ?? libOfNixPath();

function libOfNixPath(): string | null {
  if (!hasNix) return null;
  const { status, stdout } = spawnSync('nix-instantiate', ['--eval', '--store', 'dummy://', '-E', '<nixpkgs/lib>'], {
    encoding: 'utf8',
  });
  return status === 0 ? stdout.trim() : null;
}

interface Unit {
  after?: string[];
  before?: string[];
  requires?: string[];
  environment?: Record<string, string>;
  script?: string;
  serviceConfig: Record<string, unknown>;
}
interface Evaluated {
  warnings: string[];
  failures: string[];
  units: Record<string, Unit>;
  groups: Record<string, unknown>;
  postgresql: Record<string, unknown>;
  flake: { packages: Record<string, Record<string, string>>; overlay: string; modules: string[]; unitProgram: string };
  package: { version: string; unresolved: string[]; example: string };
}

function evaluate(settings: string): Evaluated {
  const expression = `import ${ROOT}/nix/check.nix { lib = import ${lib!}; settings = ${settings}; }`;
  const args = ['--eval', '--strict', '--json', '--store', 'dummy://', '-E', expression];
  return JSON.parse(
    execFileSync('nix-instantiate', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }),
  ) as Evaluated;
}

const unit = (of: Evaluated, name: string): Unit => of.units[`opencrow-workloadd-${name}`]!;

(hasNix ? describe : describe.skip)('with nix (skipped without nix-instantiate: apt-get install nix-bin)', () => {
  test.each(FILES)('%s parses', (file) => {
    expect(spawnSync('nix-instantiate', ['--parse', path.join(ROOT, file)]).status).toBe(0);
  });
});

const hasLib = hasNix && lib !== null && existsSync(path.join(lib, 'default.nix'));
(hasLib ? describe : describe.skip)(
  'with nixpkgs lib (skipped without it: WORKLOADD_TEST_NIXPKGS_LIB=<nixpkgs>/lib)',
  () => {
    const seed = `{
    enable = true;
    listenAddr = "0.0.0.0:8766";
    tokenFile = "/run/secrets/n8n-hooks-mutation-token";
    triggerPipe = "/var/lib/opencrow/sessions/trigger.pipe";
    lifecycleSocket = "/run/opencrow-workloadd/lifecycle.sock";
  }`;

    test('the options of the original make units that need no secret in the store', () => {
      const of = evaluate(seed);
      expect([of.failures, of.warnings]).toEqual([[], []]);
      expect(Object.keys(of.units).sort()).toEqual(
        ['api', 'control', 'enroll', 'setup', 'temporal', 'worker'].map((name) => `opencrow-workloadd-${name}`),
      );
      expect(unit(of, 'setup').serviceConfig['LoadCredential']).toEqual([
        'token:/run/secrets/n8n-hooks-mutation-token',
      ]);
      expect(unit(of, 'setup').script).toContain('token import --name nixos');
      expect(unit(of, 'api').environment).toMatchObject({
        WORKLOADD_LISTEN: '0.0.0.0:8766',
        WORKLOADD_DATABASE_URL: 'postgresql://opencrow-workloadd@localhost/opencrow-workloadd?host=/run/postgresql',
      });
      expect(of.postgresql).toMatchObject({ enable: true, ensureUsers: [{ ensureDBOwnership: true }] });
      expect(unit(of, 'worker').environment).not.toHaveProperty('WORKLOADD_DATABASE_URL');
      for (const { serviceConfig } of Object.values(of.units)) {
        expect(serviceConfig).toMatchObject({
          NoNewPrivileges: true,
          ProtectSystem: 'strict',
          UMask: '0077',
          StateDirectoryMode: '0700',
        });
        expect(serviceConfig).not.toHaveProperty('MemoryDenyWriteExecute');
      }
    });

    test('the lifecycle socket is bound before OpenCrow starts; an ordering after OpenCrow warns what is lost', () => {
      const good = unit(evaluate(seed), 'worker');
      expect(good.before).toContain('opencrow.service');
      expect(good.serviceConfig['ExecStartPost']).toContain('test -S /run/opencrow-workloadd/lifecycle.sock');
      expect([good.after, good.requires]).not.toContainEqual(expect.arrayContaining(['opencrow.service']));

      const late = evaluate('{ enable = true; after = [ "opencrow.service" ]; requires = [ "opencrow.service" ]; }');
      expect(late.warnings).toEqual([
        expect.stringMatching(/after, or requires, opencrow\.service.*loses the first lifecycle events/s),
      ]);
      expect(unit(late, 'worker').before).not.toContain('opencrow.service');
      expect(unit(late, 'worker').requires).toEqual(['opencrow.service']);
    });

    test('what would be readable or lost is refused with the next step', () => {
      expect(evaluate('{ enable = true; dbPath = "/var/lib/opencrow/opencrow-workloadd.sqlite"; }').failures).toEqual([
        expect.stringMatching(/Postgres database now.*database\.url/s),
      ]);
      expect(evaluate('{ enable = true; database.url = "postgresql://u:p@h/d"; }').failures).toEqual([
        expect.stringContaining('database.urlFile'),
      ]);
      expect(
        evaluate('{ enable = true; tokenFile = "/run/credentials/opencrow.service/n8n-hooks-mutation-token"; }')
          .failures,
      ).toEqual([expect.stringContaining('which the agent can read')]);
    });

    test('another database takes its URL from a file, and no Postgres is started here', () => {
      const of = evaluate('{ enable = true; database.urlFile = "/run/secrets/ledger-url"; }');
      expect(of.postgresql).toEqual({});
      expect(unit(of, 'api').environment).toMatchObject({ WORKLOADD_DATABASE_URL_FILE: '%d/ledger-url' });
      expect(unit(of, 'api').serviceConfig['LoadCredential']).toEqual(['ledger-url:/run/secrets/ledger-url']);
    });

    test('the flake exports package, overlay and module; the package takes every dependency by the lock file’s hash', () => {
      const { flake, package: built } = evaluate(seed);
      expect(flake.packages['x86_64-linux']).toEqual({
        default: expect.any(String),
        'opencrow-workloadd': expect.any(String),
      });
      expect(flake).toMatchObject({ overlay: 'package.nix', modules: ['default', 'opencrow-workloadd'] });
      expect(flake.unitProgram).toMatch(/package\.nix-x86_64-linux\/bin\/workloadd api$/);
      expect(built.example).toMatch(/^https:\/\/npm\.example\/@temporalio\/client\/-\/client-[\d.]+\.tgz$/);
      // Only packages of other platforms may lack one: they are optional, and never installed here.
      expect(built.unresolved.filter((each) => /linux-x64-gnu$/.test(each))).toEqual([]);
    });
  },
);
