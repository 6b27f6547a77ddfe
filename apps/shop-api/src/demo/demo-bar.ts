import { SingleBar } from 'cli-progress';

const PLAIN_EVERY_MS = 2_000;
const WIDTH = 24;

export interface DemoNumbers {
  readonly written: number;
  readonly read: number;
  readonly jobsDone: number;
  readonly lag: number;
}

/** The live line of the demo. Where stdout is no terminal, a line every two seconds. */
export class DemoBar {
  private readonly bar: SingleBar;
  private shown: DemoNumbers = { written: 0, read: 0, jobsDone: 0, lag: 0 };
  private running = false;

  constructor(private readonly total: number) {
    const format = `written {bar} {value}/{total} | read {read} | jobs done {jobsDone} | lag {lag}`;
    this.bar = new SingleBar({ stream: process.stdout, format, barsize: WIDTH, hideCursor: true, noTTYOutput: true, notTTYSchedule: PLAIN_EVERY_MS, emptyOnZero: true });
  }

  start(): void {
    this.running = true;
    this.bar.start(this.total, this.shown.written, { ...this.shown });
  }

  show(numbers: DemoNumbers): void {
    this.shown = numbers;
    if (this.running) this.bar.update(numbers.written, { ...numbers });
  }

  /** A line of its own; the live line goes on below it. */
  say(text: string): void {
    this.stop();
    process.stdout.write(`  ${text}\n`);
    this.start();
  }

  stop(): void {
    if (!this.running) return;
    this.running = false;
    this.bar.stop();
  }
}
