import { Logger } from '@nestjs/common';
import { afterEach, expect, it, vi } from 'vitest';
import type { Consumer } from './consumer.js';
import { StopReports } from './stop-reports.js';

const consumer = { name: 'spec.view' } as Consumer;
const idle = { handled: 0, more: false };
const paused = { ...idle, stopped: 'it is paused', paused: true };
const halted = { ...idle, stopped: 'order-1 failed' };
const outdated = { ...idle, stopped: 'spec.view met spec.done of version 2, its code knows 1', outdated: true };

afterEach(() => vi.restoreAllMocks());

it('says why a consumer does not run, again only when it has run in between, and once for good what only newer code can handle', () => {
  const lines = vi.spyOn(Logger.prototype, 'error').mockReturnValue(undefined);
  const reports = new StopReports();
  for (const result of [halted, halted, idle, halted, outdated, idle, outdated]) reports.report(consumer, result);
  const [whyHalted, whyOutdated] = [halted, outdated].map(({ stopped }) => `spec.view does not run: ${stopped}`);
  expect(lines.mock.calls.map(([line]) => line as string)).toEqual([whyHalted, whyHalted, whyOutdated]);
});

it('warns of a consumer that somebody has paused: that is no error', () => {
  const errors = vi.spyOn(Logger.prototype, 'error').mockReturnValue(undefined);
  const warnings = vi.spyOn(Logger.prototype, 'warn').mockReturnValue(undefined);
  const reports = new StopReports();
  for (const result of [paused, paused, idle, paused]) reports.report(consumer, result);
  expect(errors).not.toHaveBeenCalled();
  expect(warnings.mock.calls).toEqual([['spec.view does not run: it is paused'], ['spec.view does not run: it is paused']]);
});
