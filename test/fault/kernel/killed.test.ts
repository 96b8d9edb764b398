/** Every backend that this kernel carries, killed before each effect of its start; test/guest has the others. */

import { describeWithEtcd } from "../../support/hosts.ts";
import { comesBackWhenKilled, type KilledCase } from "../../support/killed-daemon.ts";

const CASES: readonly KilledCase[] = [
  {
    backend: { Type: "vxlan" },
    leaseType: "vxlan",
    data: { VNI: 1, VtepMAC: "02:00:00:00:00:NN" },
    minEffects: 15,
  },
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

for (const each of CASES)
  describeWithEtcd(`${each.backend.Type}: a daemon that is killed at any moment of its start`, () =>
    comesBackWhenKilled(each, 9),
  );
