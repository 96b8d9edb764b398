/** The private key: made once, kept privately, taken over from flanneld, rejected by name when it is none. */

import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ProvisionContext } from "../../../backends/backend.ts";
import { type KeyPair, keyPairOf, makeKeyPair, parseKey } from "../../../backends/wireguard/key.ts";
import { provideKeyPair } from "../../../backends/wireguard/key-file.ts";
import { silentLogger } from "../../../ipam/log.ts";

/** Made by "wg genkey" and "wg pubkey" of wireguard-tools 1.0. */
const PAIR: KeyPair = {
  privateKey: "wMlmQPODgYneWO3hwijf0BOnCevQq4GkhPvJiXrJQVQ=",
  publicKey: "pA8Xze9OH+r2udNVQRPV+BLJlGLt7dKXNyMUDMdtAAM=",
};

describe("keys", () => {
  it("are those of wg", () => {
    expect(keyPairOf(PAIR.privateKey)).toEqual(PAIR);
  });

  it("are new each time, and in the form that wg reads", () => {
    const [one, two] = [makeKeyPair(), makeKeyPair()];
    expect(one.privateKey).not.toBe(two.privateKey);
    expect(parseKey(one.publicKey)).toBe(one.publicKey);
    expect(keyPairOf(one.privateKey)).toEqual(one);
  });

  it.each([
    "",
    "AAAA",
    "0".repeat(64),
    `${PAIR.publicKey}\n`,
    PAIR.publicKey.replace(/=$/, ""),
    `${PAIR.publicKey.slice(0, -2)}_=`,
    `${"A".repeat(43)}B`,
  ])("are nothing else: %j", (text) => {
    expect(parseKey(text)).toBeNull();
  });
});

describe("the key file", () => {
  let folder: string;
  let made: Map<string, Promise<unknown>>;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "tulle-key-"));
    made = new Map();
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const flanneld = () => join(folder, "wgkey");
  const context = (changes: Partial<ProvisionContext> = {}): ProvisionContext => ({
    stateDir: folder,
    network: null,
    keyFile: null,
    logger: silentLogger,
    once: <T>(key: string, make: () => Promise<T>) => {
      const known = made.get(key) ?? make();
      made.set(key, known);
      return known as Promise<T>;
    },
    ...changes,
  });
  const provide = (changes?: Partial<ProvisionContext>) => {
    made.clear();
    return provideKeyPair(context(changes), flanneld());
  };

  it("is made once, for its owner alone, and read from then on", async () => {
    const first = await provide();
    const file = join(folder, "wireguard.key");
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readFileSync(file, "utf8")).toBe(`${first.privateKey}\n`);
    expect(await provide()).toEqual(first);
    expect(await provideKeyPair(context(), flanneld())).toEqual(first);
  });

  it("of each network is another", async () => {
    const first = await provide();
    const blue = await provide({ network: "blue" });
    expect(blue).not.toEqual(first);
    expect(existsSync(join(folder, "wireguard-blue.key"))).toBe(true);
  });

  it("starts with flanneld's key where that is, and keeps it when flanneld's is gone or another", async () => {
    writeFileSync(flanneld(), PAIR.privateKey, { mode: 0o400 });
    expect(await provide({ network: "blue" })).not.toEqual(PAIR);
    expect(await provide()).toEqual(PAIR);
    writeFileSync(join(folder, "other"), makeKeyPair().privateKey);
    expect(await provide()).toEqual(PAIR);
    rmSync(flanneld());
    expect(await provide()).toEqual(PAIR);
  });

  it("ignores what flanneld left when it is no key", async () => {
    writeFileSync(flanneld(), "garbage");
    expect(parseKey((await provide()).privateKey)).not.toBeNull();
  });

  it("is the administrator's where one is named, made there when it is absent", async () => {
    const keyFile = join(folder, "mine");
    writeFileSync(keyFile, `  ${PAIR.privateKey}\n`);
    expect(await provide({ keyFile })).toEqual(PAIR);
    expect(existsSync(join(folder, "wireguard.key"))).toBe(false);
    const absent = join(folder, "absent");
    const pair = await provide({ keyFile: absent });
    expect(readFileSync(absent, "utf8").trim()).toBe(pair.privateKey);
  });

  it("that is none, is a folder or cannot be written is named, with a remedy, and its text is not", async () => {
    const keyFile = join(folder, "mine");
    writeFileSync(keyFile, "secret, but no key");
    await expect(provide({ keyFile })).rejects.toThrow(
      /mine holds no private key .* "wg genkey" prints it, or delete/,
    );
    await expect(provide({ keyFile })).rejects.not.toThrow(/secret/);
    mkdirSync(join(folder, "wireguard.key"));
    await expect(provide()).rejects.toThrow(/private key of WireGuard cannot be read: .*wireguard\.key/);
    await expect(provide({ keyFile: join(folder, "no/such/folder") })).rejects.toThrow(
      /private key of WireGuard cannot be written to .*; make its folder writable, or set WIREGUARD_KEY_FILE/,
    );
  });
});
