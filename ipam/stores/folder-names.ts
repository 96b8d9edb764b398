/** Names of the keys in a folder. Pure. */

import type { EntryChange, StoreEntry } from "./contracts.ts";

/** The entry under its name in `folder`, to which its whole key must belong. */
export function named<E extends StoreEntry | null>(entry: E, folder: string): E {
  return entry && { ...entry, key: entry.key.slice(folder.length) };
}

/** The entries of `folder` by their names there, without folder keys. */
export function namedEntries(entries: readonly StoreEntry[], folder: string): StoreEntry[] {
  return entries.flatMap((entry) =>
    isFolderKey(entry) || !entry.key.startsWith(folder) ? [] : [named(entry, folder)],
  );
}

/** A change in `folder` by the names there. A key that becomes a folder key counts as deleted. */
export function namedChange(change: EntryChange, folder: string): EntryChange {
  if (change.type === "delete") return { ...change, key: change.key.slice(folder.length) };
  const entry = named(change.entry, folder);
  return isFolderKey(change.entry)
    ? { type: "delete", key: entry.key, revision: entry.revision }
    : { type: "put", entry };
}

/** Stores have no folders; Consul's user interface, among others, creates a key in place of an empty one. */
function isFolderKey({ key, value }: StoreEntry): boolean {
  return value === "" && key.endsWith("/");
}
