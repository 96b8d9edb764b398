/** Addresses and members of podman's containers: each of their ends, in any order, leaves nothing. */

import { randomBytes } from "node:crypto";
import { setMaxListeners } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { Changes } from "../../../../agent/docker-driver/changes.ts";
import { Fields } from "../../../../agent/docker-driver/fields.ts";
import { netavarkMethods } from "../../../../agent/netavark/plugin-calls.ts";
import { PodmanContainers } from "../../../../agent/netavark/podman-containers.ts";
import type { SetupCall } from "../../../../agent/netavark/requests.ts";
import { segmentPortName } from "../../../../backends/segments/names.ts";
import { Address, entriesOf } from "../../../../ipam/addresses/ip.ts";
import { parseMac } from "../../../../ipam/addresses/mac.ts";
import { systemClock } from "../../../../ipam/clock.ts";
import { silentLogger } from "../../../../ipam/log.ts";
import { StoreAddressBook } from "../../../../ipam/named-networks/address-book.ts";
import { StoreCatalogue } from "../../../../ipam/named-networks/catalogue.ts";
import { StoreFeed } from "../../../../ipam/named-networks/feed.ts";
import type { HostId, NamedNetwork } from "../../../../ipam/named-networks/named-network.ts";
import { eventually } from "../../../support/docker-driver-lab.ts";
import { MemoryHolder, openMemoryStore } from "../../../support/stores/memory-store.ts";
import { testEnvironment } from "../../../support/stores/store-factory.ts";

const HOST = "1".repeat(32) as HostId;
const CONTAINER = "c".repeat(64);

let folder: string;
let stop: AbortController;
let running: Promise<unknown>;
let network: NamedNetwork;
let feed: StoreFeed;
let book: StoreAddressBook;
let podman: PodmanContainers;
/** Host's ends in the kernel. */
let ends: Set<string>;
let isSegmentBroken: boolean;
/** Until it resolves, no pair is removed. */
let removing: Promise<void>;

function open(): PodmanContainers {
  return new PodmanContainers({
    ...{ feed, book, host: HOST, stateDir: folder, clock: systemClock, logger: silentLogger },
    changes: new Changes(systemClock),
    pairs: {
      has: (port) => ends.has(port),
      remove: async (port) => {
        await removing;
        ends.delete(port);
      },
    },
    segments: () => ({
      ready: async () => {
        if (isSegmentBroken) throw new Error("no bridge");
        return { bridge: "tb-1000", mtuBytes: 1450 } as never;
      },
      ruled: async () => undefined,
    }),
  });
}

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "tulle-podman-"));
  const { records } = openMemoryStore(new MemoryHolder(systemClock), testEnvironment).network("/test");
  const common = { records, clock: systemClock, random: Math.random, logger: silentLogger, stateDir: folder };
  const record = { host: HOST, name: "host1", publicAddresses: {}, localPrefixes: [], version: "test" };
  feed = new StoreFeed({ ...common, host: record });
  book = new StoreAddressBook({
    ...common,
    self: { host: HOST, name: "host1" },
    isGone: async () => false,
    isLeaseHeld: () => true,
  });
  const catalogue = new StoreCatalogue({
    ...{ records, clock: systemClock, random: Math.random, randomBytes, dateMs: Date.now },
    reserved: async () => [],
    foreignVnis: () => new Map(),
  });
  stop = new AbortController();
  setMaxListeners(0, stop.signal);
  running = Promise.all([feed.run(stop.signal), book.run(stop.signal)]);
  const pool = { subnet: null, allocation: null, gateway: null, excluded: [] };
  const options = {
    vni: null,
    isInternal: false,
    hasBroadcast: false,
    mtuBytes: null,
    labels: {},
    options: {},
  };
  const request = { name: "blue", pools: { 4: pool, 6: pool }, ...options };
  ({ network } = await catalogue.create(request, stop.signal));
  await eventually(() => feed.view.networks.size === 1);
  [ends, isSegmentBroken, removing] = [new Set(), false, Promise.resolve()];
  podman = open();
});
afterEach(async () => {
  stop.abort();
  await running;
  rmSync(folder, { recursive: true, force: true });
});

