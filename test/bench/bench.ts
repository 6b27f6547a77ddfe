/**
 * `npm run bench [-- PART… --seconds N --rounds N --events N --only TEXT]`: Tandem beside the same statements by hand, in one run, in turns;
 * medians and ratios. Needs MariaDB and Redis: TANDEM_TEST_MARIADB_URL and TANDEM_TEST_REDIS_URL, or 127.0.0.1.
 */
import 'reflect-metadata';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { bus } from './bus.js';
import { catchUp } from './catch-up.js';
import { commands } from './commands.js';
import { growth } from './growth.js';
import { idle } from './idle.js';
import { jobs } from './jobs.js';
import { rebuild } from './rebuild.js';
import { onStage, say, type Stage } from './stage.js';
import { strategies } from './strategies.js';
import { visible } from './visible.js';

const PARTS: Readonly<Record<string, (stage: Stage) => Promise<void>>> = { commands, 'catch-up': catchUp, visible, strategies, bus, jobs, rebuild, growth, idle };
/** What runs when no part is named. */
const DEFAULT = ['commands', 'catch-up', 'visible', 'strategies', 'bus', 'jobs'];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '2' },
    rounds: { type: 'string', default: '5' },
    events: { type: 'string', default: '200000' },
    only: { type: 'string', default: '' },
  },
});
const options = { seconds: Number(values.seconds), rounds: Number(values.rounds), events: Number(values.events), only: values.only };
const chosen = positionals.length > 0 ? positionals : DEFAULT;
const unknown = chosen.filter((part) => !Object.hasOwn(PARTS, part));
if (unknown.length > 0) throw new Error(`No such part: ${unknown.join(', ')}. There are ${Object.keys(PARTS).join(', ')}`);

say(`${cpus()[0]!.model}, ${cpus().length} cores, Node ${process.version}; medians of ${options.rounds} rounds of ${options.seconds} s`);
await onStage(options, async (stage) => {
  for (const part of chosen) await PARTS[part]!(stage);
});
