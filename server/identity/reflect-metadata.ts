/**
 * The three functions of the Reflect metadata proposal that the dependency container inside
 * `@peculiar/x509` calls while it loads; it refuses to load without them. Import before it.
 *
 * Metadata is kept per object and key, and looked up along the prototype chain where the proposal
 * says so. Nothing is replaced if a full implementation is loaded already.
 */
type Key = string | symbol

interface MetadataFunctions {
  defineMetadata(key: Key, value: unknown, target: object): void
  getOwnMetadata(key: Key, target: object): unknown
  getMetadata(key: Key, target: object): unknown
}

const known = new WeakMap<object, Map<Key, unknown>>()

const functions: MetadataFunctions = {
  defineMetadata(key, value, target) {
    let own = known.get(target)
    if (own === undefined) known.set(target, (own = new Map<Key, unknown>()))
    own.set(key, value)
  },
  getOwnMetadata: (key, target) => known.get(target)?.get(key),
  getMetadata(key, target) {
    for (
      let at: object | null = target;
      at !== null;
      at = Object.getPrototypeOf(at) as object | null
    ) {
      const own = known.get(at)
      if (own?.has(key) === true) return own.get(key)
    }
    return undefined
  },
}

if (!('getMetadata' in Reflect)) Object.assign(Reflect, functions)
