/** The import table: which room of libs/tandem may import which. `npm run check` enforces it; specs beside the code may look everywhere. */
const SRC = '^libs/tandem/src/';
const CORE = ['kernel', 'events', 'jobs', 'write', 'read', 'consistency'];
const ROOMS = {
  kernel: [],
  events: ['kernel'],
  jobs: ['kernel', 'events'],
  write: ['kernel', 'events', 'jobs'],
  read: ['kernel', 'events', 'jobs'],
  consistency: ['kernel', 'events', 'read'],
  telemetry: CORE,
  ops: [...CORE, 'telemetry'],
  testing: [...CORE, 'telemetry'],
  'adapters/typeorm': CORE,
  'adapters/bullmq': CORE,
  'adapters/embedded': [...CORE, 'adapters/typeorm', 'adapters/bullmq'],
};
const SPEC = '\\.(spec|bench)\\.ts$';
const DRIVERS = '(^|/)node_modules/(@types/)?(typeorm|mysql2|pg|bullmq|ioredis|@nestjs/typeorm|@electric-sql/[^/]+)/';
const DOORS = ['index\\.ts', 'adapters/(typeorm|bullmq|embedded)/index\\.ts', 'ops/index\\.ts', 'testing/index\\.ts'];
const STARTED_BY_HAND = [
  '^apps/[^/]+/src/(main|migrate|import|demo|demo/demo-engine)\\.ts$',
  '^libs/[^/]+/src/.*index\\.ts$',
  '^apps/[^/]+/src/index\\.ts$',
  SPEC,
  '\\.(config|d)\\.(c|m)?[jt]s$',
  '^test/',
  '^scripts/',
];

const only = (room, allowed) => ({
  name: `${room.replace('/', '-')}-imports`,
  comment: `${room} may import ${allowed.length ? allowed.join(', ') : 'nothing of ours'}.`,
  severity: 'error',
  from: { path: `${SRC}${room}/`, pathNot: SPEC },
  to: { path: SRC, pathNot: [room, ...allowed].map((name) => `${SRC}${name}/`) },
});

module.exports = {
  forbidden: [
    ...Object.entries(ROOMS).map(([room, allowed]) => only(room, allowed)),
    {
      name: 'front-door-imports',
      comment: 'index.ts and the module import core rooms and telemetry, never adapters: drivers stay optional.',
      severity: 'error',
      from: { path: `${SRC}[^/]+\\.ts$`, pathNot: SPEC },
      to: { path: SRC, pathNot: [...CORE, 'telemetry'].map((name) => `${SRC}${name}/`).concat(`${SRC}[^/]+\\.ts$`) },
    },
    {
      name: 'unknown-room',
      comment: 'A new room needs a row in the import table.',
      severity: 'error',
      from: { path: `${SRC}[^/]+/`, pathNot: Object.keys(ROOMS).map((room) => `${SRC}${room}/`) },
      to: {},
    },
    {
      name: 'drivers-only-in-adapters',
      comment: 'Drivers are optional peers of the library: only adapters import them.',
      severity: 'error',
      from: { path: SRC, pathNot: [`${SRC}adapters/`, SPEC] },
      to: { path: DRIVERS },
    },
    {
      name: 'entry-points-only',
      comment: 'The example and the consumer and e2e tests use the library as its users do.',
      severity: 'error',
      from: { path: '^(apps/|libs/shop/|test/(consumer|e2e)/)' },
      to: { path: '^libs/tandem/', pathNot: DOORS.map((door) => `${SRC}${door}$`) },
    },
    {
      name: 'shop-door-only',
      comment: 'Applications see the shop through its front door.',
      severity: 'error',
      from: { path: '^(apps/|test/(consumer|e2e)/)' },
      to: { path: '^libs/shop/src/', pathNot: '^libs/shop/src/index\\.ts$' },
    },
    {
      name: 'library-stands-alone',
      comment: 'The library knows neither the example nor the tests.',
      severity: 'error',
      from: { path: SRC, pathNot: SPEC },
      to: { path: '^(apps|test|libs/shop)/' },
    },
    {
      name: 'shop-knows-no-app',
      severity: 'error',
      from: { path: '^libs/shop/' },
      to: { path: '^apps/' },
    },
    {
      name: 'no-spec-imported',
      comment: 'Code does not depend on its tests.',
      severity: 'error',
      from: { pathNot: SPEC },
      to: { path: SPEC },
    },
    { name: 'no-circular', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'no-orphans',
      comment: 'A file that nothing imports is dead, unless it is started by hand.',
      severity: 'error',
      from: { orphan: true, pathNot: STARTED_BY_HAND },
      to: {},
    },
    { name: 'no-unresolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '(^|/)(dist|coverage|\\.data)/' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['tandem-source', 'types', 'import', 'require', 'node', 'default'] },
  },
};
