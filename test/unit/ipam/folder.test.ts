/** Folders on a real file system, and on /proc, which has no room for them. */

import { mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { makeFolder } from "../../../ipam/folder.ts";

let dir = "";
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "tulle-folder-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const modeOf = (path: string) => statSync(path).mode & 0o777;

it("makes a folder and what is missing above it, and leaves what is there", () => {
  makeFolder(join(dir, "a/b"), 0o700);
  expect([modeOf(join(dir, "a")), modeOf(join(dir, "a/b"))]).toEqual([0o700, 0o700]);
  makeFolder(join(dir, "a"), 0o755);
  expect(modeOf(join(dir, "a"))).toBe(0o700);
});

it("takes a link to a folder for one", () => {
  symlinkSync(dir, join(dir, "link"));
  makeFolder(join(dir, "link/a"), 0o755);
  expect(statSync(join(dir, "a")).isDirectory()).toBe(true);
});

it.each([
  ["a file", (path: string) => writeFileSync(path, ""), "EEXIST", "ENOTDIR"],
  ["a link that leads nowhere", (path: string) => symlinkSync("/nonexistent/x", path), "EEXIST", "EEXIST"],
])("refuses %s in the folder's place, and above it", (_, make, code, codeAbove) => {
  make(join(dir, "x"));
  expect(() => makeFolder(join(dir, "x"), 0o755)).toThrow(expect.objectContaining({ code }));
  expect(() => makeFolder(join(dir, "x/a"), 0o755)).toThrow(expect.objectContaining({ code: codeAbove }));
});

it("comes to an end where an existing folder answers that there is none", () => {
  expect(() => makeFolder("/proc/tulle/a", 0o755)).toThrow(expect.objectContaining({ code: "ENOENT" }));
});
