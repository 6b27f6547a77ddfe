/** What a command that was sent with an id has answered. It is kept with the append of its unit, since it tells the positions that this one takes. */
export interface CommandOutcome extends CommandKey {
  /** As `encodeResult` wrote it. */
  readonly result: string;
}

/** A command id, for one tenant and actor: nobody finds what others have sent. */
export interface CommandKey {
  /** A hash of tenant and actor. */
  readonly scope: string;
  readonly commandId: string;
}
