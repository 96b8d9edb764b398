/**
 * No program imports node:process as a whole. A bundle copies what such an import has, property by property, for which Bun makes
 * all that process makes when first used: 3 to 5 ms at each start. The global `process` and imports of names cost nothing.
 */

import { readdirSync, readFileSync } from "node:fs";
import { expect, it } from "vitest";

const FOLDERS = ["agent", "backends", "cni-plugin", "ipam"];

it("imports names from node:process only", () => {
  const files = FOLDERS.flatMap((folder) =>
    readdirSync(folder, { recursive: true, encoding: "utf8" }).map((name) => `${folder}/${name}`),
  ).filter((name) => name.endsWith(".ts"));
  expect(files.length).toBeGreaterThan(100);
  const whole = files.filter((name) =>
    /^import (?!\{|type )[^;]* from "(node:)?process";/m.test(readFileSync(name, "utf8")),
  );
  expect(whole).toEqual([]);
});
