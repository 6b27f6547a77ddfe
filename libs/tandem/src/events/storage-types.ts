/**
 * Types that the storage adapter brings and core rooms only pass on. Empty here; the adapter adds `entityManager` by
 * declaration merging, so a lookup sees its own `EntityManager` although no core room imports a driver.
 */
// oxlint-disable-next-line typescript/no-empty-object-type -- filled by declaration merging
export interface StorageTypes {}

export type EntityManagerOf = StorageTypes extends { entityManager: infer M } ? M : unknown;
