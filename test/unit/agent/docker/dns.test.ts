import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { hostResolvers } from "../../../../agent/docker/dns.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tulle-dns-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const write = (name: string, ...servers: string[]): string => {
  const path = join(folder, name);
  writeFileSync(path, servers.map((server) => `nameserver ${server}\n`).join(""));
  return path;
};

it("takes the resolvers that a container can reach", async () => {
  const stub = write("stub", "127.0.0.53");
  const real = write("real", "192.0.2.1", "2001:db8::1", "fe80::1%eth0");
  expect(await hostResolvers([stub, real])).toEqual(["192.0.2.1", "2001:db8::1"]);
  expect(await hostResolvers([join(folder, "missing"), stub])).toEqual([]);
  expect(await hostResolvers([write("own", "::1", "169.254.1.1", "192.0.2.4"), real])).toEqual(["192.0.2.4"]);
});
