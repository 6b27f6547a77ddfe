import { existsSync } from 'node:fs';
import { z } from 'zod';

const url = (protocols: readonly string[], example: string) =>
  z.string().refine((text) => URL.canParse(text) && protocols.includes(new URL(text).protocol) && new URL(text).hostname !== '', { error: `a URL such as ${example}` });

const database = url(['mysql:', 'postgres:', 'postgresql:'], 'mysql://user:password@host:3306/database or postgres://user:password@host:5432/database').refine(
  (text) => !URL.canParse(text) || new URL(text).pathname.length > 1,
  { error: 'a URL that names a database after the host' },
);

const variables = z
  .object({
    PORT: z
      .string()
      .refine((text) => /^\d{1,5}$/.test(text) && Number(text) <= 65_535, { error: 'a whole number from 0 to 65535' })
      .transform(Number)
      .default(3000),
    HOST: z.string().default('127.0.0.1'),
    DATA_DIR: z.string().default('.data'),
    DATABASE_URL: database.optional(),
    REDIS_URL: url(['redis:', 'rediss:'], 'redis://host:6379').optional(),
    QUEUE_PREFIX: z
      .string()
      .regex(/^[a-z][a-z0-9_-]{0,30}$/, 'lower-case letters, digits, - and _, at most 31')
      .default('shop'),
    TANDEM_ROLE: z.enum(['all', 'api', 'worker'], { error: 'all, api or worker' }).default('all'),
    OPS_TOKEN: z.string().min(16, 'at least 16 characters').optional(),
    LOG_LEVEL: z.enum(['error', 'warn', 'info', 'debug'], { error: 'error, warn, info or debug' }).default('info'),
  })
  .superRefine((given, context) => {
    const refuse = (path: string, message: string) => context.addIssue({ code: 'custom', path: [path], message });
    if (given.DATABASE_URL?.startsWith('mysql:') && !given.REDIS_URL) refuse('REDIS_URL', 'to be set when DATABASE_URL is mysql://: MySQL does not carry the queues');
    if (!given.DATABASE_URL && given.REDIS_URL) refuse('DATABASE_URL', 'to be set when REDIS_URL is');
    if (!given.DATABASE_URL && given.TANDEM_ROLE !== 'all') refuse('TANDEM_ROLE', 'all, as long as DATABASE_URL is unset: the embedded database serves one process');
  });

export type LogLevel = z.infer<typeof variables>['LOG_LEVEL'];

export interface Environment {
  readonly port: number;
  readonly host: string;
  readonly dataDir: string;
  /** Unset: the embedded default. */
  readonly databaseUrl?: string;
  readonly redisUrl?: string;
  readonly queuePrefix: string;
  readonly role: 'all' | 'api' | 'worker';
  readonly opsToken?: string;
  readonly logLevel: LogLevel;
}

/** Token of the {@link Environment} in DI. */
export const ENVIRONMENT = Symbol('environment');

/** Names every wrong variable and what was expected, and never repeats a value: it may be a secret. */
export class WrongEnvironment extends Error {
  constructor(wrong: ReadonlyMap<string, string>) {
    super([...wrong].map(([name, expected]) => `${name} is wrong, expected ${expected}`).join('; '));
    this.name = 'WrongEnvironment';
  }
}

/** The settings in these variables; an empty one counts as unset. @throws WrongEnvironment */
export function parseEnvironment(given: NodeJS.ProcessEnv): Environment {
  const parsed = variables.safeParse(Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined && value.trim() !== '')));
  if (!parsed.success) {
    const wrong = new Map<string, string>();
    for (const { path, message } of parsed.error.issues) if (!wrong.has(String(path[0]))) wrong.set(String(path[0]), message);
    throw new WrongEnvironment(wrong);
  }
  const { data } = parsed;
  return Object.freeze({
    port: data.PORT,
    host: data.HOST,
    dataDir: data.DATA_DIR,
    databaseUrl: data.DATABASE_URL,
    redisUrl: data.REDIS_URL,
    queuePrefix: data.QUEUE_PREFIX,
    role: data.TANDEM_ROLE,
    opsToken: data.OPS_TOKEN,
    logLevel: data.LOG_LEVEL,
  });
}

/** Reads `.env` of the working directory, where there is one, under what the process was given; then as {@link parseEnvironment}. */
export function readEnvironment(): Environment {
  if (existsSync('.env')) process.loadEnvFile('.env');
  return parseEnvironment(process.env);
}
