/** The identity file: created once, kept, set aside when it is damaged, renewed when it is another host's. */

import { mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { decodeIdentity, Identity, identityPath } from "../../../../agent/host/identity.ts";
import { isMulticastMac, parseMac } from "../../../../ipam/addresses/mac.ts";
import { recordingLogger } from "../../../support/lease-fixture.ts";

const MAC = parseMac("02:00:00:00:00:0a");
let stateDir: string;
let counter = 0;

beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), "tulle-identity-"));
});
afterEach(async () => {
  await rm(stateDir, { recursive: true });
});

function load(log = recordingLogger(), directory = stateDir): Promise<Identity> {
  const randomBytes = (count: number): Uint8Array => {
    counter += 1;
    return new Uint8Array(count).fill(counter);
  };
  return Identity.load({ stateDir: directory, randomBytes, log });
}

describe("an identity", () => {
  it("is made once, in a file that only root reads", async () => {
    const { nodeId } = await load(undefined, join(stateDir, "new"));
    expect(nodeId).toMatch(/^[0-9a-f]{32}$/);
    expect((await load(undefined, join(stateDir, "new"))).nodeId).toBe(nodeId);
    expect((await stat(identityPath(join(stateDir, "new")))).mode & 0o777).toBe(0o600);
  });

  it("keeps the hardware addresses that it was told", async () => {
    const first = await load();
    await first.setInterfaceMac(MAC);
    await first.setDeviceMac("flannel.1", MAC);
    const again = await load();
    expect([again.interfaceMac, again.deviceMac("flannel.1")]).toEqual([MAC, MAC]);
  });

  it("writes at the next call what could not be written", async () => {
    const first = await load();
    await rm(identityPath(stateDir));
    // A folder cannot be replaced by a file.
    await mkdir(identityPath(stateDir));
    await expect(first.setInterfaceMac(MAC)).rejects.toThrow();
    await rm(identityPath(stateDir), { recursive: true });
    await first.setInterfaceMac(MAC);
    expect((await load()).interfaceMac).toBe(MAC);
  });

  it("gives each device a unicast address of its own, the same at every start", async () => {
    const first = await load();
    const macs = ["flannel.1", "flannel.2", "flannel-v6.1"].map((device) => first.deviceMac(device));
    expect(new Set(macs).size).toBe(3);
    expect(macs.some(isMulticastMac)).toBe(false);
    expect((await load()).deviceMac("flannel.1")).toBe(macs[0]);
  });

  it("becomes another with other addresses, and discards the former ones", async () => {
    const identity = await load();
    const before = [identity.nodeId, identity.deviceMac("flannel.1")];
    await identity.setInterfaceMac(MAC);
    await identity.setDeviceMac("flannel.1", identity.deviceMac("flannel.1"));
    await identity.renew();
    const after = await load();
    expect(after.nodeId).toBe(identity.nodeId);
    expect(after.interfaceMac).toBe(MAC);
    expect([after.nodeId, after.deviceMac("flannel.1")]).not.toContain(before[0]);
    expect(after.deviceMac("flannel.1")).not.toBe(before[1]);
    expect(after.isDiscarded(parseMac(before[1] ?? ""))).toBe(true);
    expect(after.isDiscarded(after.deviceMac("flannel.1"))).toBe(false);
  });

  it("reads the discarded addresses under their former name", () => {
    const text = `{"nodeId":"${"0".repeat(32)}","forsakenMacs":["${MAC}"]}`;
    expect(decodeIdentity(text).discardedMacs).toEqual([MAC]);
  });

  it.each([
    ["a directory", (path: string) => mkdir(path)],
    ["a symbolic link", (path: string) => symlink("/etc/passwd", path)],
  ])("refuses %s in its place and leaves it there", async (kind, make) => {
    await make(identityPath(stateDir));
    await expect(load()).rejects.toMatchObject({
      code: "TULLE_CONFLICT",
      message: expect.stringContaining(`${identityPath(stateDir)} is ${kind}, not a regular file`),
    });
  });

  it("that is damaged is set aside, and logged", async () => {
    const { nodeId } = await load();
    const text = await readFile(identityPath(stateDir), "utf8");
    await writeFile(identityPath(stateDir), text.slice(0, 30));
    const log = recordingLogger();
    expect((await load(log)).nodeId).not.toBe(nodeId);
    expect(log.lines).toMatchObject([{ level: "warn", fields: { code: "TULLE_CODEC" } }]);
    expect(await readFile(`${identityPath(stateDir)}.broken`, "utf8")).toBe(text.slice(0, 30));
  });

  it("cut at any place is a CodecError", async () => {
    await load();
    const text = (await readFile(identityPath(stateDir), "utf8")).trimEnd();
    expect(decodeIdentity(text).nodeId).toMatch(/^[0-9a-f]{32}$/);
    for (let length = 0; length < text.length; length++) {
      expect(() => decodeIdentity(text.slice(0, length))).toThrow(
        expect.objectContaining({ code: "TULLE_CODEC" }),
      );
    }
  });

  it.each(['{"nodeId":"short"}', '{"nodeId":7}', "[]", "null"])("of %s is a CodecError", (text) => {
    expect(() => decodeIdentity(text)).toThrow(expect.objectContaining({ code: "TULLE_CODEC" }));
  });

  it("needs a directory: the error names it and the remedy", async () => {
    await mkdir(join(stateDir, "x"));
    await writeFile(join(stateDir, "x", "file"), "");
    await expect(load(undefined, join(stateDir, "x", "file"))).rejects.toMatchObject({
      code: "TULLE_CONFIG",
      message: expect.stringMatching(
        /state-dir .*file cannot be used: .*give a directory that can be written/,
      ),
    });
  });
});
