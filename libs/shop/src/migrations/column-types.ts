/** How the shop's columns are written on each family of databases. Ids and keys compare byte for byte on both. */
export interface ColumnTypes {
  readonly id: string;
  readonly asciiKey: (length: number) => string;
  readonly text: (length: number) => string;
  /** Text that is a key: compared by its code points, without regard to language. */
  readonly textKey: (length: number) => string;
  readonly money: string;
  /** Of the money of many documents. */
  readonly sum: string;
  readonly instant: string;
  readonly long: string;
  readonly int: string;
  readonly tableOptions: string;
  readonly quote: (name: string) => string;
}

const asciiMySql = (length: number): string => `varchar(${length}) CHARACTER SET ascii COLLATE ascii_bin`;
const bytesPostgres = (length: number): string => `varchar(${length}) COLLATE "C"`;

const MYSQL: ColumnTypes = {
  id: asciiMySql(64),
  asciiKey: asciiMySql,
  text: (length) => `varchar(${length})`,
  textKey: (length) => `varchar(${length}) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin`,
  money: 'decimal(19,4)',
  sum: 'decimal(30,4)',
  instant: 'datetime(6)',
  long: 'mediumtext',
  int: 'int',
  tableOptions: ' ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin',
  quote: (name) => `\`${name}\``,
};

const POSTGRES: ColumnTypes = {
  id: bytesPostgres(64),
  asciiKey: bytesPostgres,
  text: (length) => `varchar(${length})`,
  textKey: bytesPostgres,
  money: 'decimal(19,4)',
  sum: 'decimal(30,4)',
  instant: 'timestamptz',
  long: 'text',
  int: 'integer',
  tableOptions: '',
  quote: (name) => `"${name}"`,
};

/** `type` is the data source's. */
export function columnTypes(type: string): ColumnTypes {
  if (type === 'mysql' || type === 'mariadb') return MYSQL;
  if (type === 'postgres') return POSTGRES;
  throw new Error(`The shop's migrations are written for mysql, mariadb and postgres, not for ${type}.`);
}
