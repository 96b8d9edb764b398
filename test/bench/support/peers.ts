/** Leases of hosts that do not exist, for a network with room for 65,536 of them. */

import { Address, Prefix } from "../../../ipam/addresses/ip.ts";
import { localMacFromSeed } from "../../../ipam/addresses/mac.ts";
import { formatLeaseKey, formatLeaseValue } from "../../../ipam/leases/lease-codec.ts";
import { layoutOf } from "../../../ipam/stores/layout.ts";
import type { EtcdCluster } from "../../support/etcd.ts";

/** 10.0.0.0/8 in /24s, of which real hosts lease those below the ones that are written here for others. */
export const BENCH_NETWORK = {
  Network: "10.0.0.0/8",
  SubnetLen: 24,
  SubnetMax: "10.31.255.0",
  Backend: { Type: "vxlan" },
};

const FIRST_SUBNET = Address.parse("10.32.0.0");
const FIRST_HOST = Address.parse("172.16.0.1");

export interface BenchLease {
  readonly key: string;
  readonly value: string;
}

/** The lease of peer `index`, which is never the same as another index's. */
export function benchLease(index: number): BenchLease {
  const seed = Buffer.alloc(32);
  seed.writeUInt32BE(index + 1, 1);
  return {
    key: formatLeaseKey({ 4: Prefix.of(FIRST_SUBNET.plus(index * 256), 24) }),
    value: formatLeaseValue({
      publicAddress: { 4: FIRST_HOST.plus(index) },
      backendType: "vxlan",
      backendData: { 4: { VNI: 1, VtepMAC: localMacFromSeed(seed) } },
      nodeId: null,
    }),
  };
}

/** Most operations in one transaction that etcd takes by default (--max-txn-ops is 128). */
const OPERATIONS_PER_TRANSACTION = 100;

/** Writes the leases `from` ≤ index < `to` below `prefix`, without an expiry. */
export function putBenchLeases(etcd: EtcdCluster, prefix: string, from: number, to: number): void {
  const folder = layoutOf(prefix).subnets;
  inTransactions(etcd, from, to, (index) => {
    const { key, value } = benchLease(index);
    return `put ${folder}${key} ${JSON.stringify(value)}`;
  });
}

/** Deletes them again. */
export function deleteBenchLeases(etcd: EtcdCluster, prefix: string, from: number, to: number): void {
  const folder = layoutOf(prefix).subnets;
  inTransactions(etcd, from, to, (index) => `del ${folder}${benchLease(index).key}`);
}

function inTransactions(
  etcd: EtcdCluster,
  from: number,
  to: number,
  operation: (index: number) => string,
): void {
  for (let first = from; first < to; first += OPERATIONS_PER_TRANSACTION) {
    const count = Math.min(to - first, OPERATIONS_PER_TRANSACTION);
    etcd.transaction(Array.from({ length: count }, (_, offset) => operation(first + offset)));
  }
}
