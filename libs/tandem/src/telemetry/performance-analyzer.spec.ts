import { describe, expect, it } from 'vitest';
import { Clock } from '../kernel/clock.js';
import { PerformanceAnalyzer } from './performance-analyzer.js';
import { reportText } from './performance-report.js';

class FixedClock extends Clock {
  time = 1_000;
  override now = () => this.time;
}

describe('PerformanceAnalyzer', () => {
  it('reports executions, errors, total and average time of each type, the dearest first', () => {
    const clock = new FixedClock();
    const analyzer = new PerformanceAnalyzer(clock);
    clock.time += 500;
    analyzer.recordCommandExecution('Cheap', { durationMs: 1 });
    analyzer.recordCommandExecution('Dear', { durationMs: 10 });
    analyzer.recordCommandExecution('Dear', { durationMs: 30, failed: true });
    analyzer.recordEventExecution('PlacedHandler', { durationMs: 2 });
    expect(analyzer.report()).toEqual({
      sinceMs: 500,
      commands: [
        { type: 'Dear', executions: 2, errors: 1, totalMs: 40, averageMs: 20 },
        { type: 'Cheap', executions: 1, errors: 0, totalMs: 1, averageMs: 1 },
      ],
      queries: [],
      events: [{ type: 'PlacedHandler', executions: 1, errors: 0, totalMs: 2, averageMs: 2 }],
    });
  });

  it('reports cache hits and their rate for queries', () => {
    const analyzer = new PerformanceAnalyzer(new Clock());
    for (const cacheHit of [false, true, true, true]) analyzer.recordQueryExecution('GetOrder', { durationMs: 2, cacheHit });
    expect(analyzer.report().queries).toEqual([{ type: 'GetOrder', executions: 4, errors: 0, totalMs: 8, averageMs: 2, cacheHits: 3, hitRate: 0.75 }]);
  });

  it('keeps its memory bounded and loses no execution', () => {
    const analyzer = new PerformanceAnalyzer(new Clock());
    for (let i = 0; i < 2_000; i++) analyzer.recordCommandExecution(`Command${i}`, { durationMs: 1 });
    const { commands } = analyzer.report();
    expect(commands).toHaveLength(501);
    expect(commands.find(({ type }) => type === '(others)')?.executions).toBe(1_500);
    expect(commands.reduce((sum, { executions }) => sum + executions, 0)).toBe(2_000);
  });

  it('prints tables for a terminal', () => {
    const analyzer = new PerformanceAnalyzer(new Clock());
    analyzer.recordCommandExecution('PlaceOrder', { durationMs: 12.345 });
    analyzer.recordQueryExecution('GetOrder', { durationMs: 1, cacheHit: true });
    expect(reportText(analyzer.report()).split('\n')).toEqual([
      'command     executions  errors  total ms  average ms',
      '----------------------------------------------------',
      'PlaceOrder           1       0      12.3       12.35',
      '',
      'query     executions  errors  total ms  average ms  cache hits  hit rate',
      '------------------------------------------------------------------------',
      'GetOrder           1       0       1.0        1.00           1   100.0 %',
      '',
      'event handler  executions  errors  total ms  average ms',
      '-------------------------------------------------------',
      'none yet',
    ]);
  });
});
