/** A release in a process of its own. Its arguments come as JSON; it writes and rests when it is told to, and ends when its parent lets go. */
import 'reflect-metadata';
import type { TandemRole } from 'nest-tandem';
import { type Release, type ReleasePlace, startRelease } from './release.js';
import { type Traffic, Writers } from './traffic.js';

const { place, release, role } = JSON.parse(process.argv[2]!) as { readonly place: ReleasePlace; readonly release: Release; readonly role: TandemRole };
const app = await startRelease(place, release, role);
let writers: Writers | undefined;
process.on('message', (traffic: Traffic | 'rest') => {
  if (traffic === 'rest') void writers!.rest().then((report) => process.send!(report));
  else writers = new Writers(app, traffic);
});
process.once('disconnect', () => void app.close().then(() => process.exit(0)));
process.send!('ready');
