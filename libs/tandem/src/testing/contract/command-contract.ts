import assert from 'node:assert/strict';
import { newId } from '../../kernel/new-id.js';
import type { Unit } from '../../kernel/unit-of-work.js';
import type { NewCommand, RecordedCommand } from '../../write/command/command-store.js';
import type { CommandsUnderTest } from './commands-under-test.js';
import { casesOf, type ContractCase, type Open, type Promises } from './contract-case.js';
import { pending } from './event-log-under-test.js';
import { hasFields, rejection } from './expectations.js';

const KEEP_MS = 600_000;

const command = (own: Partial<NewCommand> = {}): NewCommand => ({ scope: 's'.repeat(64), commandId: newId(), name: 'PlaceOrder', fingerprint: 'f'.repeat(64), ...own });
const take = ({ commands, units }: CommandsUnderTest, taken: NewCommand): Promise<RecordedCommand | undefined> => units.run((unit) => commands.take(unit, taken));

/** As a command does it: the id first, its events and what it answered last. */
async function handled({ commands, log }: CommandsUnderTest, unit: Unit, { scope, commandId, ...rest }: NewCommand, streams: readonly string[] = []) {
  const earlier = await commands.take(unit, { scope, commandId, ...rest });
  const outcome = { scope, commandId, result: '{"result":"d\'oh \\\\ ?"}' };
  const stored = await log.append(
    unit,
    streams.map((stream) => pending(stream)),
    [outcome],
  );
  return { earlier, stored };
}

const promises: Promises<CommandsUnderTest> = {
  'a free id is taken; a later unit finds what was recorded: name, fingerprint, result, and the positions and streams of its append': async (subject) => {
    const taken = command();
    const { earlier, stored } = await subject.units.run((unit) => handled(subject, unit, taken, ['order-1', 'order-2', 'order-2']));
    assert.equal(earlier, undefined);
    const found = await take(subject, command({ commandId: taken.commandId, name: 'Other', fingerprint: 'e'.repeat(64) }));
    hasFields(found, { name: taken.name, fingerprint: taken.fingerprint, result: '{"result":"d\'oh \\\\ ?"}' });
    const highest = new Map<number, number>();
    for (const { seq, shard } of stored) highest.set(shard, Math.max(seq, highest.get(shard) ?? 0));
    assert.deepEqual(new Map([...found!.written.positions].sort()), new Map([...highest].sort()));
    assert.deepEqual([...found!.written.streams].sort(), ['\norder-1', '\norder-2']);
  },
  'a command that appends nothing has its result, and no positions': async (subject) => {
    for (const append of ['append', 'appendLast'] as const) {
      const taken = command();
      await subject.units.run(async (unit) => {
        await subject.commands.take(unit, taken);
        await subject.log[append](unit, [], [{ scope: taken.scope, commandId: taken.commandId, result: '{}' }]);
      });
      const found = await take(subject, taken);
      hasFields(found, { result: '{}' });
      assert.deepEqual([...found!.written.positions], []);
    }
  },
  'a large append has its result too, and one that commits by itself': async (subject) => {
    const taken = [command(), command()];
    await subject.units.run((unit) =>
      handled(
        subject,
        unit,
        taken[0]!,
        Array.from({ length: 1_200 }, (_, i) => `large-${i}`),
      ),
    );
    await subject.units.run(async (unit) => {
      await subject.commands.take(unit, taken[1]!);
      await subject.log.appendLast(unit, [pending('last-1')], [{ ...taken[1]!, result: '{"result":1}' }]);
    });
    const [large, last] = [await take(subject, taken[0]!), await take(subject, taken[1]!)];
    assert.ok(large!.written.positions.size > 1 && large!.result !== null);
    assert.deepEqual([large!.written.streams.length > 64, last!.result, last!.written.positions.size, last!.written.streams], [true, '{"result":1}', 1, ['\nlast-1']]);
  },
  'ids of one scope are not those of another': async (subject) => {
    const taken = command();
    await subject.units.run((unit) => handled(subject, unit, taken));
    assert.equal(await take(subject, { ...taken, scope: 't'.repeat(64) }), undefined);
    assert.equal(await take(subject, { ...taken, commandId: taken.commandId.toUpperCase() }), undefined);
  },
  'a unit that is rolled back, or a savepoint in one, leaves the id free': async (subject) => {
    const [outer, inner] = [command(), command()];
    await rejection(() =>
      subject.units.run(async (unit) => {
        await handled(subject, unit, outer);
        throw new Error('rolled back');
      }),
    );
    await subject.units.run(async (unit) => {
      assert.equal(await subject.commands.take(unit, outer), undefined);
      await rejection(() =>
        subject.units.run(async (nested) => {
          await subject.commands.take(nested, inner);
          throw new Error('rolled back');
        }),
      );
      assert.equal(await subject.commands.take(unit, inner), undefined);
    });
  },
  'a unit finds its own id taken, without a result': async (subject) => {
    const taken = command();
    await subject.units.run(async (unit) => {
      await subject.commands.take(unit, taken);
      hasFields(await subject.commands.take(unit, taken), { fingerprint: taken.fingerprint, result: null });
    });
  },
  'sweep forgets the ids that are old enough, and no others': async (subject) => {
    const taken = command();
    await subject.units.run((unit) => handled(subject, unit, taken));
    assert.equal(await subject.commands.sweep(KEEP_MS), 0);
    assert.ok(await take(subject, taken));
    assert.equal(await subject.commands.sweep(0), 1);
    assert.equal(await take(subject, taken), undefined);
  },
};

const overlapping: Promises<CommandsUnderTest> = {
  'an id that another unit has is waited for: what that one recorded is found, or the id is free when it was rolled back': async (subject) => {
    for (const end of ['commit', 'rollback'] as const) {
      const taken = command();
      let second: Promise<RecordedCommand | undefined> | undefined;
      const first = subject.units.run(async (unit) => {
        await handled(subject, unit, taken, [`waited-${end}`]);
        second = subject.units.outside(() => take(subject, taken));
        second.catch(() => undefined);
        if (end === 'rollback') throw new Error('rolled back');
      });
      await (end === 'commit' ? first : rejection(() => first));
      const found = await second;
      if (end === 'commit') hasFields(found, { fingerprint: taken.fingerprint, result: '{"result":"d\'oh \\\\ ?"}' });
      else assert.equal(found, undefined);
    }
  },
};

/** What every `CommandStore` promises, together with the `EventLog` of the same database. */
export function commandContract(open: Open<CommandsUnderTest>): readonly ContractCase[] {
  return [...casesOf(open, promises), ...casesOf(open, overlapping, { overlapping: true })];
}
