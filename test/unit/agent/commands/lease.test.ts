/** `tulle leases` and `tulle lease`. */

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { runCli, withoutStyles } from "../../../support/cli.ts";
import {
  addLease,
  directory,
  HOST,
  initNetwork,
  leaseValue,
  NODE_ID,
  signal,
  store,
  tulle,
  useStoreFolder,
} from "../../../support/store-cli.ts";

useStoreFolder();

describe("tulle leases and tulle lease check", () => {
  beforeEach(initNetwork);

  it("shows leases in the order of their subnets, and finds nothing wrong with them", async () => {
    await addLease("10.2.16.0-24", leaseValue(243));
    await addLease("10.2.9.0-24", leaseValue(242, { NodeID: NODE_ID }), Number.POSITIVE_INFINITY);
    await store().records.write(`hosts/${NODE_ID}`, JSON.stringify(HOST), null, signal);
    const { out } = await tulle("leases");
    expect(out.split("\n").map((line) => line.split(/ {2,}/))).toEqual([
      ["LEASE", "HOST", "ADDRESS", "BACKEND", "IDENTITY", "NODE", "KIND"],
      ["10.2.9.0-24", "node7", "192.168.1.242", "vxlan", "02:00:00:00:00:f2", "01234567", "reservation"],
      ["10.2.16.0-24", "-", "192.168.1.243", "vxlan", "02:00:00:00:00:f3", "-", "lease"],
      [""],
    ]);
    expect(await tulle("lease", "check")).toEqual({ code: 0, out: "2 leases, all in order\n", err: "" });
    const shown = (await tulle("lease", "show", "10.2.9.0-24")).out;
    expect(shown).toMatch(/^host +node7, tulle 0\.1\.0, kernel 6\.1\.0$/m);
    expect(JSON.parse((await tulle("lease", "show", "10.2.9.0-24", "--json")).out).host).toEqual(HOST);
  });

  it("shows one line about records of hosts that cannot be read", async () => {
    await addLease("10.2.9.0-24", leaseValue(242, { NodeID: NODE_ID }));
    await store().records.write(`hosts/${NODE_ID}`, '{"name":"<b>"}', null, signal);
    const { code, out } = await tulle("leases");
    expect({ code, problem: out.split("\n").find((line) => line.startsWith("! ")) }).toEqual({
      code: 0,
      problem: `! host record hosts/${NODE_ID} is ignored: name is "<b>"; delete it, its host writes it again`,
    });
  });

  it("colours the table on a terminal only, and not against NO_COLOR", async () => {
    await addLease("10.2.16.0-24", leaseValue(243));
    const args = ["leases", `--store=file:${directory}/store`];
    const plain = (await runCli(args)).out;
    const coloured = (await runCli(args, { isTty: true })).out;
    expect(coloured.startsWith("\x1b[1mLEASE ")).toBe(true);
    expect(withoutStyles(coloured)).toBe(plain);
    expect((await runCli(args, { isTty: true, environment: { NO_COLOR: "1" } })).out).toBe(plain);
  });

  it("answers programs in JSON", async () => {
    const { storeLeaseId, revision } = await addLease("10.2.16.0-24", leaseValue(243));
    expect(JSON.parse((await tulle("leases", "--json")).out)).toEqual([
      {
        key: "10.2.16.0-24",
        host: null,
        subnets: ["10.2.16.0/24"],
        publicAddresses: ["192.168.1.243"],
        backendType: "vxlan",
        backendData: [{ VNI: 1, VtepMAC: "02:00:00:00:00:f3" }],
        identities: ["02:00:00:00:00:f3"],
        nodeId: null,
        isReservation: false,
        isAwaited: false,
        storeLeaseId,
        revision: `${revision}`,
        createRevision: `${revision}`,
        problem: null,
      },
    ]);
  });

  it.each<[string, string, string, RegExp]>([
    ["a stray key", "not-a-subnet", leaseValue(9), /"not-a-subnet" is not a subnet/],
    ["a value that is not JSON", "10.2.9.0-24", "{", /10\.2\.9\.0-24.*not JSON/],
    ["a subnet outside the network", "10.3.9.0-24", leaseValue(9), /outside the network/],
    ["an overlap", "10.2.16.128-25", leaseValue(9), /overlaps lease 10\.2\.16\.0-24/],
    [
      "a public address that is taken",
      "10.2.9.0-24",
      leaseValue(243, { BackendData: { VtepMAC: "02:00:00:00:00:01" } }),
      /192\.168\.1\.243 is also that of lease 10\.2\.16\.0-24/,
    ],
    [
      "a hardware address that is taken",
      "10.2.9.0-24",
      leaseValue(9, { BackendData: { VtepMAC: "02:00:00:00:00:f3" } }),
      /02:00:00:00:00:f3 is also that of lease/,
    ],
    ["another backend", "10.2.9.0-24", leaseValue(9, { BackendType: "host-gw" }), /backend is "host-gw"/],
  ])("finds %s", async (_name, key, value, reason) => {
    await addLease("10.2.16.0-24", leaseValue(243));
    await addLease(key, value);
    const { code, out } = await tulle("lease", "check");
    expect(code).toBe(1);
    expect(out).toMatch(reason);
    expect(out).toMatch(/^2 leases, 1 wrong$/m);
    expect((await tulle("leases")).out).toMatch(/^! /m);
  });

  it("names the subnets of absent hosts without a warning", async () => {
    await addLease("10.2.16.0-24", leaseValue(243));
    for (const [key, host] of [
      ["10.2.16.0-24", 243],
      ["10.2.9.0-24", 9],
      ["10.77.1.0-24", 10],
    ] as const) {
      await store().records.write(`affinity/${key}`, leaseValue(host, { NodeID: NODE_ID }), null, signal);
    }
    const { code, out } = await tulle("lease", "check");
    expect(code).toBe(0);
    expect(out.split("\n")).toEqual([
      expect.stringMatching(`^affinity 10.2.9.0-24: node ${NODE_ID} at 192.168.1.9 has no lease any more`),
      expect.stringMatching(/^affinity 10\.77\.1\.0-24: .* no such subnet/),
      "1 lease, all in order",
      "",
    ]);
  });

  it("ignores the key of a folder", async () => {
    await addLease("10.2.16.0-24", leaseValue(243));
    await addLease("", "");
    await addLease("folder/", "");
    expect(await tulle("lease", "check")).toMatchObject({ code: 0, out: "1 lease, all in order\n" });
    expect(JSON.parse((await tulle("leases", "--json")).out)).toHaveLength(1);
  });

  it("finds on a member what its host alone can see", async () => {
    await writeFile(join(directory, "identity.json"), JSON.stringify({ nodeId: NODE_ID }));
    await addLease("10.2.16.0-24", leaseValue(243, { NodeID: NODE_ID }));
    await addLease("10.2.17.0-24", leaseValue(9, { PublicIP: "10.2.16.1" }));
    await addLease("10.2.18.0-24", leaseValue(8, { BackendData: { VtepMAC: "02:00:00:00:00:f3" } }));
    const { code, out } = await tulle("lease", "check", `--state-dir=${directory}`);
    expect(code).toBe(1);
    expect(out).toMatch(/10\.2\.17\.0-24: its public address 10\.2\.16\.1 lies in/);
    expect(out).toMatch(/10\.2\.18\.0-24: its hardware address 02:00:00:00:00:f3 is/);
    expect(out).toMatch(/^3 leases, 2 wrong$/m);
  });

  it("revokes a lease whose value is damaged", async () => {
    await addLease("10.2.16.0-24", "{");
    expect((await tulle("lease", "revoke", "10.2.16.0-24", "--yes")).code).toBe(0);
    expect((await store().feed.list(signal)).entries).toEqual([]);
  });

  it("finds a configuration that no daemon could use", async () => {
    const before = await store().config.read(signal);
    await store().config.write("{}", before, signal);
    await addLease("10.2.16.0-24", leaseValue(243));
    const { code, out } = await tulle("lease", "check");
    expect(code).toBe(1);
    expect(out).toContain("Network is missing");
  });
});

