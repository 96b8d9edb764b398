/** What WireGuard wants from the kernel, and which leases, options and keys it rejects. */

import { describe, expect, it } from "vitest";
import { isRecordedDevice, isTunnelType, kernelNeedsOf } from "../../../backends/registry.ts";
import type { LinkObject } from "../../../backends/state/kinds/link.ts";
import type { KernelObject } from "../../../backends/state/kinds/registry.ts";
import { outerAddress } from "../../../backends/wireguard/endpoint.ts";
import { wireguardBackend } from "../../../backends/wireguard.ts";
import { Address, type PerFamily, Prefix } from "../../../ipam/addresses/ip.ts";
import { parseNetworkConfig } from "../../../ipam/config/network-config-parser.ts";
import type { JsonObject, JsonValue } from "../../../ipam/json.ts";
import type { Lease } from "../../../ipam/leases/lease.ts";
import { hostFacts, OWN, peer as vxlanPeer } from "../../support/vxlan-fixture.ts";
import {
  BOTH,
  dualPeer,
  KEYS,
  lines,
  OTHER_KEY,
  OWN_BOTH,
  PEER_KEY,
  PSK,
  peer,
  prepare,
} from "../../support/wireguard-fixture.ts";

describe("wireguard backend", () => {
  it("wants device, key, port, address and one route for this host", async () => {
    const backend = await prepare();
    expect(lines(backend.planBase(OWN))).toEqual([
      "link flannel-wg type wireguard mtu 1420 up wireguard",
      `wireguard flannel-wg public-key ${KEYS.publicKey} listen-port 51820`,
      "sysctl net/ipv4/conf/flannel-wg/forwarding=1",
      "address 10.2.1.0/32 dev flannel-wg",
      "route 10.2.0.0/16 dev flannel-wg proto 116",
      "route blackhole 10.2.0.0/16 proto 116 metric 4294967295",
    ]);
    expect(backend).toMatchObject({
      mtuBytes: 1420,
      leaseType: "wireguard",
      leaseData: { 4: { PublicKey: KEYS.publicKey, Port: 51820 } },
      tunnels: { 4: { port: 51820, device: "flannel-wg", isAuthenticated: true } },
      entrances: { 4: ["flannel-wg"] },
    });
  });

  it("never shows a private or preshared key", async () => {
    const backend = await prepare({ PSK });
    const text = lines([...backend.planBase(OWN), ...backend.planPeer(peer(), false)]).join("\n");
    expect(text).not.toContain(KEYS.privateKey);
    expect(text).not.toContain(PSK);
    expect(JSON.stringify(backend.leaseData)).not.toContain(KEYS.privateKey);
  });

  it("routes to a peer outside the network's range, as while the network moves, and never in the clear", async () => {
    const elsewhere = { ...peer(), subnets: { 4: Prefix.parse("10.9.4.0/24") } };
    expect(lines((await prepare()).planPeer(elsewhere, false)).slice(1)).toEqual([
      "route 10.9.4.0/24 dev flannel-wg proto 116",
      "route blackhole 10.9.4.0/24 proto 116 metric 4294967295",
    ]);
  });

  it("calls data that no host can have published damaged, but neither another backend's nor a reservation", async () => {
    const backend = await prepare();
    const damageOf = (lease: Lease) => backend.damageOf?.(lease) ?? null;
    expect(damageOf(peer())).toBeNull();
    expect(damageOf(peer({ PublicKey: "short" }))).toMatch(/holds no PublicKey/);
    expect(damageOf(peer({ PublicKey: PEER_KEY, Port: 70_000 }))).toMatch(/a Port that is not a UDP port/);
    expect(damageOf(peer(null, { backendData: {} }))).toMatch(/BackendData null holds no PublicKey/);
    expect(damageOf({ ...peer(null, { backendData: {} }), storeLeaseId: null })).toBeNull();
    expect(damageOf(peer({}, { backendType: "vxlan" }))).toBeNull();
  });

  it("wants one peer for each lease, with what its options say", async () => {
    const [object] = (await prepare()).planPeer(peer(), false);
    expect(lines([object as KernelObject])).toEqual([
      `wireguard flannel-wg peer ${PEER_KEY} endpoint 192.168.100.4:51820 allowed-ips 10.2.4.0/24 persistent-keepalive off`,
    ]);
    const more = await prepare({ psk: PSK, PersistentKeepaliveInterval: 25, ListenPort: 4000 });
    expect(more.planPeer(peer({ PublicKey: PEER_KEY, Port: 7 }), false)).toMatchObject([
      { presharedKey: PSK, keepaliveSeconds: 25, endpoint: { port: 7 } },
    ]);
    // An older flanneld publishes no port: it listens on the network's.
    expect(more.planPeer(peer({ PublicKey: PEER_KEY }), false)).toMatchObject([{ endpoint: { port: 4000 } }]);
  });

  it("has a device of each family, or one for both", async () => {
    const separate = await prepare({}, BOTH, [4, 6]);
    expect(separate.devices).toEqual({ 4: "flannel-wg", 6: "flannel-wg-v6" });
    expect(separate.leaseData).toMatchObject({ 4: { Port: 51820 }, 6: { Port: 51821 } });
    expect(lines(separate.planBase(OWN_BOTH))).toEqual(
      expect.arrayContaining([
        `wireguard flannel-wg-v6 public-key ${KEYS.publicKey} listen-port 51821`,
        "address fd00:2:0:1::/128 dev flannel-wg-v6",
        "route fd00:2::/48 dev flannel-wg-v6 proto 116 metric 1024",
      ]),
    );
    expect(lines(separate.planPeer(dualPeer(), false))).toEqual([
      `wireguard flannel-wg peer ${PEER_KEY} endpoint 192.168.100.4:51820 allowed-ips 10.2.4.0/24 persistent-keepalive off`,
      `wireguard flannel-wg-v6 peer ${PEER_KEY} endpoint [2001:db8:50::4]:51821 allowed-ips fd00:2:0:4::/64 persistent-keepalive off`,
    ]);
    for (const [Mode, endpoint] of [
      ["ipv4", "192.168.100.4:51820"],
      ["ipv6", "[2001:db8:50::4]:51820"],
      ["auto", "[2001:db8:50::4]:51820"],
    ]) {
      const shared = await prepare({ Mode } as JsonObject, BOTH, [4, 6]);
      expect(shared.devices).toEqual({ 4: "flannel-wg", 6: "flannel-wg" });
      expect(lines(shared.planPeer(dualPeer(), false))).toEqual([
        `wireguard flannel-wg peer ${PEER_KEY} endpoint ${endpoint} allowed-ips 10.2.4.0/24,fd00:2:0:4::/64 persistent-keepalive off`,
      ]);
      const links = shared.planBase(OWN_BOTH).filter(({ kind }) => kind === "link" || kind === "wg-device");
      expect(links).toHaveLength(2);
    }
  });

  it.each<[string, PerFamily<string>, PerFamily<string>, string | null]>([
    [
      "a public IPv4 address",
      { 4: "8.8.8.8", 6: "2001:db8::1" },
      { 4: "192.168.1.1", 6: "2001:db8::2" },
      "8.8.8.8",
    ],
    [
      "public IPv6 at both ends",
      { 4: "10.0.0.1", 6: "2001:db8::1" },
      { 4: "10.0.0.2", 6: "2001:db8::2" },
      "2001:db8::1",
    ],
    [
      "IPv4 where ours is unique local",
      { 4: "10.0.0.1", 6: "2001:db8::1" },
      { 4: "10.0.0.2", 6: "fd00::2" },
      "10.0.0.1",
    ],
    [
      "IPv4 where theirs is unique local",
      { 4: "10.0.0.1", 6: "fd00::1" },
      { 4: "10.0.0.2", 6: "2001:db8::2" },
      "10.0.0.1",
    ],
    ["IPv6 where we have nothing else", { 4: "8.8.8.8", 6: "fd00::1" }, { 6: "fd00::2" }, "fd00::1"],
    ["nothing where the families differ", { 4: "8.8.8.8" }, { 6: "fd00::2" }, null],
  ])("in mode auto chooses %s", (_what, theirs, ours, expected) => {
    const parsed = (texts: PerFamily<string>): PerFamily<Address> =>
      Object.fromEntries(Object.entries(texts).map(([family, text]) => [family, Address.parse(text)]));
    expect(outerAddress("auto", 4, parsed(theirs), parsed(ours))?.toString() ?? null).toBe(expected);
  });

  it.each<[string, JsonValue, RegExp]>([
    ["no data", null, /holds no PublicKey of 32 bytes in base64/],
    ["no key", { Port: 1 }, /holds no PublicKey/],
    ["a key that is a number", { PublicKey: 7 }, /holds no PublicKey/],
    ["a short key", { PublicKey: "AAAA" }, /holds no PublicKey/],
    ["a key in hexadecimal", { PublicKey: "00".repeat(32) }, /holds no PublicKey/],
    ["a key with a blank", { PublicKey: ` ${PEER_KEY}` }, /holds no PublicKey/],
    ["a port out of range", { PublicKey: PEER_KEY, Port: 65_536 }, /a Port that is not a UDP port/],
    ["a port that is text", { PublicKey: PEER_KEY, Port: "51820" }, /a Port that is not a UDP port/],
  ])("rejects a lease with %s", async (_what, data, reason) => {
    const backend = await prepare();
    expect(backend.rejectPeer(peer())).toBeNull();
    expect(backend.rejectPeer(peer(data))).toMatch(reason);
  });

  it("reads backend data with keys in any case, as flanneld does", async () => {
    const backend = await prepare();
    const written = peer({ publicKey: PEER_KEY, port: 7 });
    expect(backend.rejectPeer(written)).toBeNull();
    expect(backend.planPeer(written, false)).toEqual(
      backend.planPeer(peer({ PublicKey: PEER_KEY, Port: 7 }), false),
    );
  });

  it("rejects leases of other backends and without an address, and here those in the wrong family", async () => {
    const backend = await prepare({ Mode: "ipv6" }, BOTH, [4, 6]);
    expect(backend.rejectPeer(vxlanPeer(4))).toMatch(/its backend is "vxlan"/);
    expect(backend.rejectPeer(peer(undefined, { publicAddress: {} }))).toBe("it has no public address");
    expect(backend.rejectPeer(peer())).toBeNull();
    expect(backend.rejectLocally(peer())).toMatch(
      /no public address in a family that carries IPv4 from here/,
    );
    expect(backend.rejectLocally(dualPeer())).toBeNull();
  });

  it("identifies peers by their keys", async () => {
    const backend = await prepare({}, BOTH, [4, 6]);
    expect(backend.peerIdentities(dualPeer())).toEqual([PEER_KEY]);
    const own = { backendType: "wireguard", backendData: backend.leaseData, publicAddress: {}, nodeId: null };
    expect(backend.peerIdentities({ attrs: own })).toEqual([KEYS.publicKey]);
  });

  it.each<[string, JsonObject, RegExp]>([
    [
      "a mode that is none",
      { Mode: "both" },
      /Backend.Mode is "both"; write one of separate, auto, ipv4, ipv6/,
    ],
    ["a mode of another type", { Mode: 4 }, /Backend.Mode is 4/],
    ["a port of 0", { ListenPort: 0 }, /Backend.ListenPort is 0; write a whole number from 1 to 65535/],
    ["a port that is text", { ListenPort: "51820" }, /Backend.ListenPort is "51820"/],
    ["an IPv6 port out of range", { ListenPortV6: 70_000 }, /Backend.ListenPortV6 is 70000/],
    ["an MTU out of range", { MTU: -1 }, /Backend.MTU is -1/],
    [
      "a keep-alive out of range",
      { PersistentKeepaliveInterval: 65_536 },
      /PersistentKeepaliveInterval is 65536/,
    ],
    [
      "a keep-alive with a unit",
      { PersistentKeepaliveInterval: "25s" },
      /PersistentKeepaliveInterval is "25s"/,
    ],
    ["a PSK of another type", { PSK: 7 }, /Backend.PSK is not valid; write 32 bytes in base64/],
  ])("names %s", (_what, options, message) => {
    expect(() => wireguardBackend.parseOptions(options)).toThrow(message);
  });

  it.each(["short", PSK.slice(1), `${PSK}AAAA`, "!".repeat(44)])(
    "rejects the PSK %s without repeating it",
    (psk) => {
      expect(() => wireguardBackend.parseOptions({ PSK: psk })).toThrow(
        'network config: Backend.PSK is not valid; write 32 bytes in base64, as "wg genpsk" prints',
      );
    },
  );

  it("names options that do not fit the families or the interface", async () => {
    await expect(prepare({ Mode: "ipv6" })).rejects.toThrow(
      /Mode is "ipv6", but the network does not enable IPv6/,
    );
    await expect(prepare({ ListenPortV6: 51_820 }, BOTH, [4, 6])).rejects.toThrow(
      /ListenPort and Backend.ListenPortV6 are both 51820/,
    );
    await expect(prepare({ ListenPortV6: 51_820 })).resolves.toBeDefined();
    await expect(prepare({ Mode: "auto", ListenPortV6: 51_820 }, BOTH, [4, 6])).resolves.toBeDefined();
    await expect(prepare({ MTU: 1300 }, BOTH, [4, 6])).rejects.toThrow(
      /Backend.MTU is 1300: .* at least 1360/,
    );
    await expect(prepare({}, hostFacts({ mtuBytes: 147 }))).rejects.toThrow(/MTU of under0 is 147: .* 148/);
    expect((await prepare({ MTU: 1400 })).mtuBytes).toBe(1320);
  });

  it("says which changes are unsafe under traffic, and what it locks, records and needs", () => {
    const options = wireguardBackend.parseOptions({});
    const other = {
      Mode: "auto",
      PSK,
      ListenPort: 1,
      ListenPortV6: 2,
      MTU: 1400,
      PersistentKeepaliveInterval: 1,
    };
    expect(options.unsafeDifferences(wireguardBackend.parseOptions(other))).toEqual([
      "Mode",
      "PSK",
      "ListenPort",
      "ListenPortV6",
    ]);
    expect(options.unsafeDifferences(wireguardBackend.parseOptions({ MTU: 1400 }))).toEqual([]);
    const networks = { 4: Prefix.parse("10.2.0.0/16"), 6: Prefix.parse("fd00::/56") };
    expect(options.lockNames(networks)).toEqual(["flannel-wg", "flannel-wg-v6"]);
    expect(wireguardBackend.parseOptions({ Mode: "auto" }).lockNames(networks)).toEqual(["flannel-wg"]);
    expect(wireguardBackend.parseOptions({ Mode: "auto" }).expectations([4, 6])).toHaveLength(1);
    expect(options.expectations([4, 6]).map(({ port, portOption }) => [port, portOption])).toEqual([
      [51820, "ListenPort"],
      [51821, "ListenPortV6"],
    ]);
    const link: LinkObject = {
      kind: "link",
      name: "flannel-wg",
      type: "wireguard",
      mac: null,
      mtuBytes: 1420,
      isUp: true,
      details: { type: "wireguard" },
    };
    const record = { devices: new Set(["flannel-wg"]), macs: new Set<never>() };
    expect([isRecordedDevice(link, record), isRecordedDevice({ ...link, name: "wg0" }, record)]).toEqual([
      true,
      false,
    ]);
    expect([options.canAdopt(link), isTunnelType("wireguard")]).toEqual([true, true]);
    const [need] = kernelNeedsOf(
      parseNetworkConfig('{"Network":"10.2.0.0/16","Backend":{"Type":"wireguard"}}'),
    );
    expect(need).toMatchObject({
      subject: "wireguard",
      remedy: expect.stringContaining("modprobe wireguard"),
    });
  });

  it("adds up the sessions with a peer over all devices", async () => {
    const backend = await prepare({}, BOTH, [4, 6]);
    const sessions = new Map([
      ["flannel-wg", { handshakeAgeSeconds: 70, receivedBytes: 100, sentBytes: 10 }],
      ["flannel-wg-v6", { handshakeAgeSeconds: null, receivedBytes: 1, sentBytes: 2 }],
    ]);
    const reader = (device: string) =>
      new Map([...sessions].filter(([name]) => name === device).map(([, one]) => [PEER_KEY, one]));
    expect(backend.peerDetails?.(reader, [dualPeer(), peer({ PublicKey: OTHER_KEY })])).toEqual(
      new Map([[dualPeer().key, { handshakeAgeSeconds: 70, receivedBytes: 101, sentBytes: 12 }]]),
    );
  });
});
