/**
 * A host that joins an IPIP or WireGuard network as flanneld does, by hand: ip(8), wg(8) and etcdctl. Built from flannel's
 * documented layout, without tulle's code.
 */

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { EtcdLab, Host } from "./hosts.ts";

/** A lease as it is in the store. */
export interface StoredLease {
  /** `10.2.7.0` */
  readonly base: string;
  readonly PublicIP: string;
  readonly BackendData?: { readonly PublicKey: string; readonly Port: number };
}

/** Every lease in the store. */
export function storedLeases(net: EtcdLab): readonly StoredLease[] {
  return [...net.leases()].map(([key, value]) => ({ ...JSON.parse(value), base: key.replace(/-24$/, "") }));
}

abstract class FlannelHost {
  readonly net: EtcdLab;
  readonly host: Host;
  readonly base: string;
  readonly #mtuBytes: number;

  /** `base` is the subnet's base address; the subnet is a /24 of 10.2.0.0/16. */
  constructor(net: EtcdLab, host: Host, base: string, mtuBytes: number) {
    this.net = net;
    this.host = host;
    this.base = base;
    this.#mtuBytes = mtuBytes;
  }

  get others(): readonly StoredLease[] {
    return storedLeases(this.net).filter(({ base }) => base !== this.base);
  }

  protected publish(type: string, data: object | null): void {
    const grant = this.net.etcd.ctl("lease", "grant", "86400");
    const id = /lease ([0-9a-f]+) granted/.exec(grant)?.[1];
    const value = JSON.stringify({
      PublicIP: this.host.address,
      PublicIPv6: null,
      BackendType: type,
      ...(data === null ? {} : { BackendData: data }),
    });
    this.net.etcd.ctl("put", `--lease=${id}`, `${this.net.prefix}/subnets/${this.base}-24`, value);
    const directory = join(this.host.runDirectory, "flannel");
    mkdirSync(directory, { recursive: true });
    const gateway = this.base.replace(/0$/, "1");
    writeFileSync(
      join(directory, "subnet.env"),
      `FLANNEL_NETWORK=10.2.0.0/16\nFLANNEL_SUBNET=${gateway}/24\nFLANNEL_MTU=${this.#mtuBytes}\nFLANNEL_IPMASQ=false\n`,
    );
  }
}

export class FlannelIpip extends FlannelHost {
  constructor(net: EtcdLab, host: Host, base: string) {
    super(net, host, base, 1480);
  }

  join(): void {
    this.host.netns.ip(
      `link add flannel.ipip mtu 1480 type ipip local ${this.host.address} ttl 0 nopmtudisc`,
      `address add ${this.base}/32 dev flannel.ipip`,
      "link set flannel.ipip up",
    );
    this.publish("ipip", null);
    this.learnPeers();
  }

  /** Programs the way to every other lease in the store. */
  learnPeers(): void {
    for (const { base, PublicIP } of this.others)
      this.host.netns.ip(`route replace ${base}/24 via ${PublicIP} dev flannel.ipip onlink`);
  }
}

/** One key pair for as long as the object lives, like flanneld's key file. */
export class FlannelWireguard extends FlannelHost {
  privateKey: string;

  constructor(net: EtcdLab, host: Host, base: string) {
    super(net, host, base, 1420);
    this.privateKey = host.netns.exec("wg", ["genkey"]).trim();
  }

  get publicKey(): string {
    return this.host.netns.exec("sh", ["-c", `echo ${this.privateKey} | wg pubkey`]).trim();
  }

  join(): void {
    this.host.netns.ip(
      "link add flannel-wg mtu 1420 type wireguard",
      `address add ${this.base}/32 dev flannel-wg`,
    );
    this.#setKey();
    this.host.netns.ip("link set flannel-wg up", "route add 10.2.0.0/16 dev flannel-wg scope link");
    this.#publish();
    this.learnPeers();
  }

  /** What a restarted flanneld does whose key file was gone. */
  changeKey(): void {
    this.privateKey = this.host.netns.exec("wg", ["genkey"]).trim();
    this.#setKey();
    this.#publish();
  }

  /** Programs the way to every other lease in the store. */
  learnPeers(): void {
    for (const { base, PublicIP, BackendData } of this.others) {
      if (BackendData === undefined) continue;
      const { PublicKey, Port } = BackendData;
      const peer = ["peer", PublicKey, "endpoint", `${PublicIP}:${Port}`, "allowed-ips", `${base}/24`];
      this.host.netns.exec("wg", ["set", "flannel-wg", ...peer]);
    }
  }

