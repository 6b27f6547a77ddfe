import { ShopTables1770000000000 } from './shop-tables.js';

/** For the data source's `migrations`, after Tandem's. */
export const shopMigrations = [ShopTables1770000000000];
