/** Dead letters on the simulated database, as their SQL version keeps them. */
import { DeadLetterStore, type DeadLetter, type NewDeadLetter } from '../../libs/tandem/src/events/dead-letter-store.js';
import type { Unit } from '../../libs/tandem/src/kernel/unit-of-work.js';
import type { SimulatedProcess } from './simulated-database.js';
import { sessionOf } from './simulated-storage.js';

const RETRY_AFTER_MICROS = 5_000;

type StoredLetter = Omit<DeadLetter, 'due'> & { readonly dueMicros: number };
const keyOf = ({ consumer, stream }: Pick<DeadLetter, 'consumer' | 'stream'>): string => `letter ${consumer} ${stream}`;

export class SimulatedDeadLetterStore extends DeadLetterStore {
  constructor(private readonly process: SimulatedProcess) {
    super();
  }

  override hold(unit: Unit, { retryInMs: _retryInMs, ...letter }: NewDeadLetter): Promise<void> {
    const session = sessionOf(unit);
    return session.statement('hold', () => session.set(keyOf(letter), { ...letter, dueMicros: this.process.database.micros + RETRY_AFTER_MICROS } satisfies StoredLetter));
  }

  override release(unit: Unit, letter: Pick<DeadLetter, 'consumer' | 'stream'>): Promise<void> {
    const session = sessionOf(unit);
    return session.statement('release', () => session.set(keyOf(letter), undefined));
  }

  override async held(unit: Unit, consumer: string, _generation: number, of: readonly number[]): Promise<readonly DeadLetter[]> {
    const session = sessionOf(unit);
    return session.statement('held', () => this.letters(consumer, (key) => session.get(key)).filter(({ shard }) => of.includes(shard)));
  }

  override async list({ consumer = '', due = false }: { readonly consumer?: string; readonly due?: boolean } = {}): Promise<readonly DeadLetter[]> {
    await this.process.moment('list letters');
    return this.letters(consumer, (key) => this.process.database.read(key)).filter((letter) => !due || letter.due);
  }

  override async dueConsumers(consumers: readonly string[]): Promise<readonly string[]> {
    const letters = await this.list({ due: true });
    return consumers.filter((name) => letters.some(({ consumer }) => consumer === name));
  }

  override async retryNow({ consumer }: { readonly consumer: string }): Promise<number> {
    const letters = await this.list({ consumer });
    if (letters.length === 0) return 0;
    const session = this.process.begin();
    for (const shard of new Set(letters.map((letter) => letter.shard))) await session.lock(`checkpoint ${consumer} ${shard}`);
    await session.statement('make due', () => {
      for (const letter of letters) {
        const key = keyOf(letter);
        const now = session.get<StoredLetter>(key);
        if (now) session.set(key, { ...now, state: 'retrying', attempts: 0, dueMicros: this.process.database.micros });
      }
    });
    await session.commit();
    return letters.length;
  }

  override discard = () => Promise.resolve(0);

  private letters(consumer: string, read: (key: string) => StoredLetter | undefined): DeadLetter[] {
    return this.process.database
      .keys(`letter ${consumer}`)
      .map(read)
      .filter((letter) => letter !== undefined)
      .map(({ dueMicros, ...letter }) => ({ ...letter, due: letter.state !== 'parked' && dueMicros <= this.process.database.micros }));
  }
}
