/**
 * One process per folder. The lock is a listening socket, so it goes with its process, however that ends: a lock that nobody
 * answers on is stale and is taken over at once. Two processes that find the same stale lock cannot both get it: it is moved
 * aside by rename, which only one of them can do, and looked at once more there.
 */
import { createHash, randomBytes } from 'node:crypto';
import { link, realpath, rename, rm } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TandemError } from '../../kernel/errors.js';

/** What every system takes as the path of a socket, our suffixes included. */
const LONGEST_SOCKET_PATH = 100;
const OWNER_ANSWERS_WITHIN_MS = 300;

export class FolderLock {
  private constructor(
    private readonly server: Server,
    private readonly path: string,
  ) {}

  /** @throws TANDEM_EMBEDDED_IN_USE naming the folder, and the process where it answers. */
  static async take(folder: string): Promise<FolderLock> {
    const [preferred, ...others] = await lockPaths(folder);
    try {
      return await FolderLock.takeAt(preferred!, folder);
    } catch (error) {
      if (error instanceof TandemError || others.length === 0) throw error;
      return FolderLock.takeAt(others[0]!, folder); // no sockets in that folder
    }
  }

  private static async takeAt(path: string, folder: string): Promise<FolderLock> {
    const server = createServer((socket) => socket.on('error', () => undefined).end(String(process.pid))).unref();
    try {
      if (process.platform === 'win32') await listen(server, path);
      else await claim(server, path, folder);
      return new FolderLock(server, path);
    } catch (error) {
      server.close();
      throw codeOf(error) === 'EADDRINUSE' ? inUse(folder, '') : error;
    }
  }

  async release(): Promise<void> {
    if (process.platform !== 'win32') await rm(this.path, { force: true });
    await new Promise((resolve) => this.server.close(resolve));
  }
}

async function lockPaths(folder: string): Promise<string[]> {
  const real = await realpath(folder);
  const hash = createHash('sha256').update(real).digest('hex').slice(0, 24);
  if (process.platform === 'win32') return [`\\\\.\\pipe\\tandem-${hash}`];
  const inside = join(real, 'lock');
  const elsewhere = join(tmpdir(), `tandem-${hash}`);
  return Buffer.byteLength(ownPath(inside)) <= LONGEST_SOCKET_PATH ? [inside, elsewhere] : [elsewhere];
}

const ownPath = (path: string): string => `${path}.${randomBytes(4).toString('hex')}`;

async function claim(server: Server, path: string, folder: string): Promise<void> {
  const own = ownPath(path);
  await listen(server, own);
  try {
    while (!(await linked(own, path))) {
      const owner = await ownerOf(path);
      if (owner !== undefined) throw inUse(folder, owner);
      await moveAside(path, folder);
    }
  } finally {
    await rm(own, { force: true });
  }
}

async function linked(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw error;
  }
}

async function moveAside(path: string, folder: string): Promise<void> {
  const aside = ownPath(path);
  try {
    await rename(path, aside);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return; // another process was quicker
    throw error;
  }
  try {
    const owner = await ownerOf(aside);
    if (owner === undefined) return;
    await linked(aside, path); // it had just been taken over: give it back
    throw inUse(folder, owner);
  } finally {
    await rm(aside, { force: true });
  }
}

/** The process that listens there: its id, empty when it is too busy to say; undefined when nobody does. */
function ownerOf(path: string): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    let owner: string | undefined;
    const socket = connect(path).setEncoding('utf8');
    const timer = setTimeout(() => socket.destroy(), OWNER_ANSWERS_WITHIN_MS);
    socket.on('connect', () => (owner = ''));
    socket.on('data', (data: string) => (owner = `${owner ?? ''}${data}`));
    socket.on('error', (error) => {
      if (owner === undefined && !['ECONNREFUSED', 'ENOENT'].includes(codeOf(error))) reject(error);
    });
    socket.on('close', () => {
      clearTimeout(timer);
      resolve(owner);
    });
  });
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

const inUse = (folder: string, owner: string): TandemError =>
  new TandemError('TANDEM_EMBEDDED_IN_USE', `The data folder ${folder} is in use by ${owner ? `process ${owner}` : 'another process'}`, { data: { folder } });

const codeOf = (error: unknown): string => (error as { code?: string }).code ?? '';
