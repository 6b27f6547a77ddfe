import { describe, expect, it } from 'vitest';
import { UserCreated, UserDeactivated, UserEmailChanged, UserRenamed } from '../user-events.js';
import { User } from './user.js';

const ann = (): User => User.create({ id: 'ann', name: ' Ann Archer ', email: 'Ann@Example.com' });
const known = (): User => {
  const user = ann();
  user.uncommit();
  return user;
};

describe('User', () => {
  it('is created active, with a trimmed name and an e-mail that is unique without regard to case', () => {
    const user = ann();
    expect(user).toMatchObject({ id: 'ann', name: 'Ann Archer', email: 'Ann@Example.com', emailKey: 'ann@example.com', status: 'active', version: 1 });
    expect(user.getUncommittedEvents()).toEqual([new UserCreated('ann', 'Ann Archer', 'Ann@Example.com')]);
  });

  it.each(['👩\u200d🌾', '\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645', 'Ĺ̥', '李'])('may be called %s', (name) => {
    expect(User.create({ id: 'ann', name, email: 'ann@example.com' }).name).toBe(name.normalize('NFC'));
  });

  it('tells of a new name and a new e-mail, each once', () => {
    const user = known();
    user.rename('Ann Baker');
    user.rename('Ann Baker');
    user.changeEmail('ann@baker.example');
    user.changeEmail('ann@baker.example');
    expect(user.getUncommittedEvents()).toEqual([new UserRenamed('ann', 'Ann Baker'), new UserEmailChanged('ann', 'ann@baker.example', 'Ann@Example.com')]);
    expect(user.emailKey).toBe('ann@baker.example');
  });

  it('is deactivated once, and cannot be changed after that', () => {
    const user = known();
    user.deactivate();
    user.deactivate();
    expect(user.getUncommittedEvents()).toEqual([new UserDeactivated('ann')]);
    expect(() => user.rename('Eve')).toThrow(expect.objectContaining({ code: 'SHOP_USER_DEACTIVATED' }));
    expect(() => user.changeEmail('eve@example.com')).toThrow(expect.objectContaining({ code: 'SHOP_USER_DEACTIVATED' }));
  });

  it('knows a repeat of its own creation', () => {
    expect(known().isAsGiven(ann())).toBe(true);
    expect(known().isAsGiven(User.create({ id: 'ann', name: 'Eve', email: 'ann@example.com' }))).toBe(false);
    const deactivated = known();
    deactivated.deactivate();
    expect(deactivated.isAsGiven(ann())).toBe(false);
  });

  it.each([
    ['an id with a slash', { id: 'a/b' }],
    ['an id that is a path', { id: 'count' }],
    ['an id that is a path in other letters', { id: 'Count' }],
    ['an id of 65 letters', { id: 'a'.repeat(65) }],
    ['no name', { name: '  ' }],
    ['a name of 101 letters', { name: 'ä'.repeat(101) }],
    ['a name that nobody sees', { name: '\u200b\u2060' }],
    ['a name that turns the line around', { name: 'Ann \u202eevE' }],
    ['a name of two lines', { name: 'Ann\nBcc: eve@example.com' }],
    ['an e-mail without a domain', { email: 'ann@' }],
    ['an e-mail of 255 letters', { email: `${'a'.repeat(64)}@${'b'.repeat(60)}.${'c'.repeat(60)}.${'d'.repeat(60)}.example` }],
    ['an e-mail with a line end', { email: 'ann@example.com\r\nBcc: eve@example.com' }],
  ])('refuses %s', (_, changes) => {
    expect(() => User.create({ id: 'ann', name: 'Ann', email: 'ann@example.com', ...changes })).toThrow(expect.objectContaining({ code: 'SHOP_INVALID' }));
  });
});
