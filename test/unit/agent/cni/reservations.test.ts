/** What becomes of reserved addresses whose containers have no device. */

import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { listReserved } from "../../../../agent/cni/reservations.ts";

let dir = "";
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "tulle-reservations-"));
  for (const folder of ["ipam/net", "state"]) mkdirSync(join(dir, folder), { recursive: true });
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

it("takes an address of podman's way outside for gone without its device, except while it is made", async () => {
  mkdirSync(join(dir, "ipam/tulle-outside"));
  const file = join(dir, "ipam/tulle-outside/169.254.96.2");
  const folders = { dataDir: join(dir, "ipam"), stateDir: join(dir, "state") };
  const use = async () => (await listReserved(folders)).map((entry) => entry.use);
  writeFileSync(file, "container\r\ntulle0");
  expect(await use()).toEqual(["used"]);
  const longAgo = Date.now() / 1000 - 3600;
  utimesSync(file, longAgo, longAgo);
  expect(await use()).toEqual(["gone"]);
});

it("takes no container for gone while its ADD may be at work", async () => {
  const file = join(dir, "ipam/net/10.5.72.2");
  const folders = { dataDir: join(dir, "ipam"), stateDir: join(dir, "state") };
  const use = async () => (await listReserved(folders)).map((entry) => entry.use);
  writeFileSync(join(dir, "state/net:starting:eth0"), "{}");
  writeFileSync(file, "starting\r\neth0");
  expect(await use()).toEqual(["used"]);
  const longAgo = Date.now() / 1000 - 3600;
  utimesSync(file, longAgo, longAgo);
  expect(await use()).toEqual(["gone"]);
});
