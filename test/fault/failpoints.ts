/**
 * Named places in the work of a process at which the rig lets something happen to it. Most are statements, known by their text
 * on the driver's connection; the others are said by the test application itself, or stand around a port of its queue.
 */
export type Role = 'api' | 'worker';
export type Act = 'kill' | 'stop' | 'throw';

export interface Statement {
  readonly text: RegExp;
  readonly when: 'before' | 'after';
  /** Only on a connection whose transaction has seen such a statement before. */
  readonly behind?: RegExp;
}

export interface Failpoint {
  readonly name: string;
  readonly role: Role;
  /** Without one it is said with `Tripwires.reach`. */
  readonly statement?: Statement;
}

const COMMIT = /^COMMIT$/;
const CLAIM = /FROM tandem_checkpoint WHERE .* FOR UPDATE/;
const CHECKPOINT = /^UPDATE tandem_checkpoint SET seq/;
const BLOCK = /^BEGIN NOT ATOMIC /;
const LAST_BLOCK = /^BEGIN NOT ATOMIC [^]*COMMIT; END$/;
const JOB_CLAIM = /^(BEGIN NOT ATOMIC )?UPDATE tandem_job SET state = 'running'/;
/** In a statement of its own, in an append, or with COMMIT. */
const JOB_DONE = /\bUPDATE tandem_job SET state = 'done'/;
const FREEZE = /^UPDATE tandem_rebuild SET state = 'swapping'/;
const LIVE = /^UPDATE tandem_consumer SET live_generation/;
const READ_ROWS = /^(INSERT INTO|UPDATE) `?fault_(trail|total|journal|order_view)/;

const api = (name: string, statement?: Statement): Failpoint => ({ name, role: 'api', statement });
const worker = (name: string, statement?: Statement): Failpoint => ({ name, role: 'worker', statement });
const before = (text: RegExp, behind?: RegExp): Statement => ({ text, when: 'before', behind });
const after = (text: RegExp, behind?: RegExp): Statement => ({ text, when: 'after', behind });

export const FAILPOINTS: readonly Failpoint[] = [
  api('command.after-write-update'),
  api('command.after-id-row', after(/^INSERT IGNORE INTO tandem_command/)),
  api('command.after-publish'),
  api('command.after-job-row', after(/^INSERT INTO tandem_job/)),
  api('append.before-block', before(BLOCK)),
  api('append.after-block', after(/^BEGIN NOT ATOMIC [^]*AS clock; END$/)),
  api('append.after-block-with-commit', after(LAST_BLOCK)),
  api('append.after-shard-lock', after(/^UPDATE tandem_shard SET head/)),
  api('append.after-job-numbers', after(/^UPDATE tandem_job SET sequence_no/)),
  api('append.before-insert', before(/^INSERT INTO tandem_event/)),
  api('append.after-insert', after(/^INSERT INTO tandem_event/)),
  api('fold.after-claim', after(CLAIM)),
  api('fold.after-rows', after(READ_ROWS)),
  api('fold.after-checkpoint', after(CHECKPOINT)),
  api('command.before-commit', before(COMMIT)),
  api('command.after-commit', after(COMMIT)),
  api('wake-up.before-add'),
  api('wake-up.after-add'),
  api('queue.before-add'),
  api('queue.after-add'),
  worker('batch.after-claim', after(CLAIM)),
  worker('batch.after-events-read', after(/FROM tandem_event FORCE INDEX \(PRIMARY\)/)),
  worker('batch.mid-handlers'),
  worker('batch.after-rows', after(READ_ROWS)),
  worker('batch.before-checkpoint', before(CHECKPOINT)),
  worker('batch.after-checkpoint', after(CHECKPOINT)),
  worker('batch.before-commit', before(COMMIT, CHECKPOINT)),
  worker('batch.after-commit', after(COMMIT, CHECKPOINT)),
  worker('saga.in-method'),
  worker('saga.after-job-rows', after(/^INSERT INTO tandem_job/)),
  worker('saga.after-commit', after(COMMIT, /^INSERT INTO tandem_job/)),
  worker('saga.before-add'),
  worker('saga.after-add'),
  worker('schedule.after-slot', after(/^UPDATE tandem_consumer SET last_run_at/)),
  worker('letter.after-insert', after(/^INSERT INTO tandem_dead_letter/)),
  worker('letter.after-commit', after(COMMIT, /^INSERT INTO tandem_dead_letter/)),
  worker('job.before-claim', before(JOB_CLAIM)),
  worker('job.after-claim', after(JOB_CLAIM)),
  worker('job.after-handler'),
  worker('job.within-batch'),
  worker('job.before-done', before(JOB_DONE)),
  worker('job.after-done', after(JOB_DONE)),
  worker('job.after-done-with-commit', after(/UPDATE tandem_job SET state = 'done'[^]*COMMIT; END$/)),
  worker('job.before-effect'),
  worker('job.after-effect'),
  worker('job.after-turn', after(/^UPDATE tandem_job j JOIN .* SET j\.state = 'waiting'/)),
  worker('job.after-failure', after(/^UPDATE tandem_job SET state = 'waiting'/)),
  worker('job.after-renewal', after(/^UPDATE tandem_job SET run_at/)),
  api('rebuild.after-begin', after(COMMIT, /^INSERT INTO tandem_rebuild/)),
  worker('rebuild.after-tables', after(/^CREATE TABLE IF NOT EXISTS .*__g/)),
  worker('rebuild.mid-filling', after(/^(INSERT INTO|UPDATE) `?fault_\w+__g/)),
  worker('rebuild.before-freeze', before(FREEZE)),
  worker('rebuild.after-freeze', after(FREEZE)),
  worker('rebuild.after-frozen', after(COMMIT, FREEZE)),
  worker('rebuild.before-rename', before(/^RENAME TABLE/)),
  worker('rebuild.after-rename', after(/^RENAME TABLE/)),
  worker('rebuild.after-live', after(LIVE)),
  worker('rebuild.before-live-commit', before(COMMIT, LIVE)),
  worker('rebuild.after-live-commit', after(COMMIT, LIVE)),
  worker('rebuild.before-drop', before(/^DROP TABLE IF EXISTS/)),
  worker('rebuild.after-drop', after(/^DROP TABLE IF EXISTS/)),
  worker('rebuild.after-forget', after(COMMIT, /^DELETE FROM tandem_rebuild/)),
  worker('reconciler.after-look', after(/^SELECT .* AS behind FROM tandem_consumer c/s)),
  worker('reconciler.after-due', after(/^\(SELECT id, epoch, queue, .*FROM tandem_job WHERE queue/)),
];

export const ACTS: readonly Act[] = ['kill', 'stop', 'throw'];
