import type { TableNames } from '../table-names.js';

const id = (length: number): string => `varchar(${length}) COLLATE "C"`;
/** Room in each page for new versions of its rows: these tables are small and updated all the time. */
const HOT = 'WITH (fillfactor = 20)';

export const postgresTables = (tables: TableNames): readonly string[] => [
  `CREATE TABLE IF NOT EXISTS ${tables.meta} (
    name ${id(60)} NOT NULL PRIMARY KEY,
    value varchar(200) NOT NULL
  )`,
  `CREATE TABLE IF NOT EXISTS ${tables.shard} (
    shard smallint NOT NULL PRIMARY KEY,
    head bigint NOT NULL DEFAULT 0,
    job_head bigint NOT NULL DEFAULT 0
  ) ${HOT}`,
  `CREATE TABLE IF NOT EXISTS ${tables.event} (
    shard smallint NOT NULL,
    seq bigint NOT NULL,
    event_id ${id(64)} NOT NULL,
    tenant ${id(64)} NOT NULL,
    stream ${id(200)} NOT NULL,
    version integer NOT NULL,
    type ${id(120)} NOT NULL,
    schema_version integer NOT NULL,
    payload json NOT NULL,
    metadata json NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (shard, seq),
    CONSTRAINT ${tables.event}_stream UNIQUE (tenant, stream, version)
  )`,
  `CREATE TABLE IF NOT EXISTS ${tables.consumer} (
    name ${id(120)} NOT NULL PRIMARY KEY,
    kind ${id(20)} NOT NULL,
    live_generation integer NOT NULL,
    live_version integer NOT NULL,
    last_generation integer NOT NULL,
    state ${id(20)} NOT NULL,
    state_reason varchar(1000) NULL,
    types text NOT NULL,
    version integer NOT NULL,
    last_run_at timestamptz NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
  )`,
  `CREATE TABLE IF NOT EXISTS ${tables.checkpoint} (
    consumer ${id(120)} NOT NULL,
    generation integer NOT NULL,
    shard smallint NOT NULL,
    seq bigint NOT NULL,
    event_id ${id(64)} NULL,
    PRIMARY KEY (consumer, generation, shard)
  ) ${HOT}`,
  `CREATE TABLE IF NOT EXISTS ${tables.deadLetter} (
    consumer ${id(120)} NOT NULL,
    generation integer NOT NULL,
    tenant ${id(64)} NOT NULL,
    stream ${id(200)} NOT NULL,
    shard smallint NOT NULL,
    seq bigint NOT NULL,
    event_id ${id(64)} NOT NULL,
    type ${id(120)} NOT NULL,
    state ${id(20)} NOT NULL,
    attempts integer NOT NULL,
    next_at timestamptz NOT NULL,
    error varchar(1000) NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (consumer, generation, tenant, stream)
  )`,
  `CREATE INDEX IF NOT EXISTS ${tables.deadLetter}_due ON ${tables.deadLetter} (state, next_at)`,
  `CREATE TABLE IF NOT EXISTS ${tables.rebuild} (
    consumer ${id(120)} NOT NULL PRIMARY KEY,
    generation integer NOT NULL,
    version integer NOT NULL,
    state ${id(20)} NOT NULL,
    state_reason varchar(1000) NULL,
    state_before ${id(20)} NULL,
    tables text NOT NULL,
    allowed text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
  )`,
  `CREATE TABLE IF NOT EXISTS ${tables.job} (
    id ${id(64)} NOT NULL PRIMARY KEY,
    name ${id(120)} NOT NULL,
    queue ${id(120)} NOT NULL,
    payload json NOT NULL,
    metadata json NOT NULL,
    dedupe_key ${id(250)} NULL,
    sequence_key ${id(265)} NULL,
    sequence_no bigint NULL,
    state ${id(20)} NOT NULL,
    priority integer NOT NULL,
    attempts integer NOT NULL,
    epoch integer NOT NULL,
    claim_id ${id(64)} NULL,
    run_at timestamptz NOT NULL,
    last_error varchar(1000) NULL,
    created_at timestamptz NOT NULL,
    finished_at timestamptz NULL,
    CONSTRAINT ${tables.job}_dedupe UNIQUE (dedupe_key)
  )`,
  `CREATE INDEX IF NOT EXISTS ${tables.job}_due ON ${tables.job} (state, run_at, id)`,
  `CREATE INDEX IF NOT EXISTS ${tables.job}_queue ON ${tables.job} (queue, state, priority, run_at, id)`,
  `CREATE INDEX IF NOT EXISTS ${tables.job}_sequence ON ${tables.job} (sequence_key, sequence_no) WHERE sequence_key IS NOT NULL`,
  `CREATE TABLE IF NOT EXISTS ${tables.command} (
    scope ${id(64)} NOT NULL,
    command_id ${id(140)} NOT NULL,
    name varchar(120) NOT NULL,
    fingerprint ${id(64)} NOT NULL,
    result text NULL,
    positions text NULL,
    streams text NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (scope, command_id)
  )`,
  `CREATE INDEX IF NOT EXISTS ${tables.command}_created ON ${tables.command} (created_at)`,
];
