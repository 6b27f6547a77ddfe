import type { TableNames } from '../table-names.js';

const id = (length: number): string => `VARCHAR(${length}) CHARACTER SET ascii COLLATE ascii_bin`;
/** Not the JSON type: MySQL's rewrites numbers. */
const JSON_TEXT = 'MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin';
const TABLE = 'ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4';

/** IF NOT EXISTS because MySQL commits at every CREATE: a run that was cut short is run again from its start. */
export const mysqlTables = (tables: TableNames): readonly string[] => [
  `CREATE TABLE IF NOT EXISTS ${tables.meta} (
    name ${id(60)} NOT NULL PRIMARY KEY,
    value VARCHAR(200) NOT NULL
  ) ${TABLE}`,
  `CREATE TABLE IF NOT EXISTS ${tables.shard} (
    shard SMALLINT NOT NULL PRIMARY KEY,
    head BIGINT NOT NULL DEFAULT 0,
    job_head BIGINT NOT NULL DEFAULT 0
  ) ${TABLE}`,
  `CREATE TABLE IF NOT EXISTS ${tables.event} (
    shard SMALLINT NOT NULL,
    seq BIGINT NOT NULL,
    event_id ${id(64)} NOT NULL,
    tenant ${id(64)} NOT NULL,
    stream ${id(200)} NOT NULL,
    version INT NOT NULL,
    type ${id(120)} NOT NULL,
    schema_version INT NOT NULL,
    payload ${JSON_TEXT} NOT NULL,
    metadata ${JSON_TEXT} NOT NULL,
    recorded_at DATETIME(6) NOT NULL,
    PRIMARY KEY (shard, seq),
    UNIQUE KEY ${tables.event}_stream (tenant, stream, version)
  ) ${TABLE}`,
  `CREATE TABLE IF NOT EXISTS ${tables.consumer} (
    name ${id(120)} NOT NULL PRIMARY KEY,
    kind ${id(20)} NOT NULL,
    live_generation INT NOT NULL,
    live_version INT NOT NULL,
    last_generation INT NOT NULL,
    state ${id(20)} NOT NULL,
    state_reason VARCHAR(1000) NULL,
    types ${JSON_TEXT} NOT NULL,
    version INT NOT NULL,
    last_run_at DATETIME(6) NULL,
    created_at DATETIME(6) NOT NULL,
    updated_at DATETIME(6) NOT NULL
  ) ${TABLE}`,
  `CREATE TABLE IF NOT EXISTS ${tables.checkpoint} (
    consumer ${id(120)} NOT NULL,
    generation INT NOT NULL,
    shard SMALLINT NOT NULL,
    seq BIGINT NOT NULL,
    event_id ${id(64)} NULL,
    PRIMARY KEY (consumer, generation, shard)
  ) ${TABLE}`,
  `CREATE TABLE IF NOT EXISTS ${tables.deadLetter} (
    consumer ${id(120)} NOT NULL,
    generation INT NOT NULL,
    tenant ${id(64)} NOT NULL,
    stream ${id(200)} NOT NULL,
    shard SMALLINT NOT NULL,
    seq BIGINT NOT NULL,
    event_id ${id(64)} NOT NULL,
    type ${id(120)} NOT NULL,
    state ${id(20)} NOT NULL,
    attempts INT NOT NULL,
    next_at DATETIME(6) NOT NULL,
    error VARCHAR(1000) NOT NULL,
    created_at DATETIME(6) NOT NULL,
    updated_at DATETIME(6) NOT NULL,
    PRIMARY KEY (consumer, generation, tenant, stream),
    KEY ${tables.deadLetter}_due (state, next_at)
  ) ${TABLE}`,
  `CREATE TABLE IF NOT EXISTS ${tables.rebuild} (
    consumer ${id(120)} NOT NULL PRIMARY KEY,
    generation INT NOT NULL,
    version INT NOT NULL,
    state ${id(20)} NOT NULL,
    state_reason VARCHAR(1000) NULL,
    state_before ${id(20)} NULL,
    tables ${JSON_TEXT} NOT NULL,
    allowed ${JSON_TEXT} NOT NULL,
    created_at DATETIME(6) NOT NULL,
    updated_at DATETIME(6) NOT NULL
  ) ${TABLE}`,
  `CREATE TABLE IF NOT EXISTS ${tables.job} (
    id ${id(64)} NOT NULL PRIMARY KEY,
    name ${id(120)} NOT NULL,
    queue ${id(120)} NOT NULL,
    payload ${JSON_TEXT} NOT NULL,
    metadata ${JSON_TEXT} NOT NULL,
    dedupe_key ${id(250)} NULL,
    sequence_key ${id(265)} NULL,
    sequence_no BIGINT NULL,
    state ${id(20)} NOT NULL,
    priority INT NOT NULL,
    attempts INT NOT NULL,
    epoch INT NOT NULL,
    claim_id ${id(64)} NULL,
    run_at DATETIME(6) NOT NULL,
    last_error VARCHAR(1000) NULL,
    created_at DATETIME(6) NOT NULL,
    finished_at DATETIME(6) NULL,
    UNIQUE KEY ${tables.job}_dedupe (dedupe_key),
    KEY ${tables.job}_due (state, run_at, id),
    KEY ${tables.job}_queue (queue, state, priority, run_at, id),
    KEY ${tables.job}_sequence (sequence_key, sequence_no)
  ) ${TABLE}`,
  `CREATE TABLE IF NOT EXISTS ${tables.command} (
    scope ${id(64)} NOT NULL,
    command_id ${id(140)} NOT NULL,
    name VARCHAR(120) NOT NULL,
    fingerprint ${id(64)} NOT NULL,
    result ${JSON_TEXT} NULL,
    positions ${JSON_TEXT} NULL,
    streams ${JSON_TEXT} NULL,
    created_at DATETIME(6) NOT NULL,
    PRIMARY KEY (scope, command_id),
    KEY ${tables.command}_created (created_at)
  ) ${TABLE}`,
];
