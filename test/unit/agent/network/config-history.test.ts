import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { ConfigHistory } from "../../../../agent/network/config-history.ts";
import { network, recordingLogger, subnets } from "../../../support/lease-fixture.ts";

let stateDir: string;
beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), "tulle-history-"));
});
afterEach(async () => {
  await rm(stateDir, { recursive: true });
});

const history = (log = recordingLogger()) => new ConfigHistory({ stateDir, name: null }, log);
const config = (type: string, options = {}, Network = "10.2.0.0/16") =>
  network(JSON.stringify({ Network, Backend: { Type: type, ...options } }));
const enter = async (...args: Parameters<typeof config>) =>
  (await history().enter(config(...args))).map(({ backend }) => [backend.type, backend.options]);

it("answers the former backends over restarts, the last one first, until they are forgotten", async () => {
  expect(await enter("vxlan")).toEqual([]);
  expect(await enter("vxlan")).toEqual([]);
  expect(await enter("host-gw")).toEqual([["vxlan", {}]]);
  expect(await enter("host-gw")).toEqual([["vxlan", {}]]);
  expect(await enter("udp")).toEqual([
    ["host-gw", {}],
    ["vxlan", {}],
  ]);
  expect((await enter("ipip")).map(([type]) => type)).toEqual(["udp", "host-gw"]);
  await history().forgetFormers(config("ipip"));
  expect(await enter("ipip")).toEqual([]);
});

it("goes back to a former one, which is then the present one only", async () => {
  for (const type of ["vxlan", "host-gw"]) await enter(type);
  expect(await enter("vxlan")).toEqual([["host-gw", {}]]);
});

it("takes a change that needs a restart for another backend, and none that is made under traffic", async () => {
  await enter("vxlan");
  expect(await enter("vxlan", { DirectRouting: true })).toEqual([]);
  expect(await enter("vxlan", { VNI: 7 })).toEqual([["vxlan", { DirectRouting: true }]]);
});

it("has no former backend in a network of another range", async () => {
  await enter("vxlan");
  expect(await enter("host-gw", {}, "10.5.0.0/16")).toEqual([]);
});

it("has the configuration before, where only families differ and the lease fits it", async () => {
  const ipv6 = { EnableIPv6: true, IPv6Network: "fd00:2::/48" };
  const both = (Network: string) => network(JSON.stringify({ Network, ...ipv6, Backend: { Type: "vxlan" } }));
  const lease = { subnets: subnets("10.2.5.0-24") };
  expect(history().beforeFamiliesOf(both("10.2.0.0/16"), lease)).toBeNull();
  await enter("vxlan");
  expect(history().beforeFamiliesOf(both("10.2.0.0/16"), lease)?.text).toBe(config("vxlan").text);
  expect(history().beforeFamiliesOf(config("vxlan"), lease)).toBeNull();
  expect(history().beforeFamiliesOf(both("10.5.0.0/16"), lease)).toBeNull();
  expect(history().beforeFamiliesOf(both("10.2.0.0/16"), null)).toBeNull();
  const elsewhere = { subnets: subnets("10.5.5.0-24") };
  expect(history().beforeFamiliesOf(both("10.2.0.0/16"), elsewhere)).toBeNull();
});

it("keeps the record from other users, and ignores a damaged one", async () => {
  await enter("vxlan");
  const path = join(stateDir, "backend.json");
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect(JSON.parse(await readFile(path, "utf8"))).toEqual({ configs: [config("vxlan").text] });
  await writeFile(path, '{"configs":["nonsense"]}');
  const log = recordingLogger();
  expect(await history(log).enter(config("host-gw"))).toEqual([]);
  expect(log.lines.map(({ message }) => message)).toEqual(["record of the network's backends is ignored"]);
});
