/**
 * A host that joins the network as flanneld does, by hand: the lease written with etcdctl, the device and what
 * leads to other hosts made with ip(8) and bridge(8). Built from flannel's documented layout, without tulle's code.
 */

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { EtcdLab, Host } from "./hosts.ts";

export interface FlannelLease {
  /** `10.2.7.0` */
  readonly base: string;
  readonly publicIp: string;
  readonly mac: string;
}

/** What `ip -d -j link` says of a VXLAN device. */
interface DetailedLink {
  readonly address: string;
  readonly linkinfo: {
    readonly info_kind: string;
    readonly info_data: {
      readonly id: number;
      readonly link: string;
      readonly local: string;
      readonly port: number;
      readonly l2miss?: boolean;
      readonly gbp?: boolean;
    };
  };
}

export class FlannelPeer {
  readonly #net: EtcdLab;
  readonly #host: Host;
  readonly #base: string;
  #mac = "";

  /** `base` is the subnet's base address; the subnet is a /24. */
  constructor(net: EtcdLab, host: Host, base: string) {
    this.#net = net;
    this.#host = host;
    this.#base = base;
  }

  /** The address of its tunnel device. */
  get mac(): string {
    return this.#mac;
  }

  /** Makes the device as flanneld does, publishes the lease with a time to live, and writes subnet.env. */
  join(mac: string): void {
    const { netns, address } = this.#host;
    netns.ip(
      `link add flannel.1 address ${mac} mtu 1450 type vxlan id 1 local ${address} dev eth0 dstport 8472 nolearning`,
      `address add ${this.#base}/32 dev flannel.1 scope global`,
      "link set flannel.1 up",
    );
    this.#publish(mac);
    const directory = join(this.#host.runDirectory, "flannel");
    mkdirSync(directory, { recursive: true });
    const gateway = this.#base.replace(/0$/, "1");
    writeFileSync(
      join(directory, "subnet.env"),
      `FLANNEL_NETWORK=10.2.0.0/16\nFLANNEL_SUBNET=${gateway}/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n`,
    );
  }

  /** Starts on a host where the device of another agent is: keeps it as it is, if it is what flanneld would make. */
  takeOver(): void {
    const [device] = this.#host.netns.ipJson(["-d", "link", "show", "flannel.1"]);
    const { address, linkinfo } = device as unknown as DetailedLink;
    const { id, link, local, port, l2miss = false, gbp = false } = linkinfo.info_data;
    const found = [linkinfo.info_kind, id, link, local, port, l2miss, gbp].join(" ");
    const wanted = `vxlan 1 eth0 ${this.#host.address} 8472 false false`;
    if (found !== wanted) throw new Error(`flanneld would make "${wanted}" anew, for it finds "${found}"`);
    this.#publish(address);
    this.learnPeers();
  }

  /** Removes the way to a peer that left: exactly the objects that learnPeers makes, or it fails. */
  forget({ base, publicIp, mac }: FlannelLease): void {
    const { netns } = this.#host;
    netns.ip(`neighbour delete ${base} lladdr ${mac} dev flannel.1`);
    netns.exec("bridge", ["fdb", "delete", mac, "dev", "flannel.1", "dst", publicIp, "self"]);
    netns.ip(`route delete ${base}/24 via ${base} dev flannel.1 onlink`);
  }

  /** What a restarted flanneld does whose device was gone: another random address, written over the lease. */
  changeMac(mac: string): void {
    this.#host.netns.ip(`link set flannel.1 address ${mac}`);
    this.#publish(mac);
    this.learnPeers(); // with its address a device loses its neighbours (net/core/neighbour.c, neigh_changeaddr)
  }

  leave(): void {
    this.#net.delete(`subnets/${this.#base}-24`);
  }

  /** Programs the way to every other lease in the store, as flanneld does for each lease it sees. */
  learnPeers(): void {
    for (const { base, publicIp, mac } of this.leases().filter((lease) => lease.base !== this.#base)) {
      this.#host.netns.ip(
        `neighbour replace ${base} lladdr ${mac} dev flannel.1 nud permanent`,
        `route replace ${base}/24 via ${base} dev flannel.1 onlink`,
      );
      const entry = [mac, "dev", "flannel.1", "dst", publicIp, "self", "permanent"];
      this.#host.netns.exec("bridge", ["fdb", "replace", ...entry]);
    }
  }

  #publish(mac: string): void {
    this.#mac = mac;
    const grant = this.#net.etcd.ctl("lease", "grant", "86400");
    const id = /lease ([0-9a-f]+) granted/.exec(grant)?.[1];
    const value =
      `{"PublicIP":"${this.#host.address}","PublicIPv6":null,"BackendType":"vxlan",` +
      `"BackendData":{"VNI":1,"VtepMAC":"${mac}"}}`;
    this.#net.etcd.ctl("put", `--lease=${id}`, `${this.#net.prefix}/subnets/${this.#base}-24`, value);
  }

  /** Every lease in the store. */
  leases(): FlannelLease[] {
    return [...this.#net.leases()].map(([key, value]) => {
      const { PublicIP, BackendData } = JSON.parse(value) as {
        PublicIP: string;
        BackendData: { VtepMAC: string };
      };
      return { base: key.replace(/-24$/, ""), publicIp: PublicIP, mac: BackendData.VtepMAC };
    });
  }
}
