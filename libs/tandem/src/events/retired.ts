/**
 * What the code no longer has, against what is registered. Code that lacks something may be older code beside newer (a rolling
 * deploy), so it must be able to start; or somebody has dropped, renamed or removed it, which is to be said explicitly.
 */
import { type Consumer, typesOf } from './consumer.js';
import type { RegisteredConsumer } from './consumer-store.js';

/** Consumers and event types that were given up. */
export interface Retired {
  /** Names of projections and sagas that this code no longer has. Their checkpoints and tables stay as they are. */
  readonly consumers?: readonly string[];
  /** Consumer → types of events that it no longer handles: it passes them over. */
  readonly types?: Readonly<Record<string, readonly string[]>>;
}

/** A consumer that was registered within this time may belong to newer code that is being deployed. */
const DEPLOY_MS = 24 * 60 * 60 * 1_000;

export interface Findings {
  /** They refuse the start. */
  readonly problems: readonly string[];
  readonly warnings: readonly string[];
}

export function compareWithRegistered(consumers: readonly Consumer[], registered: readonly RegisteredConsumer[], retired: Retired): Findings {
  const own = new Map(consumers.map((consumer) => [consumer.name, consumer]));
  const before = new Map(consumers.flatMap((consumer): [string, Consumer][] => (consumer.renamedFrom === undefined ? [] : [[consumer.renamedFrom, consumer]])));
  const missing = registered.filter(({ name }) => !own.has(name) && !before.has(name) && !retired.consumers?.includes(name));
  return {
    problems: [...contradictions(own, retired), ...stillDeclared(own, before), ...missing.filter(({ ageMs }) => ageMs > DEPLOY_MS).map(vanished)],
    warnings: [...missing.filter(({ ageMs }) => ageMs <= DEPLOY_MS).map(vanished), ...registered.flatMap((row) => dropped(own.get(row.name), row))],
  };
}

const vanished = ({ kind, name }: RegisteredConsumer): string =>
  `the ${kind} "${name}" is registered, but this code does not have it: was it renamed, it would begin anew under its new name, unless that says \`renamedFrom: '${name}'\`; was it removed, say so with \`retired: { consumers: ['${name}'] }\` of TandemModule`;

function dropped(consumer: Consumer | undefined, row: RegisteredConsumer): string[] {
  if (!consumer) return [];
  const missing = unknownTypes(consumer, row.types);
  if (missing.length === 0) return [];
  const list = missing.map((type) => `'${type}'`).join(', ');
  return [
    `"${row.name}" is registered for ${missing.join(', ')} too, which this code does not handle: it does not run here. Newer code runs it during a deploy; were they dropped, say so with \`retired: { types: { '${row.name}': [${list}] } }\` of TandemModule`,
  ];
}

/** What only other code knows of the types that a consumer is registered for. */
export function unknownTypes(consumer: Consumer, types: readonly string[]): readonly string[] {
  const known = new Set([...typesOf(consumer), ...(consumer.retiredTypes ?? [])]);
  return types.filter((type) => !known.has(type));
}

const stillDeclared = (own: ReadonlyMap<string, Consumer>, before: ReadonlyMap<string, Consumer>): string[] =>
  [...before].flatMap(([name, { consumerClass }]) =>
    own.has(name) ? [`${consumerClass.name} was renamed from "${name}", which ${own.get(name)!.consumerClass.name} declares`] : [],
  );

function contradictions(own: ReadonlyMap<string, Consumer>, { consumers = [], types = {} }: Retired): string[] {
  return [
    ...consumers.filter((name) => own.has(name)).map((name) => `\`retired\` names the consumer "${name}", which ${own.get(name)!.consumerClass.name} declares`),
    ...Object.entries(types).flatMap(([name, dropped]) => {
      const consumer = own.get(name);
      if (!consumer) return [`\`retired.types\` names "${name}", but there is no such projection or saga`];
      const handled = typesOf(consumer);
      return dropped.filter((type) => handled.includes(type)).map((type) => `\`retired.types\` names ${type}, which ${consumer.consumerClass.name} handles`);
    }),
  ];
}
