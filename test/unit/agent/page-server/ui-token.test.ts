/** The token of the page, from a file. */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { readUiToken } from "../../../../agent/page-server/ui-token.ts";
import { ConfigError } from "../../../../ipam/errors.ts";

const folder = mkdtempSync(join(tmpdir(), "tulle-token-"));
afterAll(() => rmSync(folder, { recursive: true }));

const withText = (text: string): string => {
  const path = join(folder, "token");
  writeFileSync(path, text);
  return readUiToken(path);
};

it("is the file without blanks around", () => {
  expect(withText("  0123456789abcdef\n")).toBe("0123456789abcdef");
});

it.each(["", "short", "0123456789 abcdef", "0123456789abcdé0", "x".repeat(513)])("is not %j", (text) => {
  expect(() => withText(text)).toThrow(ConfigError);
});

it("does not show what the file holds when it is wrong", () => {
  expect(() => withText("secret but short")).toThrow(/^(?!.*secret but short).*openssl rand/);
});

it("must be readable", () => {
  expect(() => readUiToken(join(folder, "absent"))).toThrow(/ui-token-file .*absent cannot be read/);
});
