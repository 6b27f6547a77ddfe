import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const DEPCRUISE = join(ROOT, 'node_modules/dependency-cruiser/bin/dependency-cruise.mjs');

interface Violation {
  readonly from: string;
  readonly to: string;
  readonly rule: { readonly name: string };
}

async function violationsIn(folder: string, ...parts: string[]): Promise<readonly Violation[]> {
  const cruise = [DEPCRUISE, ...parts, '--config', join(ROOT, '.dependency-cruiser.cjs'), '--output-type', 'json'];
  const { stdout } = await promisify(execFile)(process.execPath, cruise, { cwd: folder, maxBuffer: 64 * 1024 * 1024 }).catch((failed: { stdout?: string; stderr?: string }) => {
    if (!failed.stdout) throw new Error(`dependency-cruiser did not run: ${failed.stderr}`);
    return { stdout: failed.stdout };
  });
  return (JSON.parse(stdout) as { summary: { violations: Violation[] } }).summary.violations;
}

const SRC = 'libs/tandem/src';
/** Each wrong import, and the rule that must name it. */
const WRONG: readonly (readonly [from: string, to: string, rule: string])[] = [
  [`${SRC}/kernel/clock.ts`, `${SRC}/events/log.ts`, 'kernel-imports'],
  [`${SRC}/events/consumer.ts`, `${SRC}/jobs/job.ts`, 'events-imports'],
  [`${SRC}/jobs/runner.ts`, `${SRC}/read/query.ts`, 'jobs-imports'],
  [`${SRC}/write/command.ts`, `${SRC}/read/query.ts`, 'write-imports'],
  [`${SRC}/read/projection.ts`, `${SRC}/write/aggregate.ts`, 'read-imports'],
  [`${SRC}/consistency/token.ts`, `${SRC}/write/aggregate.ts`, 'consistency-imports'],
  [`${SRC}/telemetry/metrics.ts`, `${SRC}/adapters/typeorm/index.ts`, 'telemetry-imports'],
  [`${SRC}/ops/service.ts`, `${SRC}/adapters/typeorm/index.ts`, 'ops-imports'],
  [`${SRC}/testing/tester.ts`, `${SRC}/adapters/bullmq/index.ts`, 'testing-imports'],
  [`${SRC}/adapters/bullmq/queue.ts`, `${SRC}/adapters/typeorm/sql.ts`, 'adapters-bullmq-imports'],
  [`${SRC}/adapters/typeorm/store.ts`, `${SRC}/adapters/bullmq/index.ts`, 'adapters-typeorm-imports'],
  [`${SRC}/adapters/embedded/start.ts`, `${SRC}/ops/service.ts`, 'adapters-embedded-imports'],
  [`${SRC}/module.ts`, `${SRC}/adapters/typeorm/index.ts`, 'front-door-imports'],
  [`${SRC}/shed/tool.ts`, `${SRC}/kernel/errors.ts`, 'unknown-room'],
  [`${SRC}/events/append.ts`, 'node_modules/typeorm/index.js', 'drivers-only-in-adapters'],
  ['apps/shop-api/src/main.ts', `${SRC}/adapters/typeorm/sql.ts`, 'entry-points-only'],
  ['libs/shop/src/users.ts', `${SRC}/events/log.ts`, 'entry-points-only'],
  ['apps/shop-api/src/shop.ts', 'libs/shop/src/users.ts', 'shop-door-only'],
  [`${SRC}/kernel/example.ts`, 'libs/shop/src/users.ts', 'library-stands-alone'],
  [`${SRC}/kernel/checked.ts`, `${SRC}/kernel/clock.spec.ts`, 'no-spec-imported'],
];
const RIGHT: readonly (readonly [from: string, to: string])[] = [
  [`${SRC}/events/right.ts`, `${SRC}/kernel/errors.ts`],
  [`${SRC}/ops/right.ts`, `${SRC}/telemetry/report.ts`],
  [`${SRC}/adapters/embedded/right.ts`, `${SRC}/adapters/typeorm/sql.ts`],
  [`${SRC}/adapters/typeorm/right.ts`, 'node_modules/typeorm/index.js'],
  [`${SRC}/events/right.spec.ts`, `${SRC}/adapters/typeorm/index.ts`],
  ['apps/shop-api/src/right.ts', `${SRC}/adapters/typeorm/index.ts`],
];

describe('the import table', () => {
  let folder: string;
  let found: readonly Violation[];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tandem-house-'));
    await writeFile(join(folder, 'tsconfig.json'), '{ "compilerOptions": { "module": "nodenext", "moduleResolution": "nodenext", "target": "es2023" } }');
    const imports = new Map<string, string[]>();
    for (const [from, to] of [...WRONG, ...RIGHT]) {
      imports.set(from, [...(imports.get(from) ?? []), to]);
      if (!imports.has(to)) imports.set(to, []);
    }
    for (const [file, targets] of imports) await write(file, targets);
    await writeFile(join(folder, 'node_modules/typeorm/package.json'), '{ "name": "typeorm", "type": "module", "main": "index.js", "exports": "./index.js" }');
    found = await violationsIn(folder, 'apps', 'libs');
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  async function write(file: string, targets: readonly string[]): Promise<void> {
    const up = '../'.repeat(file.split('/').length - 1);
    const lines = targets.map((to) => `export * from '${to.startsWith('node_modules/') ? to.split('/')[1] : up + to.replace(/\.ts$/, '.js')}';`);
    await mkdir(join(folder, dirname(file)), { recursive: true });
    await writeFile(join(folder, file), [...lines, `export const here = '${file}';`, ''].join('\n'));
  }

  it.each(WRONG)('%s may not import %s', (from, to, rule) => {
    expect(found.filter((violation) => violation.from === from && violation.to === to).map((violation) => violation.rule.name)).toContain(rule);
  });

  it.each(RIGHT)('%s may import %s', (from, to) => {
    expect(found.filter((violation) => violation.from === from && violation.to === to)).toEqual([]);
  });

  it('holds in this repository', async () => {
    const violations = await violationsIn(ROOT, 'apps', 'libs', 'test');
    expect(violations.map(({ from, to, rule }) => `${rule.name}: ${from} → ${to}`)).toEqual([]);
  });
});
