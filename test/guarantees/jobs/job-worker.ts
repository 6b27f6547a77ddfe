/** A worker in a process of its own, for jobs that end it. */
import 'reflect-metadata';
import { type JobPlace, startJobs } from './job-application.js';

// A test that was itself ended leaves none behind.
process.once('disconnect', () => process.exit());
await startJobs(JSON.parse(process.argv[2]!) as JobPlace, 'worker');
process.send!('ready');
