/** WireGuard over our generic netlink, compared with wg(8) on the same device. */

import { afterAll, beforeAll, expect, it } from "vitest";
import { RtnetlinkPort } from "../../backends/kernel/rtnetlink-port.ts";
import { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { EINVAL, EOPNOTSUPP } from "../../backends/netlink/errors.ts";
import { decodeFamilyId, encodeGetFamily } from "../../backends/netlink/generic.ts";
import { NetnsHandle } from "../../backends/netlink/netns.ts";
import { NETLINK_GENERIC } from "../../backends/netlink/socket.ts";
import {
  decodeDevice,
  encodeGetDevice,
  encodeRemovePeer,
  encodeSetDevice,
  encodeSetPeer,
  joinDevice,
  WG_GENL_NAME,
  type WireguardDevice,
} from "../../backends/netlink/wireguard.ts";
import type { LinkObject } from "../../backends/state/kinds/link.ts";
import { wireguardBackend } from "../../backends/wireguard.ts";
import { Address, Prefix } from "../../ipam/addresses/ip.ts";
import { describeInGuest, loadModule, unloadModule } from "../support/guest.ts";
import { createNetns, type TestNetns } from "../support/netns.ts";

const DEVICE = "wg0";

describeInGuest("WireGuard over generic netlink", () => {
  let netns: TestNetns;
  let connection: NetlinkConnection;
  let familyId: number;
  const wg = (...args: string[]) => netns.exec("wg", args).trim();
  const show = () => joinDevice(connection.dump(encodeGetDevice(familyId, DEVICE), decodeDevice));
  const key = () => wg("genpsk");
  const publicKeyOf = (privateKey: string) =>
    netns.exec("sh", ["-c", `echo ${privateKey} | wg pubkey`]).trim();

  beforeAll(() => {
    loadModule("wireguard");
    netns = createNetns("wg");
    netns.ip("link add wg0 type wireguard");
    connection = NetlinkConnection.open({ protocol: NETLINK_GENERIC, netns: NetnsHandle.open(netns.path) });
    familyId = connection.get(encodeGetFamily(WG_GENL_NAME), decodeFamilyId);
  });
  afterAll(() => {
    connection?.close();
    netns?.dispose();
  });

  it("sets the device as wg shows it, and reads it back", () => {
    const privateKey = wg("genkey");
    connection.request(encodeSetDevice(familyId, DEVICE, { privateKey, listenPort: 51820, firewallMark: 7 }));
    expect(wg("show", "wg0", "private-key")).toBe(privateKey);
    expect(wg("show", "wg0", "listen-port")).toBe("51820");
    expect(wg("show", "wg0", "fwmark")).toBe("0x7");
    expect(show()).toMatchObject({ publicKey: publicKeyOf(privateKey), listenPort: 51820, firewallMark: 7 });
  });

  it("creates a peer, changes parts of it and removes it", () => {
    const publicKey = publicKeyOf(wg("genkey"));
    const presharedKey = key();
    const set = (peer: object) => connection.request(encodeSetPeer(familyId, DEVICE, { publicKey, ...peer }));
    set({
      presharedKey,
      endpoint: { address: Address.parse("192.0.2.1"), port: 51821 },
      keepaliveSeconds: 25,
      allowedPrefixes: [Prefix.parse("10.2.1.0/24"), Prefix.parse("fd00:1::/64")],
    });
    const dump = () => wg("show", "wg0", "dump").split("\n").at(-1)?.split("\t");
    expect(dump()).toEqual([
      publicKey,
      presharedKey,
      "192.0.2.1:51821",
      "10.2.1.0/24,fd00:1::/64",
      "0",
      "0",
      "0",
      "25",
    ]);
    set({ endpoint: { address: Address.parse("fd31::2"), port: 7 } });
    expect(dump()?.slice(2, 4)).toEqual(["[fd31::2]:7", "10.2.1.0/24,fd00:1::/64"]);
    set({ allowedPrefixes: [Prefix.parse("10.2.2.0/24")] });
    expect(dump()?.[3]).toBe("10.2.2.0/24");
    const device = show() as WireguardDevice;
    expect(device.peers).toMatchObject([
      { publicKey, presharedKey, endpoint: { port: 7 }, keepaliveSeconds: 25, lastHandshakeSeconds: 0 },
    ]);
    expect(device.peers[0]?.allowedPrefixes.map(String)).toEqual(["10.2.2.0/24"]);
    for (let time = 0; time < 2; time++) connection.request(encodeRemovePeer(familyId, DEVICE, publicKey));
    expect(show()?.peers).toEqual([]);
  });

  it("does not create a peer when it should only change one", () => {
    const publicKey = publicKeyOf(wg("genkey"));
    connection.request(encodeSetPeer(familyId, DEVICE, { publicKey, keepaliveSeconds: 1 }));
    expect(show()?.peers).toEqual([]);
  });

  it("joins a peer whose prefixes fill more than one message", () => {
    const publicKey = publicKeyOf(wg("genkey"));
    const allowedPrefixes = Array.from({ length: 1000 }, (_, at) =>
      Prefix.parse(`10.${at >> 8}.${at & 255}.0/24`),
    );
    connection.request(encodeSetPeer(familyId, DEVICE, { publicKey, allowedPrefixes }));
    const device = show() as WireguardDevice;
    expect(device.peers).toHaveLength(1);
    expect(device.peers[0]?.allowedPrefixes.map(String).sort()).toEqual(allowedPrefixes.map(String).sort());
  });
});

describeInGuest("a kernel without WireGuard", () => {
  let netns: TestNetns;
  let port: RtnetlinkPort;
  const link: LinkObject = {
    kind: "link",
    name: "flannel-wg",
    type: "wireguard",
    mac: null,
    mtuBytes: 1420,
    isUp: true,
    details: { type: "wireguard" },
  };

  beforeAll(async () => {
    netns = createNetns("nowg");
    netns.exec("sysctl", ["-qw", "kernel.modprobe=/bin/false"]);
    // The kernel frees namespaces, and the devices in them, a moment after their last user.
    await expect.poll(() => unloadModule("wireguard"), { timeout: 60_000, interval: 500 }).toBe(true);
    port = RtnetlinkPort.open({ netns: NetnsHandle.open(netns.path) });
  });
  afterAll(() => {
    port?.close();
    netns?.exec("sysctl", ["-qw", "kernel.modprobe=/sbin/modprobe"]);
    netns?.dispose();
    loadModule("wireguard");
  });

  it("is told apart by doctor's probe, and named with its module when a device is created", async () => {
    const connection = NetlinkConnection.open({ netns: NetnsHandle.open(netns.path) });
    const failure = (): unknown => {
      try {
        const [need] = wireguardBackend.kernelNeeds;
        connection.request(need !== undefined && "probe" in need ? need.probe() : Buffer.alloc(0));
        return null;
      } catch (error) {
        return error;
      }
    };
    expect(failure()).toMatchObject({ errno: EOPNOTSUPP });
    const [result] = await port.apply([{ op: "create", object: link }]);
    expect(result?.message).toMatch(
      /the kernel has no wireguard devices: load them \("modprobe wireguard"\)/,
    );
    expect(netns.exec("ip", ["link"])).not.toContain("flannel-wg");
    const keys = { kind: "wg-device", device: link.name, publicKey: null, listenPort: 51820 } as const;
    expect(await port.apply([{ op: "create", object: keys }])).toMatchObject([{ errno: EOPNOTSUPP }]);
    loadModule("wireguard");
    expect(failure()).toMatchObject({ errno: EINVAL });
    expect(await port.apply([{ op: "create", object: link }])).toEqual([null]);
    expect(netns.exec("ip", ["link"])).not.toContain("tulle-probe");
    connection.close();
  });
});
