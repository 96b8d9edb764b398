import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { COMMANDS } from "../../../agent/commands/registry.ts";

it("docs/cli.md has a section for every command, in the order of the help", () => {
  const text = readFileSync(new URL("../../../docs/cli.md", import.meta.url), "utf8");
  const sections = [...text.matchAll(/^## tulle (\S+)$/gm)].map(([, name]) => name);
  expect(sections).toEqual(COMMANDS.map(({ name }) => name));
});
