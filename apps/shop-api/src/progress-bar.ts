import { SingleBar } from 'cli-progress';

const PLAIN_EVERY_MS = 5_000;

export interface ProgressBar {
  update(done: number): void;
  stop(): void;
}

/** On stderr, with rate and time left; where stderr is no terminal, a line every five seconds. */
export function progressBar(what: string, total: number): ProgressBar {
  const format = `${what} {bar} {percentage} % | {value} of {total} | {rate}/s | {left} left`;
  const bar = new SingleBar({ stream: process.stderr, format, hideCursor: true, noTTYOutput: true, notTTYSchedule: PLAIN_EVERY_MS });
  const started = performance.now();
  bar.start(total, 0, { rate: 0, left: '?' });
  return {
    update(done) {
      const rate = done / Math.max(0.001, (performance.now() - started) / 1_000);
      bar.update(done, { rate: Math.round(rate), left: timeLeft((total - done) / rate) });
    },
    stop: () => bar.stop(),
  };
}

function timeLeft(seconds: number): string {
  if (!Number.isFinite(seconds)) return '?';
  const whole = Math.ceil(seconds);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}
