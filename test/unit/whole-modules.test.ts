/**
 * No program imports a module of Node as a whole. A bundle copies such an import property by property, for which Bun makes all
 * that node:process makes when first used: 3 to 5 ms at each start. Imports of names cost nothing, nor does the global `process`.
 */

import { readdirSync, readFileSync } from "node:fs";
import { expect, it } from "vitest";

const FOLDERS = ["agent", "backends", "cni-plugin", "ipam"];

it("imports names from modules of Node only", () => {
  const files = FOLDERS.flatMap((folder) =>
    readdirSync(folder, { recursive: true, encoding: "utf8" }).map((name) => `${folder}/${name}`),
  ).filter((name) => name.endsWith(".ts"));
  expect(files.length).toBeGreaterThan(100);
  const whole = files.filter((name) =>
    /^import (?!\{|type )[^;]* from "node:/m.test(readFileSync(name, "utf8")),
  );
  expect(whole).toEqual([]);
});
