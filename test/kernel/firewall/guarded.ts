/** A guard over the firewall of a test's namespace. */

import { FirewallGuard, type FirewallGuardOptions } from "../../../backends/firewall/guard.ts";
import { NetnsHandle } from "../../../backends/netlink/netns.ts";
import { systemClock } from "../../../ipam/clock.ts";
import { silentLogger } from "../../../ipam/log.ts";
import type { TestNetns } from "../../support/netns.ts";

export interface Guarded {
  readonly guard: FirewallGuard;
  /** Stops the guard; the rules stay. */
  dispose(): Promise<void>;
}

/** Repairs what it is told of; its audit is too rare to help. */
export function guardOf(host: TestNetns, choice: FirewallGuardOptions["choice"]): Guarded {
  const handle = NetnsHandle.open(host.path);
  const guard = new FirewallGuard({
    choice,
    resyncSeconds: 3600,
    log: silentLogger,
    clock: systemClock,
    commandPrefix: ["nsenter", `--net=${host.path}`],
    netns: handle,
  });
  return {
    guard,
    dispose: async () => {
      await guard.stop();
      handle.close();
    },
  };
}