const call = (more: Partial<SetupCall> = {}): SetupCall => ({
  ...{ network: "blue", container: CONTAINER, containerName: "Web", aliases: ["www"], interfaceName: "eth0" },
  ...{ wanted: {}, mac: null, outside: Address.parse("169.254.96.7"), ...more },
});
const setup = async (more: Partial<SetupCall> = {}, signal = stop.signal) => {
  const { member } = await podman.setup(call(more), signal);
  ends.add(segmentPortName(network.id, member.endpoint));
  return member;
};
const members = () => feed.view.members.get(network.id)?.get(HOST)?.members ?? [];
const isEmpty = () => members().length === 0 && book.given(network.id).length === 0 && podman.count === 0;

it("gives an address of each family, and tells names, aliases and the short id", async () => {
  const member = await setup();
  expect(entriesOf(member.addresses).map(([family]) => family)).toEqual([4, 6]);
  expect(members()).toEqual([member]);
  expect(member).toMatchObject({ engine: "netavark", names: ["web", "www", "c".repeat(12)] });
  expect(podman.clientOf(Address.parse("169.254.96.7"))).toEqual({ networks: [network.id] });
  expect(podman.clientOf(Address.parse("169.254.96.8"))).toBeNull();
});

it("answers for the container that has an address to the outside now, not for one that podman lost", async () => {
  const outside = Address.parse("169.254.96.7");
  await setup({ outside });
  await setup({ container: "d".repeat(64), interfaceName: "eth0", outside });
  expect(podman.clientOf(outside)).toEqual({ networks: [network.id] });
  await setup({ container: "d".repeat(64), interfaceName: "eth1", outside });
  expect(podman.clientOf(outside)).toEqual({ networks: [network.id, network.id] });
});

it("is gone after a teardown, which may be repeated or come without a setup", async () => {
  await setup();
  for (const container of [CONTAINER, CONTAINER, "d".repeat(64)])
    await podman.teardown({ container, interfaceName: "eth0" });
  expect(isEmpty()).toBe(true);
  expect(ends.size).toBe(0);
});

it("knows its containers after a restart, and not those that went meanwhile", async () => {
  const first = await setup();
  const second = await setup({ container: "d".repeat(64), containerName: "other" });
  expect(PodmanContainers.areKnown(folder, silentLogger)).toBe(true);
  ends.delete(segmentPortName(network.id, first.endpoint));
  podman = open();
  await podman.pass();
  expect(podman.count).toBe(2);
  await podman.pass();
  expect(members()).toEqual([second]);
  expect(book.given(network.id).map(String).sort()).toEqual(
    Object.values(second.addresses).map(String).sort(),
  );
});

it("frees the address of a setup that was killed before it had an endpoint", async () => {
  await book.take(network, 4, null, "podman.gone", stop.signal);
  await book.take(network, 4, null, "another-engine", stop.signal);
  await podman.pass();
  expect(book.given(network.id)).toHaveLength(2);
  await podman.pass();
  expect(book.given(network.id)).toHaveLength(1);
});

it("leaves nothing of a setup that fails: no bridge, a used address, a used MAC, an abort", async () => {
  isSegmentBroken = true;
  await expect(setup()).rejects.toThrow("no bridge");
  isSegmentBroken = false;
  await expect(setup({ network: "nope" })).rejects.toThrow(/no network "nope"/);
  const gateway = network.pools[6]?.gateway as Address;
  await expect(setup({ wanted: { 6: gateway } })).rejects.toThrow(/is the gateway/);
  await expect(setup({}, AbortSignal.abort())).rejects.toThrow();
  expect(isEmpty()).toBe(true);
  const member = await setup();
  await expect(setup({ container: "d".repeat(64), mac: member.mac })).rejects.toThrow(/belongs to web/);
  expect(members()).toEqual([member]);
  expect(book.given(network.id)).toHaveLength(2);
});

it("replaces what an unclean end of podman left of the same container", async () => {
  const member = await setup();
  const port = segmentPortName(network.id, member.endpoint);
  expect(await podman.setup(call(), stop.signal)).toMatchObject({ bridge: "tb-1000" });
  expect(ends.has(port)).toBe(false);
  expect(members()).toHaveLength(1);
  expect(book.given(network.id)).toHaveLength(2);
});

it("gives a container that is started again its own addresses, not those of a teardown under way", async () => {
  await setup();
  let finish = (): void => undefined;
  removing = new Promise((resolve) => {
    finish = resolve;
  });
  const tornDown = podman.teardown({ container: CONTAINER, interfaceName: "eth0" });
  const again = setup();
  finish();
  await tornDown;
  const member = await again;
  expect(book.given(network.id).map(String).sort()).toEqual(
    Object.values(member.addresses).map(String).sort(),
  );
  expect(members()).toEqual([member]);
});

