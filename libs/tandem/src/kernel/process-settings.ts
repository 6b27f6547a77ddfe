/** What adapters need of the module's options; see `TandemSettings` for meaning and defaults. Also its token in DI. */
export abstract class ProcessSettings {
  abstract readonly role: 'all' | 'api' | 'worker';
}
