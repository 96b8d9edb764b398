/** Every backend that this kernel carries, killed before effects of its start; test/guest has the others. */

import { describeWithEtcd } from "../../support/hosts.ts";
import { comesBackWhenKilled, type KilledCase } from "../../support/killed-daemon.ts";

const VXLAN: KilledCase = {
  backend: { Type: "vxlan" },
  leaseType: "vxlan",
  data: { VNI: 1, VtepMAC: "02:00:00:00:00:NN" },
  minEffects: 15,
};
const CASES: readonly KilledCase[] = [
  { ...VXLAN, isIpv4Only: true },
  VXLAN,
  { backend: { Type: "host-gw" }, leaseType: "host-gw", minEffects: 8 },
  { backend: { Type: "udp" }, leaseType: "", minEffects: 8 },
  {
    backend: {
      Type: "extension",
      SubnetAddCommand: "ip route replace $SUBNET dev lo proto static",
      SubnetRemoveCommand: "ip route delete $SUBNET dev lo",
    },
    leaseType: "extension",
    data: "host NN",
    minEffects: 8,
  },
];

for (const [at, each] of CASES.entries()) {
  const families = each.isIpv4Only ? "IPv4" : "IPv4 and IPv6";
  describeWithEtcd(
    `${each.backend.Type}, ${families}: a daemon that is killed at any moment of its start`,
    () =>
      // Most effects are the same for all: the first case meets each one.
      comesBackWhenKilled(each, at === 0 ? 1 : 4),
  );
}
