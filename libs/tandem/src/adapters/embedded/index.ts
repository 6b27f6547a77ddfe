export { embedded, type EmbeddedDefault, type EmbeddedOptions } from './embedded.js';