describe("tulle lease reserve, release, revoke and show", () => {
  beforeEach(initNetwork);

  it("reserves a subnet for a host that is yet to come, and gives it up again", async () => {
    const { out } = await tulle("lease", "reserve", "10.2.54.0/24", "--public-ip", "192.168.1.242");
    expect(out).toBe("reserved: 10.2.54.0-24\n");
    const [entry] = (await store().feed.list(signal)).entries;
    expect(entry).toMatchObject({ key: "10.2.54.0-24", storeLeaseId: null });
    expect(JSON.parse(entry?.value ?? "")).toEqual({
      PublicIP: "192.168.1.242",
      PublicIPv6: null,
      BackendType: "vxlan",
    });
    expect((await tulle("lease", "check")).out).toBe("1 lease, all in order\n");
    expect((await tulle("leases")).out).toContain("reserved, host not joined");
    expect((await tulle("lease", "release", "10.2.54.0/24")).out).toBe("deleted: 10.2.54.0-24\n");
    expect((await store().feed.list(signal)).entries).toEqual([]);
  });

  it("makes a lease in use a reservation and back, its value untouched", async () => {
    const { value } = await addLease("10.2.54.0-24", leaseValue(242));
    expect((await tulle("lease", "reserve", "10.2.54.0/24")).out).toBe("reserved: 10.2.54.0-24\n");
    expect((await store().feed.list(signal)).entries).toMatchObject([{ value, storeLeaseId: null }]);
    expect((await tulle("lease", "reserve", "10.2.54.0/24")).out).toBe("unchanged: 10.2.54.0-24\n");
    expect((await tulle("lease", "release", "192.168.1.242")).out).toBe("released: 10.2.54.0-24\n");
    const [entry] = (await store().feed.list(signal)).entries;
    expect(entry).toMatchObject({ value, storeLeaseId: expect.any(String) });
    expect((await tulle("lease", "release", "192.168.1.242")).out).toMatch(/^unchanged/);
  });

  it.each([
    [["10.2.54.0/25"], "none of the network's subnets"],
    [["10.2.0.0/24"], "none of the network's subnets"],
    [["fd00::/64"], "the network has no IPv6"],
    [["10.2.1.0/24", "10.2.2.0/24"], "one subnet for each family"],
    [["10.2.1.0/24"], "name the host to reserve it for with --public-ip"],
    [["10.2.1.0/24", "--public-ipv6", "2001:db8::7"], "by its IPv4 address: give --public-ip too"],
    [["10.2.1.0/24", "--public-ip", "fd00::1"], "not an IPv4 address"],
    [["10.2.1.0/24", "--public-ip", "192.168.1.243"], "has lease 10.2.16.0-24 already"],
    [["10.2.16.0/24", "--public-ip", "192.168.1.99"], "belongs to 192.168.1.243"],
  ])("does not reserve %j", async (args, message) => {
    await addLease("10.2.16.0-24", leaseValue(243));
    const { code, err } = await tulle("lease", "reserve", ...args);
    expect(code).toBe(1);
    expect(err).toContain(message);
    expect((await store().feed.list(signal)).entries).toHaveLength(1);
  });

  it("revokes only when told so twice", async () => {
    await addLease("10.2.16.0-24", leaseValue(243));
    const refused = await tulle("lease", "revoke", "10.2.16.0-24");
    expect(refused.code).toBe(1);
    expect(refused.err).toContain("would cut 192.168.1.243 off");
    expect((await tulle("lease", "revoke", "10.2.16.0-24", "--yes")).out).toContain("revoked: 10.2.16.0-24");
    expect((await store().feed.list(signal)).entries).toEqual([]);
  });

  it.each(["10.2.16.0-24", "10.2.16.0/24", "192.168.1.243", "10.2.16.77", NODE_ID, NODE_ID.slice(0, 8)])(
    "finds a lease by %s",
    async (text) => {
      await addLease("10.2.9.0-24", leaseValue(242));
      await addLease("10.2.16.0-24", leaseValue(243, { NodeID: NODE_ID }));
      const { out } = await tulle("lease", "show", text, "--json");
      expect(JSON.parse(out)).toMatchObject({ key: "10.2.16.0-24" });
      expect((await tulle("lease", "show", text)).out).toMatch(/^in use +yes$/m);
    },
  );

  it("does not guess", async () => {
    await addLease("10.2.9.0-24", leaseValue(243));
    await addLease("10.2.16.0-24", leaseValue(243));
    expect((await tulle("lease", "show", "10.2.77.1")).err).toContain("names no lease");
    expect((await tulle("lease", "show", "192.168.1.243")).err).toContain("10.2.9.0-24, 10.2.16.0-24");
  });
});
