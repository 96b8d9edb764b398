/** Compares two moments of a folder of keys. Pure. */

type Revisions = ReadonlyMap<string, { readonly revision: bigint }>;

/** Keys whose revision differs between two moments: deleted ones first, then the written in order of revision. */
export function changedKeys(before: Revisions, after: Revisions): readonly string[] {
  const written = [...after]
    .filter(([key, item]) => before.get(key)?.revision !== item.revision)
    .sort(([, a], [, b]) => (a.revision < b.revision ? -1 : 1))
    .map(([key]) => key);
  const deleted = [...before.keys()].filter((key) => !after.has(key));
  return [...deleted, ...written];
}