  #setKey(): void {
    const set = `echo ${this.privateKey} > key && wg set flannel-wg listen-port 51820 private-key key && rm key`;
    this.host.netns.exec("sh", ["-c", `cd ${this.host.runDirectory} && ${set}`]);
  }

  #publish(): void {
    this.publish("wireguard", { PublicKey: this.publicKey, Port: 51820 });
  }
}

const DUAL_DEVICES = { 4: "flannel-wg", 6: "flannel-wg-v6" } as const;
const DUAL_PORTS = { 4: 51_820, 6: 51_821 } as const;

/** A WireGuard host of both families, with a device for each (`Mode` separate): 10.2.N.0/24 and fd00:2:0:N::/64. */
export class FlannelDualWireguard {
  readonly #net: EtcdLab;
  readonly #host: Host;
  readonly #number: number;
  readonly #presharedKey: string;

  constructor(net: EtcdLab, host: Host, number: number, presharedKey: string) {
    this.#net = net;
    this.#host = host;
    this.#number = number;
    this.#presharedKey = presharedKey;
  }

  get #key(): string {
    return `10.2.${this.#number}.0-24&fd00:2:0:${this.#number}::-64`;
  }

  /** Makes both devices, publishes the lease, writes subnet.env and programs the peers that are there. */
  join(): void {
    const { netns, addresses, runDirectory } = this.#host;
    const privateKey = netns.exec("wg", ["genkey"]).trim();
    const publicKey = netns.exec("sh", ["-c", `echo ${privateKey} | wg pubkey`]).trim();
    const bases = { 4: `10.2.${this.#number}.0/32`, 6: `fd00:2:0:${this.#number}::/128` } as const;
    const networks = { 4: "10.2.0.0/16", 6: "fd00:2::/48" } as const;
    for (const family of [4, 6] as const) {
      const device = DUAL_DEVICES[family];
      netns.ip(`link add ${device} mtu 1420 type wireguard`, `address add ${bases[family]} dev ${device}`);
      const set = `wg set ${device} listen-port ${DUAL_PORTS[family]} private-key /dev/stdin`;
      netns.exec("sh", ["-c", `echo ${privateKey} | ${set}`]);
      netns.ip(`link set ${device} up`, `route add ${networks[family]} dev ${device}`);
    }
    const data = (family: 4 | 6) => `{"PublicKey":"${publicKey}","Port":${DUAL_PORTS[family]}}`;
    this.#net.put(
      `subnets/${this.#key}`,
      `{"PublicIP":"${addresses[4]}","PublicIPv6":"${addresses[6]}","BackendType":"wireguard",` +
        `"BackendData":${data(4)},"BackendV6Data":${data(6)}}`,
    );
    const directory = join(runDirectory, "flannel");
    mkdirSync(directory, { recursive: true });
    writeFileSync(
      join(directory, "subnet.env"),
      `FLANNEL_NETWORK=10.2.0.0/16\nFLANNEL_SUBNET=10.2.${this.#number}.1/24\nFLANNEL_IPV6_NETWORK=fd00:2::/48\n` +
        `FLANNEL_IPV6_SUBNET=fd00:2:0:${this.#number}::1/64\nFLANNEL_MTU=1420\nFLANNEL_IPMASQ=false\n`,
    );
    this.#learnPeers();
  }

  #learnPeers(): void {
    for (const [key, value] of this.#net.leases()) {
      if (key === this.#key) continue;
      const lease = JSON.parse(value) as {
        readonly PublicIP: string;
        readonly PublicIPv6: string;
        readonly BackendData: { readonly PublicKey: string; readonly Port: number };
        readonly BackendV6Data: { readonly PublicKey: string; readonly Port: number };
      };
      const [subnet4, subnet6] = key.split("&").map((part) => part.replace(/-(\d+)$/, "/$1"));
      this.#addPeer(DUAL_DEVICES[4], lease.BackendData, lease.PublicIP, `${subnet4}`);
      this.#addPeer(DUAL_DEVICES[6], lease.BackendV6Data, `[${lease.PublicIPv6}]`, `${subnet6}`);
    }
  }

  #addPeer(
    device: string,
    data: { PublicKey: string; Port: number },
    address: string,
    allowed: string,
  ): void {
    const peer = `peer ${data.PublicKey} endpoint ${address}:${data.Port} allowed-ips ${allowed}`;
    const set = `echo ${this.#presharedKey} | wg set ${device} ${peer} preshared-key /dev/stdin`;
    this.#host.netns.exec("sh", ["-c", set]);
  }
}
