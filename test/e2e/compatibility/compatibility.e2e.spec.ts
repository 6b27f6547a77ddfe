/**
 * An application that was written for @nestjs/cqrs alone runs on @nestjs/cqrs and on Tandem, with every import of CqrsModule changed and
 * nothing else. One list of behaviours is looked for on each; where they differ, docs/reference/compatibility.md says so and why.
 */
import { existsSync, readFileSync } from 'node:fs';
import * as cqrs from '@nestjs/cqrs';
import { afterAll, describe, expect, it } from 'vitest';
import { bare, onTandem } from './both.js';
import { eventsAndAggregates } from './events.js';
import { commandsAndQueries } from './messages.js';
import { refusals } from './refusals.js';
import { differences, suiteOn } from './suite.js';
import { lifeAndTests, options, requestScope } from './wiring.js';

describe.each([bare(), onTandem('all'), onTandem('opt-in')])('an application for @nestjs/cqrs, on $name', (side) => {
  const suite = suiteOn(side);
  afterAll(() => side.remove());
  describe('commands and queries', () => {
    commandsAndQueries(suite);
  });
  describe('events, sagas and aggregates', () => {
    eventsAndAggregates(suite);
  });
  describe('request scope', () => {
    requestScope(suite);
  });
  describe('options', () => {
    options(suite);
  });
  describe('the start', () => {
    refusals(suite);
  });
  describe('life and tests', () => {
    lifeAndTests(suite);
  });
});

describe('docs/reference/compatibility.md', () => {
  const page = new URL('../../../docs/reference/compatibility.md', import.meta.url);
  const text = readFileSync(page, 'utf8');
  const section = (heading: string): string => text.split(/^## /m).find((part) => part.startsWith(`${heading}\n`))!;
  const firstCells = (heading: string): string[] => {
    const rows = section(heading)
      .split('\n')
      .filter((line) => line.startsWith('|'));
    return rows.slice(2).map((row) => row.split('|')[1]!.trim());
  };

  it('names the differences that were seen, and no others', () => {
    expect(firstCells('Differences').toSorted()).toEqual([...differences].toSorted());
  });

  it('names a spec for each further rule', () => {
    const specs = [...section('What the transaction asks of handlers').matchAll(/\]\((\S+\.spec\.ts)\)/g)].map(([, path]) => path!);
    expect(specs).toHaveLength(firstCells('What the transaction asks of handlers').length);
    for (const path of specs) expect(existsSync(new URL(path, page)), path).toBe(true);
  });

  it('tells of every export of @nestjs/cqrs that exists at run time', () => {
    const told = section('What @nestjs/cqrs exports');
    expect(Object.keys(cqrs).filter((name) => !told.includes(`\`${name}\``))).toEqual([]);
  });
});
