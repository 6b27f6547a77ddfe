/** One run: servers, processes, load and faults; then rest, and the comparison of what is there with what was told. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Dice } from '../support/dice.js';
import type { MysqlName } from '../support/own-mysql.js';
import { keepArtefacts } from './artefacts.js';
import { bundleApplication } from './bundle.js';
import { SKEWED_BY } from './clock-skew.js';
import { Faults } from './faults.js';
import { Fleet } from './fleet.js';
import { jobViolations } from './invariants/jobs.js';
import { Log } from './invariants/log.js';
import { footprint, leftoverViolations, resourceViolations } from './invariants/resources.js';
import { rowViolations } from './invariants/rows.js';
import { type Violation, violation } from './invariants/violations.js';
import { Ledger } from './ledger.js';
import { Load } from './load.js';
import { type MutantName, MUTANTS } from './mutants.js';
import { planOf } from './plan.js';
import { Rebuilds } from './rebuilds.js';
import { faultsByKind, type Report } from './report.js';
import { type Remains, remains, settled } from './settle.js';

export interface RunOptions {
  /** Default MariaDB. */
  readonly server?: MysqlName;
  readonly seed: number;
  readonly minutes: number;
  readonly mutant?: MutantName;
  /** Only faults with one of these texts in their name. */
  readonly only?: readonly string[];
  readonly say: (line: string) => void;
  /** Ends load and faults at once; what has happened by then is compared. */
  readonly signal?: AbortSignal;
}

/** Without faults, so that pools and caches are as they are at work. */
const WARM_UP_MS = 5_000;
const SETTLE_MS = 240_000;
/** A mutant that does not come to rest is found. */
const SETTLE_OF_MUTANT_MS = 30_000;
const PROGRESS_EVERY_MS = 10_000;
const STOP_WITHIN_MS = 30_000;

export interface Run {
  readonly report: Report;
  /** Logs of the processes, tables and ledger; it is removed where nothing was violated. */
  readonly folder: string;
}

export async function run(options: RunOptions): Promise<Run> {
  const { mutant, say, seed, server = 'mariadb' } = options;
  const bundle = await bundleApplication();
  const folder = await mkdtemp(join(tmpdir(), 'tandem-fault-'));
  try {
    const fleet = await Fleet.start({ bundle, folder, seed, mutant, server });
    try {
      say(`seed ${seed}; logs in ${folder}; clocks off by ${SKEWED_BY}`);
      const report = await underFaults(fleet, folder, options);
      if (report.violations.length === 0) await rm(folder, { recursive: true, force: true });
      return { report, folder };
    } finally {
      await fleet.end();
    }
  } finally {
    await rm(bundle.folder, { recursive: true, force: true });
  }
}

async function underFaults(fleet: Fleet, folder: string, options: RunOptions): Promise<Report> {
  const { minutes, mutant, say, seed } = options;
  const only = options.only ?? (mutant && MUTANTS[mutant].only);
  const settleMs = mutant ? SETTLE_OF_MUTANT_MS : SETTLE_MS;
  const start = Date.now();
  const ledger = new Ledger();
  const load = new Load(fleet.ports, ledger, seed);
  const faults = new Faults(fleet, planOf(new Dice(seed), only), new Dice(seed + 1));
  const rebuilds = new Rebuilds(fleet, new Dice(seed + 2));
  const progress = setInterval(() => void tell(fleet, { start, ledger, faults, say }), PROGRESS_EVERY_MS);
  try {
    load.start(0);
    await sleep(WARM_UP_MS);
    await load.stop();
    await settled(fleet, settleMs);
    const before = await footprint(fleet);
    load.start();
    rebuilds.start();
    await faults.until(Date.now() + minutes * 60_000, options.signal);
    await load.stop();
    await fleet.serves();
    if (!fleet.places.every(({ current }) => current.isReady)) throw new Error(fleet.places.flatMap(({ unwanted }) => unwanted).join('; '));
    await rebuilds.stop();
    say('faults and load are over, coming to rest');
    const left = await settled(fleet, settleMs);
    const log = await Log.read(fleet);
    const violations: Violation[] = [
      ...restViolations(left),
      ...log.violations(ledger),
      ...violation('An API tells by a code what went wrong', ledger.untyped),
      ...(await rowViolations(fleet, log)),
      ...(await jobViolations(fleet, log, ledger)),
      ...(await resourceViolations(fleet, before)),
      ...(await endViolations(fleet)),
    ];
    if (violations.length > 0) await keepArtefacts(fleet, ledger, folder);
    return {
      seed,
      minutes,
      mutant,
      breaks: mutant && MUTANTS[mutant].breaks,
      database: fleet.database.label,
      seconds: Math.round((Date.now() - start) / 1_000),
      clocks: SKEWED_BY,
      events: log.events.length,
      commands: ledger.counts,
      repeated: ledger.repeated,
      rebuilds: await rebuilds.swapped(),
      reasons: Object.fromEntries(ledger.reasons),
      starts: fleet.places.reduce((sum, place) => sum + place.starts, 0),
      skewedStarts: fleet.places.reduce((sum, place) => sum + place.skewedStarts, 0),
      faultsByKind: faultsByKind(faults.counts),
      faults: Object.fromEntries([...faults.counts].toSorted(([a], [b]) => (a < b ? -1 : 1))),
      missed: faults.missed,
      violations,
    };
  } finally {
    clearInterval(progress);
  }
}

function restViolations({ lags, openJobs, rebuilding, retrying, stopped }: Remains): Violation[] {
  return [
    ...violation(
      'Every lag reaches zero',
      Object.entries(lags).map(([name, lag]) => `${name} has not read ${lag} events`),
    ),
    ...violation('Every job ends', openJobs > 0 ? [`${openJobs} jobs wait or run`] : []),
    ...violation('Every held stream is released or parked', retrying > 0 ? [`${retrying} streams are still tried again`] : []),
    ...violation('Every rebuild ends, and leaves no table behind', rebuilding),
    ...violation('Every consumer runs', stopped),
  ];
}

/** Every process stops by itself when it is told to, and leaves nothing behind. */
async function endViolations(fleet: Fleet): Promise<Violation[]> {
  const unwanted = fleet.places.flatMap((place) => place.unwanted);
  const codes = await Promise.all(fleet.places.map(async (place) => `${place.name} ended with ${await place.close(STOP_WITHIN_MS)}`));
  return [
    ...violation('No process ends by itself', unwanted),
    ...violation(
      'Every process ends in good order',
      codes.filter((text) => !text.endsWith(' 0')),
    ),
    ...(await leftoverViolations(fleet)),
  ];
}

async function tell(fleet: Fleet, { faults, ledger, say, start }: { faults: Faults; ledger: Ledger; say: RunOptions['say']; start: number }): Promise<void> {
  const happened = [...faults.counts.values()].reduce((sum, count) => sum + count, 0);
  const state = await remains(fleet).then(
    ({ lags, openJobs }) => `lag ${Object.values(lags).reduce((sum, lag) => sum + lag, 0)}, open jobs ${openJobs}`,
    () => 'the database is away',
  );
  const { acknowledged, refused, unknown } = ledger.counts;
  const events = ledger.acknowledgedEvents;
  say(
    `${Math.round((Date.now() - start) / 1_000)} s: ${events} events acknowledged in ${acknowledged} commands, ${refused} refused, ${unknown} unknown; ${happened} faults; ${state}`,
  );
}
