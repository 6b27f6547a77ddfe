/** What the command bus needs of the module's options; see `TandemSettings` for meaning and defaults. Also its token in DI. */
export abstract class CommandSettings {
  abstract readonly unitOfWork: 'all' | 'opt-in';
  abstract readonly keepCommandIdsMs: number;
}
