/** One process of the rig: its site comes as JSON in the first argument, orders come over the channel to its parent. */
import 'reflect-metadata';
import type { FromProcess, ToProcess } from '../messages.js';
import { startApplication } from './application.js';
import { Site } from './site.js';
import { Tripwires } from './tripwires.js';

const tell = (message: FromProcess): void => void (process.connected && process.send!(message));
const site = new Site(JSON.parse(process.argv[2]!) as Site);
const tripwires = new Tripwires((point) => tell({ kind: 'tripped', point }), site.role);

process.on('message', (message: ToProcess) => {
  switch (message.kind) {
    case 'arm':
      return tripwires.arm(message.point, message.act);
    case 'disarm':
      return tripwires.disarm();
    case 'resources':
      return tell({ kind: 'resources', resources: resources() });
  }
});
// The rig has ended.
process.once('disconnect', () => process.exit());

function resources() {
  (globalThis as { gc?: () => void }).gc?.();
  const timers = process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
  const sockets = process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length;
  return { timers, sockets, heapMb: Math.round(process.memoryUsage().heapUsed / 2 ** 20) };
}

const app = await startApplication(site, tripwires, { migrate: process.argv[3] === 'migrate' });
process.once('SIGTERM', () => {
  // After that nothing keeps the process alive but what it forgot to close.
  void app.close().then(() => process.channel?.unref());
});
tell({ kind: 'ready' });
