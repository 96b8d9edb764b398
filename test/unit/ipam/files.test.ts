/** Files and folders on a real file system, and on /proc, which refuses new ones. */

import { execFileSync } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  closeSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { makeFolder, removeBeginningWith, removeSocket } from "../../../ipam/files/folder.ts";
import { readFileStart, readForeignFile, readOwnFile, readRequiredFile } from "../../../ipam/files/read.ts";
import {
  createFileSync,
  openLockFile,
  replaceFile,
  replaceFileSync,
  replaceWithLink,
  writeNewFile,
  writeThrough,
} from "../../../ipam/files/write.ts";

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

const at = (name: string) => join(dir, name);
const FORM = { mode: 0o644 };
const durable = (prefix: string) => ({ prefix: at(prefix), isDurable: true });

const OBSTACLES: readonly (readonly [string, (path: string) => void])[] = [
  ["a FIFO", (path) => execFileSync("mkfifo", [path])],
  ["a directory", (path) => mkdirSync(path)],
  ["a symbolic link", (path) => symlinkSync(at("victim"), path)],
];

describe.each(OBSTACLES)("%s in the place of a file that tulle keeps", (kind, make) => {
  const conflict = expect.objectContaining({
    code: "TULLE_CONFLICT",
    message: expect.stringMatching(new RegExp(`/state is ${kind}, not a regular file: remove it`)),
  });

  beforeEach(() => {
    writeFileSync(at("victim"), "secret", { mode: 0o600 });
    make(at("state"));
  });

  it("is refused by the reader, by the writers and as a lock, and stays as it was", async () => {
    expect(() => readOwnFile(at("state"))).toThrow(conflict);
    expect(() => openLockFile(at("state"))).toThrow(conflict);
    expect(() => replaceFileSync(at("state"), "new", FORM, durable("new."))).toThrow(conflict);
    await expect(replaceFile(at("state"), "new", FORM)).rejects.toThrow(conflict);
    expect(readdirSync(dir).sort()).toEqual(["state", "victim"]);
    expect([readFileSync(at("victim"), "utf8"), modeOf(at("victim"))]).toEqual(["secret", 0o600]);
  });
});

it.each(OBSTACLES.slice(0, 2))("%s is refused behind an administrator's link too", (kind, make) => {
  make(at("target"));
  symlinkSync(at("target"), at("config"));
  for (const read of [readForeignFile, readRequiredFile, (path: string) => readFileStart(path, 4)])
    expect(() => read(at("config"))).toThrow(`${at("config")} is ${kind}, not a regular file`);
});

it("refuses devices, which may act when they are opened", () => {
  for (const read of [readOwnFile, readForeignFile])
    expect(() => read("/dev/null")).toThrow("/dev/null is a device, not a regular file");
});

describe("reading", () => {
  it("returns the text, and null for a missing file or a dangling link", () => {
    writeFileSync(at("state"), "text");
    symlinkSync(at("state"), at("link"));
    symlinkSync(at("none"), at("dangling"));
    expect([readOwnFile(at("state")), readOwnFile(at("none"))]).toEqual(["text", null]);
    expect([readForeignFile(at("link")), readForeignFile(at("dangling"))]).toEqual(["text", null]);
    expect(readFileStart(at("state"), 2).toString()).toBe("te");
    expect(() => readRequiredFile(at("none"))).toThrow(expect.objectContaining({ code: "ENOENT" }));
  });

  it("follows links of parent folders", () => {
    mkdirSync(at("real"));
    writeFileSync(at("real/state"), "text");
    symlinkSync(at("real"), at("alias"));
    expect(readOwnFile(at("alias/state"))).toBe("text");
  });

  it("takes as many bytes as allowed and not one more", () => {
    writeFileSync(at("state"), "x".repeat(10));
    expect(readOwnFile(at("state"), 10)).toHaveLength(10);
    expect(() => readOwnFile(at("state"), 9)).toThrow("has more than 9 bytes");
  });
});

