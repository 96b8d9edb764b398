/** Names of keys in a folder, and folder keys, which are none. */

import { describe, expect, it } from "vitest";
import type { StoreEntry } from "../../../../ipam/stores/contracts.ts";
import { namedChange, namedEntries } from "../../../../ipam/stores/folder-names.ts";

const FOLDER = "/net/subnets/";
const entry = (key: string, value = "x"): StoreEntry => ({
  key,
  value,
  revision: 7n,
  createRevision: 7n,
  storeLeaseId: null,
});

describe("names in a folder", () => {
  it("leave out folder keys and keys of other folders", () => {
    const keys = [FOLDER, `${FOLDER}deep/`].map((key) => entry(key, ""));
    const entries = [...keys, entry(`${FOLDER}a`), entry(`${FOLDER}stray/`), entry("/net/config")];
    expect(namedEntries(entries, FOLDER).map(({ key }) => key)).toEqual(["a", "stray/"]);
  });

  it("keep a key without a value that is not a folder's", () => {
    expect(namedEntries([entry(`${FOLDER}a`, "")], FOLDER)).toEqual([entry("a", "")]);
  });

  it("report a key that became a folder key as deleted", () => {
    expect(namedChange({ type: "put", entry: entry(`${FOLDER}a/`, "") }, FOLDER)).toEqual({
      type: "delete",
      key: "a/",
      revision: 7n,
    });
    expect(namedChange({ type: "put", entry: entry(`${FOLDER}a`) }, FOLDER)).toEqual({
      type: "put",
      entry: entry("a"),
    });
    const deletion = { type: "delete", key: `${FOLDER}a`, revision: 8n } as const;
    expect(namedChange(deletion, FOLDER)).toEqual({ ...deletion, key: "a" });
  });
});
