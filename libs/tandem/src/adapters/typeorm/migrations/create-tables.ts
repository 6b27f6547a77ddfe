import { randomBytes } from 'node:crypto';
import type { MigrationInterface, QueryRunner } from 'typeorm';
import { SHARDS } from '../../../events/event-log.js';
import { dialectOf } from '../driver-link.js';
import type { TableNames } from '../table-names.js';
import { mysqlTables } from './mysql-tables.js';
import { postgresTables } from './postgres-tables.js';

/** The tables, the 64 shards, and a random id that names this log in consistency tokens. */
export class CreateTables implements MigrationInterface {
  constructor(private readonly tables: TableNames) {}

  async up(queryRunner: QueryRunner): Promise<void> {
    const dialect = dialectOf(queryRunner.dataSource);
    for (const statement of dialect === 'mysql' ? mysqlTables(this.tables) : postgresTables(this.tables)) await queryRunner.query(statement);
    const [insert, unlessThere] = dialect === 'mysql' ? ['INSERT IGNORE', ''] : ['INSERT', ' ON CONFLICT DO NOTHING'];
    const shards = Array.from({ length: SHARDS }, (_, shard) => `(${shard}, 0, 0)`).join(', ');
    await queryRunner.query(`${insert} INTO ${this.tables.shard} (shard, head, job_head) VALUES ${shards}${unlessThere}`);
    const logId = randomBytes(8).toString('hex');
    await queryRunner.query(`${insert} INTO ${this.tables.meta} (name, value) VALUES ('log_id', '${logId}'), ('schema_version', '1')${unlessThere}`);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    const { shard, event, consumer, checkpoint, deadLetter, job, command, meta, rebuild } = this.tables;
    for (const table of [command, job, rebuild, deadLetter, checkpoint, consumer, event, shard, meta]) await queryRunner.query(`DROP TABLE IF EXISTS ${table}`);
  }
}
