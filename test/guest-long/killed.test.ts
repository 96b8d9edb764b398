/** The backends that need a module, killed at several effects of their start; test/fault has the others. */

import { beforeAll } from "vitest";
import { describeInGuest, loadModule } from "../support/guest.ts";
import { comesBackWhenKilled, type KilledCase } from "../support/killed-daemon.ts";

const CASES: readonly (KilledCase & { readonly module: string })[] = [
  { module: "ipip", backend: { Type: "ipip" }, leaseType: "ipip", isIpv4Only: true, minEffects: 8 },
  {
    module: "wireguard",
    backend: { Type: "wireguard" },
    leaseType: "wireguard",
    data: { PublicKey: `${"NN".repeat(21)}A=`, Port: 51820 },
    minEffects: 8,
  },
];

for (const each of CASES) {
  describeInGuest(`${each.backend.Type}: a daemon that is killed at any moment of its start`, () => {
    beforeAll(() => loadModule(each.module));
    // A start takes many seconds there; with this step each part of it is met.
    comesBackWhenKilled(each, 9);
  });
}
