import { placeOf, type Provided } from '../kernel/registry/application-map.js';
import { ConsistencyRule } from './consistency-rule.js';

/** The consistency rules that an application provides, and those of them that share a name. */
export function checkRules(provided: readonly Provided[]): { readonly problems: string[]; readonly sound: ConsistencyRule[] } {
  const problems: string[] = [];
  const byName = new Map<string, { readonly rule: ConsistencyRule; readonly by: Provided }>();
  for (const by of provided) {
    if (!(by.instance instanceof ConsistencyRule)) continue;
    const first = byName.get(by.instance.name);
    if (first) problems.push(`"${by.instance.name}" is the name of both consistency rules ${placeOf(first.by)} and ${placeOf(by)}`);
    else byName.set(by.instance.name, { rule: by.instance, by });
  }
  return { problems, sound: [...byName.values()].map(({ rule }) => rule) };
}
