import type { Sql } from './driver-link.js';
import { schemaOf, tableOf } from './shadow-names.js';

/** What hangs on a table and would stay with the old one, or keep it from going: one sentence each. */
export async function hindrances(sql: Sql, path: string, quoted: string): Promise<string[]> {
  const found = sql.dialect === 'mysql' ? await ofMysql(sql, path) : await ofPostgres(sql, quoted);
  return found.map(({ kind, name }) => `${path} has the ${kind} ${name}, which would not go over to the rebuilt table: take it away from this read table`);
}

interface Hindrance {
  readonly kind: string;
  readonly name: string;
}

function ofMysql(sql: Sql, path: string): Promise<Hindrance[]> {
  const schema = schemaOf(path);
  const database = schema === undefined ? 'DATABASE()' : '?';
  const own = [...(schema === undefined ? [] : [schema]), tableOf(path)];
  return sql.query<Hindrance[]>(
    `SELECT 'foreign key' AS kind, constraint_name AS name FROM information_schema.referential_constraints
     WHERE constraint_schema = ${database} AND table_name = ?
     UNION ALL SELECT 'foreign key (of another table)', constraint_name FROM information_schema.referential_constraints
     WHERE unique_constraint_schema = ${database} AND referenced_table_name = ? AND table_name <> referenced_table_name
     UNION ALL SELECT 'trigger', trigger_name FROM information_schema.triggers WHERE event_object_schema = ${database} AND event_object_table = ?`,
    [...own, ...own, ...own],
  );
}

function ofPostgres(sql: Sql, quoted: string): Promise<Hindrance[]> {
  return sql.query<Hindrance[]>(
    `SELECT 'foreign key' AS kind, conname::text AS name FROM pg_constraint WHERE contype = 'f' AND (conrelid = ?::regclass OR confrelid = ?::regclass)
     UNION ALL SELECT 'trigger', tgname::text FROM pg_trigger WHERE tgrelid = ?::regclass AND NOT tgisinternal
     UNION ALL SELECT DISTINCT 'view', r.ev_class::regclass::text FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid
       WHERE d.classid = 'pg_rewrite'::regclass AND d.refobjid = ?::regclass AND r.ev_class <> ?::regclass
     UNION ALL SELECT 'row security policy', polname::text FROM pg_policy WHERE polrelid = ?::regclass`,
    Array.from({ length: 6 }, () => quoted),
  );
}
