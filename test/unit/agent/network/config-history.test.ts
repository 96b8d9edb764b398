import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { ConfigHistory } from "../../../../agent/network/config-history.ts";
import { network, recordingLogger } from "../../../support/lease-fixture.ts";

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
