/** Work of several callers, one after the other in the order in which they came. */
export class Turns {
  private last: Promise<unknown> = Promise.resolve();

  take<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.last.then(work);
    this.last = mine.catch(() => undefined); // its caller has the error; the next one only waits for its turn
    return mine;
  }
}
