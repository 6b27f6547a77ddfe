import './storage-types.js';

export { tandemDataSource } from './tandem-data-source.js';
export { tandemMigrations } from './migrations/tandem-migrations.js';
export { checkSchema } from './schema-check.js';
export type { SchemaCheckOptions } from './schema-check.js';
export { typeOrmStorage } from './typeorm-storage.js';
export type { TypeOrmStorageOptions } from './typeorm-storage.js';