it("serves a hundred containers at once, each with addresses of its own", async () => {
  const ids = Array.from({ length: 100 }, (_, index) => index.toString(16).padStart(64, "0"));
  const all = await Promise.all(
    ids.map((container, index) => setup({ container, containerName: `c${index}` })),
  );
  const given = all.flatMap(({ addresses }) => Object.values(addresses).map(String));
  expect(new Set(given).size).toBe(200);
  await Promise.all(ids.map((container) => podman.teardown({ container, interfaceName: "eth0" })));
  expect(isEmpty()).toBe(true);
});

it("keeps a container that runs although the file is lost, and drops one that does not", async () => {
  const live = await setup();
  const dead = await setup({ container: "d".repeat(64), containerName: "dead" });
  ends.delete(segmentPortName(network.id, dead.endpoint));
  rmSync(join(folder, "netavark-endpoints.json"));
  podman = open();
  await podman.pass();
  expect(members()).toEqual([live]);
  expect(podman.count).toBe(1);
  expect(book.given(network.id)).toHaveLength(2);
  await podman.teardown({ container: CONTAINER, interfaceName: "eth0" });
  expect(isEmpty()).toBe(true);
});

it("keeps the addresses of a setup under way, where the file is lost and the container had a member", async () => {
  for (let turns = 0; turns < 12; turns += 1) {
    const former = await setup();
    ends.delete(segmentPortName(network.id, former.endpoint));
    rmSync(join(folder, "netavark-endpoints.json"));
    podman = open();
    const again = setup();
    for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
    await podman.pass();
    const member = await again;
    expect(members(), `${turns} turns`).toEqual([member]);
    expect(book.given(network.id).map(String).sort(), `${turns} turns`).toEqual(
      Object.values(member.addresses).map(String).sort(),
    );
    await podman.teardown({ container: CONTAINER, interfaceName: "eth0" });
  }
});

it("starts without a damaged file", () => {
  for (const text of ["{", "[]", '{"endpoints":[{"network":"x"}]}', '{"endpoints":[1]}']) {
    writeFileSync(join(folder, "netavark-endpoints.json"), text);
    expect(open().count).toBe(0);
  }
});

it("rejects calls that are malformed, and names the field", async () => {
  const methods = netavarkMethods(async () => podman);
  const ask = async (method: string, fields: object) =>
    await methods[`Netavark.${method}`]?.(Fields.parse(JSON.stringify(fields)), stop.signal);
  const good = { Network: "blue", Container: CONTAINER, ContainerName: "web", Interface: "eth0" };
  for (const [bad, message] of [
    [{ Container: "../x" }, /Container/],
    [{ Interface: "" }, /Interface/],
    [{ Addresses: ["nonsense"] }, /nonsense/],
    [{ Addresses: "10.0.0.1" }, /Addresses/],
    [{ Aliases: [1] }, /Aliases\[0\]/],
    [{ Mac: "01:00:00:00:00:00" }, /Mac/],
    [{ Network: "a\u001b[31m" }, /network "a\\x1b/],
  ] as const)
    await expect(ask("Setup", { ...good, ...bad }), JSON.stringify(bad)).rejects.toThrow(message);
  expect(isEmpty()).toBe(true);
  expect(await ask("Setup", { ...good, Mac: parseMac("02:00:00:00:00:01") })).toMatchObject({
    ...{ Bridge: "tb-1000", Mac: "02:00:00:00:00:01", NameServers: ["169.254.53.53"] },
    Addresses: [expect.stringContaining("/24"), expect.stringContaining("/64")],
    OutsideFamilies: [4, 6],
  });
});

it("is removed while the disk is full, and that is recorded once there is room", async () => {
  const member = await setup();
  const file = join(folder, "netavark-endpoints.json");
  rmSync(file);
  mkdirSync(file);
  await podman.teardown({ container: CONTAINER, interfaceName: "eth0" });
  expect(ends.size).toBe(0);
  for (const [, address] of entriesOf(member.addresses))
    expect(book.endpointOf(network.id, address)).toBeNull();
  await expect(podman.pass()).rejects.toThrow();
  rmdirSync(file);
  await podman.pass();
  expect(JSON.parse(readFileSync(file, "utf8")).endpoints).toEqual([]);
});
