/** A `#private` member that is not only called: a field. What a compiler has turned into a WeakMap shows in nothing. */
const PRIVATE_FIELD = /#[\p{ID_Start}$_][\p{ID_Continue}$]*(?![\p{ID_Continue}$]|\s*\()/u;

const known = new WeakMap<object, boolean>();

/**
 * Whether an instance may differ from another one in what nobody outside can see, so that a key of its properties would be the
 * key of both: a class with private fields, or one that takes parameters and keeps no property.
 */
export function hasUnseenState(instance: object): boolean {
  const classes = classesOf(instance);
  return classes.some(hasPrivateField) || (Object.keys(instance).length === 0 && classes.some(({ length }) => length > 0));
}

function classesOf(instance: object): (() => unknown)[] {
  const classes: (() => unknown)[] = [];
  for (
    let prototype = Object.getPrototypeOf(instance) as object | null;
    prototype && prototype !== Object.prototype;
    prototype = Object.getPrototypeOf(prototype) as object | null
  ) {
    if (Object.hasOwn(prototype, 'constructor') && typeof prototype.constructor === 'function') classes.push(prototype.constructor as () => unknown);
  }
  return classes;
}

function hasPrivateField(type: () => unknown): boolean {
  let found = known.get(type);
  if (found === undefined) known.set(type, (found = PRIVATE_FIELD.test(Function.prototype.toString.call(type))));
  return found;
}
