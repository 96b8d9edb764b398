/** Files of the fast suites share their modules: a module that registers hooks when it is loaded does so for one file. */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";

const SUPPORT = join(import.meta.dirname, "../support");

it("no module of test/support registers hooks when it is loaded", () => {
  const modules = readdirSync(SUPPORT, { recursive: true, encoding: "utf8" }).filter((name) =>
    name.endsWith(".ts"),
  );
  expect(modules.length).toBeGreaterThan(100);
  const registers = (name: string): boolean =>
    /^(before|after)(Each|All)\(/m.test(readFileSync(join(SUPPORT, name), "utf8"));
  expect(modules.filter(registers)).toEqual([]);
});
