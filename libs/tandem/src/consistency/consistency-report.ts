export interface RuleResult {
  readonly name: string;
  readonly consistent: boolean;
  /** Undefined when the rule could not be compared; see `problem`. */
  readonly write?: number | string;
  readonly read?: number | string;
  /** `write` minus `read`, where both are numbers. */
  readonly difference?: number;
  /** Why it could not be compared. */
  readonly problem?: string;
  /** Streams that the rule's projections hold back: their events are missing on the read side. */
  readonly heldStreams: number;
  /** Where both sides were read: how many events the log had, in how many of its shards. */
  readonly position?: { readonly events: number; readonly shards: number };
}

export interface ConsistencyReport {
  /** ISO 8601, by this process's clock. */
  readonly checkedAt: string;
  /** True when every rule was compared and found equal. */
  readonly consistent: boolean;
  readonly rules: readonly RuleResult[];
}

/** One line for each rule, for terminals and logs. */
export function consistencyText({ checkedAt, consistent, rules }: ConsistencyReport): string {
  const head = `${consistent ? 'Consistent' : 'NOT consistent'}: ${rules.length} ${rules.length === 1 ? 'rule' : 'rules'}, checked at ${checkedAt}`;
  return [head, ...rules.map((rule) => `  ${rule.consistent ? 'ok   ' : 'DRIFT'} ${ruleText(rule)}`)].join('\n');
}

function ruleText({ name, write, read, difference, problem, heldStreams, position }: RuleResult): string {
  const held = heldStreams > 0 ? `; ${heldStreams} ${heldStreams === 1 ? 'stream is' : 'streams are'} held back, see the dead letters` : '';
  if (problem !== undefined) return `${name}: not compared: ${problem}${held}`;
  const by = difference ? ` (difference ${difference})` : '';
  return `${name}: write ${write}, read ${read}${by}, at ${position!.events} events${held}`;
}
