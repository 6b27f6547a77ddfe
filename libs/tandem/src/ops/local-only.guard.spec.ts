import { type ExecutionContext, ForbiddenException } from '@nestjs/common';
import { describe, expect, it } from 'vitest';
import { LocalOnlyGuard } from './local-only.guard.js';

function ask(remoteAddress: string | undefined, headers: Record<string, string> = {}): boolean {
  const request = { socket: { remoteAddress }, headers: { host: 'localhost:3000', ...headers } };
  return new LocalOnlyGuard().canActivate({ switchToHttp: () => ({ getRequest: () => request }) } as ExecutionContext);
}

describe('LocalOnlyGuard', () => {
  it.each(['127.0.0.1', '127.8.8.8', '::1', '::ffff:127.0.0.1'])('lets %s in', (address) => {
    expect(ask(address)).toBe(true);
  });

  it.each(['10.0.0.7', '::ffff:10.0.0.7', '1127.0.0.1', '127.0.0.1.evil', 'fe80::1', undefined])('refuses %s', (address) => {
    expect(() => ask(address)).toThrow(ForbiddenException);
  });

  it.each(['X-Forwarded-For', 'Forwarded', 'X-Forwarded-Host', 'X-Real-IP'])('refuses what came through a proxy (%s), whatever it says', (header) => {
    expect(() => ask('127.0.0.1', { [header.toLowerCase()]: '127.0.0.1' })).toThrow(ForbiddenException);
  });

  it.each(['127.0.0.1:3000', '[::1]:3000', 'LOCALHOST'])('takes host %s', (host) => {
    expect(ask('127.0.0.1', { host })).toBe(true);
  });

  it.each(['shop.example', 'localhost.evil.example:3000', ''])('refuses host "%s", as a rebound name would send it', (host) => {
    expect(() => ask('127.0.0.1', { host })).toThrow(ForbiddenException);
  });

  it('refuses another site’s page and takes its own', () => {
    expect(() => ask('127.0.0.1', { origin: 'https://evil.example' })).toThrow(ForbiddenException);
    expect(() => ask('127.0.0.1', { origin: 'null' })).toThrow(ForbiddenException);
    expect(ask('127.0.0.1', { origin: 'http://localhost:3000' })).toBe(true);
  });
});
