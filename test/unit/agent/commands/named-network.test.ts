/** `tulle network` and `tulle ps` over a store in a directory: what they print, refuse and leave behind. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Address, Prefix } from "../../../../ipam/addresses/ip.ts";
import { systemClock } from "../../../../ipam/clock.ts";
import { silentLogger } from "../../../../ipam/log.ts";
import { encodeHolder } from "../../../../ipam/named-networks/address-records.ts";
import { encodeHost, encodeMembers } from "../../../../ipam/named-networks/member-codec.ts";
import type { NamedNetwork, NetworkId } from "../../../../ipam/named-networks/named-network.ts";
import {
  addressRecord,
  CATALOGUE_RECORD,
  hostRecord,
  membersRecord,
} from "../../../../ipam/named-networks/record-names.ts";
import { recordRestoration } from "../../../../ipam/named-networks/restorations.ts";
import type { NetworkStore } from "../../../../ipam/stores/contracts.ts";
import { openFileStore } from "../../../../ipam/stores/file/store.ts";
import { runCli } from "../../../support/cli.ts";
import { catalogueOver, hostId, hostRecordOf, memberOf } from "../../../support/named-networks/lab.ts";

const signal = AbortSignal.timeout(60_000);
const directory = mkdtempSync(join(tmpdir(), "tulle-network-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const FLAG = `--store=file:${directory}`;
const tulle = (...args: string[]) => runCli([...args, FLAG]);
const open = (): NetworkStore =>
  openFileStore(directory, {
    log: silentLogger,
    clock: systemClock,
    random: Math.random,
    dateMs: Date.now,
  }).network("/coreos.com/network");

async function required<T>(value: Promise<T | null>): Promise<T> {
  const found = await value;
  if (found === null) throw new TypeError("it is absent");
  return found;
}

async function find(name: string): Promise<NamedNetwork> {
  const found = (await catalogueOver(open().records).list(signal)).find((network) => network.name === name);
  if (found === undefined) throw new TypeError(`there is no network ${name}`);
  return found;
}

beforeAll(async () => {
  const { config, records } = open();
  await config.write('{"Network":"10.2.0.0/16","Backend":{"Type":"vxlan","VNI":4100}}', null, signal);
  const record = hostRecordOf(1, { localPrefixes: [Prefix.parse("192.168.50.0/24")] });
  await records.write(hostRecord(hostId(1)), encodeHost(record), null, signal);
});

describe("tulle network create", () => {
  it("creates a network once, and leaves an equal one alone", async () => {
    const first = await tulle("network", "create", "blue", "--subnet", "10.9.8.0/24", "--label", "a=b");
    expect(first).toMatchObject({ code: 0, out: "created: blue, VNI 4096, 10.9.8.0/24\n", err: "" });
    const again = await tulle("network", "create", "blue");
    expect(again).toMatchObject({ code: 0, out: "unchanged: blue, VNI 4096, 10.9.8.0/24\n" });
    expect((await find("blue")).labels).toEqual({ a: "b" });
    expect((await tulle("network", "create", "both", "--ipv6")).out).toMatch(
      /^created: both, VNI 4097, 10\.128\.0\.0\/24, fd[0-9a-f:]+::\/64\n$/,
    );
  });

  it.each([
    [["net", "--subnet", "10.9.8.128/25"], /10\.9\.8\.128\/25 overlaps 10\.9\.8\.0\/24 \(network blue\)/],
    [["net", "--subnet", "10.0.0.0/8"], /overlaps 10\.9\.8\.0\/24 \(network blue\)/],
    [["net", "--subnet", "10.2.3.0/24"], /overlaps 10\.2\.0\.0\/16 \(the overlay network\)/],
    [["net", "--subnet", "192.168.50.128/25"], /192\.168\.50\.0\/24 \(on a link of host host1\)/],
    [["net", "--vni", "4096"], /VNI 4096 is in use by network blue/],
    [["net", "--vni", "4100"], /VNI 4100 is in use by device flannel\.4100/],
    [["net", "--vni", "7"], /VNI 7 is outside 4096 to 16777215/],
    [["blue", "--vni", "5000"], /blue exists with VNI 4096, not 5000/],
    [["blue", "--internal"], /blue exists with a way outside/],
    [["odd name"], /"odd name" cannot name a network/],
    [["-"], /cannot name a network/],
    [["net", "--subnet", "x"], /--subnet "x" is not a range/],
    [["net", "--gateway", "10.9.7.1"], /needs a subnet/],
    [["net", "--subnet", "10.9.7.0/24", "--gateway", "10.9.6.1"], /gateway 10\.9\.6\.1 is not inside/],
    [["net", "--subnet", "10.9.7.0/24", "--ip-range", "10.9.6.0/25"], /range 10\.9\.6\.0\/25 is not inside/],
    [["net", "--subnet", "224.1.0.0/16"], /not for hosts/],
    [["net", "--no-ipv4"], /needs IPv4 or IPv6/],
    [["net", "--no-ipv4", "--subnet", "10.9.7.0/24"], /without IPv4/],
    [["net", "--mtu", "100"], /MTU 100 is outside 576/],
    [["net", "--ipv6", "--mtu", "1000"], /MTU 1000 is outside 1280/],
    [["net", "--label", "=x"], /--label "=x" has no key/],
  ])("refuses %j", async (args, message) => {
    const answer = await tulle("network", "create", ...args);
    expect(answer.code).not.toBe(0);
    expect(answer.err).toMatch(message);
    expect(answer.out).toBe("");
  });
});

describe("tulle network and ps", () => {
  beforeAll(async () => {
    const { records } = open();
    const blue = await find("blue");
    const [used, spare, gone] = ["10.9.8.2", "10.9.8.3", "10.9.8.4"].map(Address.parse) as [
      Address,
      Address,
      Address,
    ];
    const here = encodeHolder({ host: hostId(1), name: "host1" });
    const away = encodeHolder({ host: hostId(2), name: "host2" });
    await records.write(addressRecord(blue.id, used), here, null, signal);
    await records.write(addressRecord(blue.id, spare), here, null, signal);
    await records.write(addressRecord(blue.id, gone), away, null, signal);
    const member = memberOf("bbox1", { 4: used });
    await records.write(membersRecord(blue.id, hostId(1)), encodeMembers([member]), null, signal);
    const lost = memberOf("bbox2", { 4: gone });
    await records.write(membersRecord(blue.id, hostId(2)), encodeMembers([lost]), null, signal);
    await recordRestoration(
      records,
      {
        network: blue.id,
        host: hostId(3),
        hostName: "host3",
        usedBy: "container bbox1 on host host1",
        atSeconds: 1_699_999_940,
      },
      signal,
    );
  });

  it("shows networks, containers and addresses", async () => {
    const { out } = await tulle("network", "ls");
    expect(out).toMatch(/^NAME +ID +VNI +SUBNETS +HOSTS +CONTAINERS +OPTIONS\n/);
    expect(out).toMatch(/^blue +[0-9a-f]{12} +4096 +10\.9\.8\.0\/24 +2 +2 +-$/m);
    expect(out).toContain(
      "network blue: removed on host host3 1 min ago and put back, because container bbox1",
    );
    const [blue] = JSON.parse((await tulle("network", "ls", "--json")).out);
    expect(blue).toMatchObject({ name: "blue", vni: 4096, hosts: 2, pools: [{ gateway: "10.9.8.1" }] });
    expect((await tulle("network", "inspect", "blue")).out).toMatch(/IPv4 gateway +10\.9\.8\.1/);
    const ps = await tulle("ps");
    expect(ps.out).toMatch(/^bbox1 +blue +10\.9\.8\.2 +host1 +[0-9a-f:]{17} +docker +c-bbox1$/m);
    expect(ps.out).toMatch(/^bbox2 +blue +10\.9\.8\.4 +[0-9a-f]{32} \(away\)/m);
    expect(JSON.parse((await tulle("ps", "--json", "--host", "host1")).out)).toMatchObject([
      { container: "c-bbox1", addresses: ["10.9.8.2"], network: "blue", hostName: "host1", isHostHere: true },
    ]);
    const list = await tulle("network", "ipam", "list", "blue");
    expect(list.out).toMatch(/^10\.9\.8\.2 +blue +host1 +used +bbox1$/m);
    expect(list.out).toMatch(/^10\.9\.8\.3 +blue +host1 +reserve +-$/m);
  });

  it("does not remove a network with containers", async () => {
    const answer = await tulle("network", "rm", "blue");
    expect(answer).toMatchObject({ code: 1, out: "" });
    expect(answer.err).toMatch(/network blue is in use by container bbox1 on host host1/);
    expect((await tulle("network", "rm", "nope")).err).toMatch(/"nope" names no network/);
  });

  it("finds and releases the addresses of a host that is gone, and only those", async () => {
    const check = await tulle("network", "ipam", "check");
    expect(check.code).toBe(1);
    expect(check.out).toMatch(/network blue: 10\.9\.8\.4: its host host2 is gone/);
    expect((await tulle("network", "ipam", "release", "blue", "10.9.8.3")).err).toMatch(/host1, which is up/);
    expect((await tulle("network", "ipam", "release", "--host", "host1")).err).toMatch(/host host1 is up/);
    expect((await tulle("network", "ipam", "release", "--host", "host9")).err).toMatch(/names no host/);
    expect((await tulle("network", "ipam", "release", "blue")).err).toMatch(
      /either a network and an address/,
    );
    const released = await tulle("network", "ipam", "release", "--host", "host2");
    expect(released).toMatchObject({ code: 0, out: `released: 1 address of host ${hostId(2)}\n` });
    expect(await tulle("network", "ipam", "check")).toMatchObject({
      code: 0,
      out: "2 addresses, all in order\n",
    });
  });

  it("releases an address of a network that does not exist, also of a host that is up", async () => {
    const { records } = open();
    const [absent, damaged] = ["a".repeat(32), "b".repeat(32)] as [NetworkId, NetworkId];
    const here = encodeHolder({ host: hostId(1), name: "host1" });
    const address = Address.parse("10.9.7.2");
    await records.write(addressRecord(absent, address), here, null, signal);
    await records.write(addressRecord(damaged, address), here, null, signal);
    const entry = await records.read(CATALOGUE_RECORD, signal);
    const root = JSON.parse(entry?.value ?? "");
    const networks = [...root.networks, { id: damaged, name: "torn" }];
    await records.write(CATALOGUE_RECORD, JSON.stringify({ ...root, networks }), entry, signal);
    const check = await tulle("network", "ipam", "check");
    const advice = `tulle network ipam release ${absent} 10.9.7.2`;
    expect(check.out).toContain(`${absent}: 10.9.7.2: its network does not exist; run "${advice}"\n`);
    expect(check.out).toContain(`${damaged}: 10.9.7.2: its network cannot be read in the store`);
    expect((await tulle("network", "ipam", "release", damaged, "10.9.7.2")).err).toMatch(/names no network/);
    expect(await tulle(...advice.split(" ").slice(1))).toMatchObject({
      code: 0,
      out: `released: 10.9.7.2 of ${absent}\n`,
    });
    expect((await tulle("network", "ipam", "check")).out).not.toContain("does not exist");
    await tulle("network", "rm", "torn");
    await records.remove(await required(records.read(addressRecord(damaged, address), signal)), signal);
  });

  it("removes unused networks, and damaged ones by name", async () => {
    const { records } = open();
    const entry = await records.read(CATALOGUE_RECORD, signal);
    const root = JSON.parse(entry?.value ?? "");
    root.networks.push({ name: "broken", vni: "x" });
    await records.write(CATALOGUE_RECORD, JSON.stringify(root), entry, signal);
    expect((await tulle("network", "ls")).out).toMatch(/the damaged network broken: pools is absent/);
    expect(await tulle("network", "rm", "both", "broken")).toMatchObject({
      code: 0,
      out: "removed: both\nremoved the damaged network: broken\n",
    });
    expect((await tulle("network", "ls", "--json")).out).not.toContain("broken");
  });
});
