import type { EntityManager } from 'typeorm';

declare module '../../events/storage-types.js' {
  interface StorageTypes {
    entityManager: EntityManager;
  }
}
