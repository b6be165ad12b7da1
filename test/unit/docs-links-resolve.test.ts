import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';

const ROOT = path.resolve(__dirname, '../..');
const README = 'README.md';
const PAGES = [
  README,
  'CONTRIBUTING.md',
  'CHANGELOG.md',
  ...['docs', 'deploy', 'examples'].flatMap((folder) =>
    readdirSync(path.join(ROOT, folder))
      .filter((name) => name.endsWith('.md'))
      .map((name) => `${folder}/${name}`),
  ),
];

const textOf = (page: string): string => readFileSync(path.join(ROOT, page), 'utf8');

/** The text without code, where brackets and hashes mean something else. */
const proseOf = (page: string): string =>
  textOf(page)
    .replaceAll(/^( *)(```+)[^\n]*\n[\s\S]*?^\1\2 *$/gm, '')
    .replaceAll(/`[^`\n]*`/g, (code) => code.replaceAll(/[[\]()]/g, ''));

interface Link {
  page: string;
  target: string;
}

const linksOf = (page: string): Link[] =>
  [...proseOf(page).matchAll(/!?\[[^\]]*\]\(([^)\s]+)(?: "[^"]*")?\)/g)].map(([, target]) => ({
    page,
    target: target!,
  }));

const isRelative = ({ target }: Link): boolean => !/^[a-z][a-z0-9+.-]*:/i.test(target);

/** Anchors as GitHub makes them of headings. */
function anchorsOf(page: string): Set<string> {
  const anchors = new Set<string>();
  for (const [, heading] of textOf(page)
    .replaceAll(/^```[\s\S]*?^```/gm, '')
    .matchAll(/^#{1,6} +(.+?) *$/gm)) {
    const plain = heading!.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase();
    const anchor = plain.replaceAll(/[^\p{L}\p{N}\p{M}_\- ]/gu, '').replaceAll(' ', '-');
    let unique = anchor;
    for (let count = 1; anchors.has(unique); count += 1) unique = `${anchor}-${count}`;
    anchors.add(unique);
  }
  return anchors;
}

/** Path of what a relative link points to, from the root of the repository. */
function fileOf({ page, target }: Link): string {
  const [file] = target.split('#');
  return file ? path.join(path.dirname(page), decodeURIComponent(file)) : page;
}

function whyBroken(link: Link): string | null {
  const file = fileOf(link);
  if (file.startsWith('..') || path.isAbsolute(link.target)) return 'points out of the repository';
  if (!existsSync(path.join(ROOT, file))) return 'there is no such file';
  const anchor = link.target.split('#')[1];
  if (anchor === undefined || !file.endsWith('.md')) return null;
  return anchorsOf(file).has(anchor) ? null : 'there is no such heading';
}

test.each(PAGES)('every relative link of %s leads somewhere', (page) => {
  const broken = linksOf(page)
    .filter(isRelative)
    .map((link) => ({ target: link.target, why: whyBroken(link) }))
    .filter(({ why }) => why !== null);
  expect(broken).toEqual([]);
});

test('every page can be reached from the README by links', () => {
  const reached = new Set<string>();
  const next = [README];
  for (let page = next.pop(); page !== undefined; page = next.pop()) {
    if (reached.has(page)) continue;
    reached.add(page);
    next.push(
      ...linksOf(page)
        .filter(isRelative)
        .map(fileOf)
        .filter((file) => PAGES.includes(file)),
    );
  }
  expect(PAGES.filter((page) => !reached.has(page))).toEqual([]);
});

test('every picture of docs/images is shown somewhere, and small', () => {
  const shown = new Set(PAGES.flatMap(linksOf).filter(isRelative).map(fileOf));
  for (const name of readdirSync(path.join(ROOT, 'docs/images'))) {
    expect(shown).toContain(`docs/images/${name}`);
    expect(statSync(path.join(ROOT, 'docs/images', name)).size).toBeLessThan(300 * 1024);
  }
});

test.each(PAGES)('%s names no folder of one machine and no package registry', (page) => {
  const text = textOf(page);
  expect(text).not.toMatch(/(?:^|[\s"'`(=])\/(?:work|root|home|Users)\//m);
  expect(text).not.toContain(ROOT);
  expect(text).not.toMatch(/registry\.|npmjs|pypi\.org|proxy\.golang|artifactory|nexus\./i);
});

test('the changelog has what is unreleased, and the version of the package', () => {
  const { version } = JSON.parse(textOf('package.json')) as { version: string };
  expect(textOf('CHANGELOG.md')).toMatch(/^## \[Unreleased\]$/m);
  expect(textOf('CHANGELOG.md')).toContain(`## [${version}]`);
});
