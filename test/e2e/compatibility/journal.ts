import { Injectable } from '@nestjs/common';

/** What happened, in order. */
@Injectable()
export class Journal {
  readonly lines: string[] = [];
  note(line: string): void {
    this.lines.push(line);
  }
}
