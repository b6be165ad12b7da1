import { compatibilityPolicy } from '../../contracts/compatibility';
import { incompatibility, incompatibilitySentence, type DeclaredCompatibility } from '../../domain/compatibility';

const declared: DeclaredCompatibility = {
  protocol_version: 2,
  version: '1.4.0',
  runtime_version: '20.19.1',
  flags: ['gpu', 'eu'],
  checkpoint_schemas: [1, 2],
  event_contracts: [1],
};
const nothing: DeclaredCompatibility = {
  protocol_version: null,
  version: null,
  runtime_version: null,
  flags: [],
  checkpoint_schemas: [],
  event_contracts: [],
};
const pointers = (policy: object, of = declared): string[] =>
  incompatibility(compatibilityPolicy.parse(policy), of).map(({ pointer }) => pointer);

test('a pool without a policy, and one that asks for nothing, takes every worker', () => {
  expect(incompatibility(null, nothing)).toEqual([]);
  expect(pointers({ on_incompatible: 'drain' }, nothing)).toEqual([]);
});

test.each([
  [{ min_protocol: 2, max_protocol: 2 }, []],
  [{ min_protocol: 3 }, ['/protocol_version']],
  [{ max_protocol: 1 }, ['/protocol_version']],
  [{ min_version: '1.4' }, []],
  [{ min_version: '1.4.0' }, []],
  [{ min_version: '1.4.1' }, ['/version']],
  [{ min_version: '1.10.0' }, ['/version']],
  [{ min_version: '1.4.0-rc.1' }, []],
  [{ min_runtime_version: '20.19.1' }, []],
  [{ min_runtime_version: '21' }, ['/runtime_version']],
  [{ flags: ['gpu'] }, []],
  [{ flags: ['gpu', 'arm'] }, ['/capabilities/flags']],
  [{ checkpoint_schemas: [2] }, []],
  [{ checkpoint_schemas: [2, 3] }, ['/checkpoint_schemas']],
  [{ event_contracts: [2] }, ['/event_contracts']],
])('%j', (policy, expected) => {
  expect(pointers(policy)).toEqual(expected);
});

test('what was not declared does not fit, and the sentence names each', () => {
  const policy = {
    min_protocol: 1,
    min_version: '1.0.0',
    min_runtime_version: '1',
    flags: ['a'],
    checkpoint_schemas: [1],
  };
  const faults = incompatibility(compatibilityPolicy.parse(policy), nothing);
  expect(faults.map(({ pointer }) => pointer)).toHaveLength(5);
  expect(incompatibilitySentence(faults)).toBe(
    'protocol_version is not declared and must be at least 1; version is not declared and must be at least 1.0.0; ' +
      'runtime_version is not declared and must be at least 1; capabilities.flags must have a; checkpoint_schemas must have 1',
  );
});

test('what is no version, or comes before the one asked for, does not fit', () => {
  for (const version of ['unknown', '', '1.x', '1.4.0-rc.1']) {
    expect(pointers({ min_version: '1.4.0' }, { ...declared, version })).toEqual(['/version']);
  }
});
