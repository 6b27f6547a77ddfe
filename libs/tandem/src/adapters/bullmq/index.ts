export { bullMqJobs, type BullMqJobsOptions } from './bullmq-jobs.js';