describe("writing", () => {
  it("replaces the text, sets the mode whatever the umask is, and leaves nothing beside it", async () => {
    const before = process.umask(0o077);
    try {
      await replaceFile(at("state"), "one", { mode: 0o644 });
      await replaceFile(at("state"), "two", { mode: 0o664 });
    } finally {
      process.umask(before);
    }
    expect([readOwnFile(at("state")), modeOf(at("state"))]).toEqual(["two", 0o664]);
    expect(readdirSync(dir)).toEqual(["state"]);
  });

  it("changes only its own name when the file has two", async () => {
    writeFileSync(at("state"), "shared");
    linkSync(at("state"), at("other"));
    await replaceFile(at("state"), "new", FORM);
    expect(readFileSync(at("other"), "utf8")).toBe("shared");
  });

  it("removes what a killed writer left, and not what another one is writing", async () => {
    for (const name of [".state.new-old", ".state.new-young", ".other.new-old"]) writeFileSync(at(name), "");
    for (const name of [".state.new-old", ".other.new-old"]) utimesSync(at(name), 1, 1);
    await replaceFile(at("state"), "text", FORM);
    expect(readdirSync(dir).sort()).toEqual([".other.new-old", ".state.new-young", "state"]);
    removeBeginningWith(at(".state.new-"));
    expect(readdirSync(dir).sort()).toEqual([".other.new-old", "state"]);
  });

  it("never writes through a name that is there already", async () => {
    writeFileSync(at("victim"), "secret");
    symlinkSync(at("victim"), at("new"));
    await expect(writeNewFile(at("new"), "text", FORM)).rejects.toThrow(
      expect.objectContaining({ code: "EEXIST" }),
    );
    expect(createFileSync(at("new"), "text", FORM, at("tmp."))).toBe(false);
    expect(readFileSync(at("victim"), "utf8")).toBe("secret");
    expect(readdirSync(dir).sort()).toEqual(["new", "victim"]);
    expect(createFileSync(at("free"), "text", FORM, at("tmp."))).toBe(true);
    expect(readOwnFile(at("free"))).toBe("text");
  });

  it.skipIf(process.getuid?.() !== 0)("leaves no file whose name cannot be brought to the disk", () => {
    // Without the right to read it the folder cannot be opened for fsync(2).
    mkdirSync(at("blind"));
    chmodSync(dir, 0o755);
    chmodSync(at("blind"), 0o333);
    process.seteuid?.(65_534);
    try {
      const create = () => createFileSync(at("blind/10.5.72.2"), "text", FORM, at("blind/tmp."));
      expect(create).toThrow(expect.objectContaining({ code: "EACCES" }));
    } finally {
      process.seteuid?.(0);
    }
    expect(readdirSync(at("blind"))).toEqual([]);
  });

  it("fails when the folder is missing", async () => {
    await expect(replaceFile(at("none/state"), "text", FORM)).rejects.toThrow(
      expect.objectContaining({ code: "ENOENT" }),
    );
  });

  it("replaces a link or a file by a link, nothing else", async () => {
    writeFileSync(at("plugin"), "");
    await replaceWithLink(at("plugin"), "/one");
    await replaceWithLink(at("plugin"), "/two");
    mkdirSync(at("folder"));
    await expect(replaceWithLink(at("folder"), "/one")).rejects.toThrow("is a directory");
    expect(readdirSync(dir).sort()).toEqual(["folder", "plugin"]);
  });

  it("reports a FIFO that is given as output and has no reader", () => {
    execFileSync("mkfifo", [at("pipe")]);
    expect(() => writeThrough(at("pipe"), "text")).toThrow(expect.objectContaining({ code: "ENXIO" }));
  });
});

it("removes a socket that is left over, and nothing else", async () => {
  const server = createServer().listen(at("left"));
  await once(server, "listening");
  linkSync(at("left"), at("socket"));
  server.close();
  removeSocket(at("socket"));
  removeSocket(at("socket"));
  mkdirSync(at("socket"));
  expect(() => removeSocket(at("socket"))).toThrow(/socket is a directory, not a socket: remove it/);
});

it("opens an existing lock file and creates a missing one", () => {
  closeSync(openLockFile(at("lock")));
  chmodSync(at("lock"), 0o600);
  closeSync(openLockFile(at("lock")));
  expect(modeOf(at("lock"))).toBe(0o600);
});
