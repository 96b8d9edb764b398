/** What backends without a device of their own have in common. Pure. */

import type { PerFamily } from "../ipam/addresses/ip.ts";
import type { JsonValue } from "../ipam/json.ts";
import type { Lease } from "../ipam/leases/lease.ts";
import type {
  Backend,
  BackendOptions,
  BackendRunner,
  HostFacts,
  PeerPath,
  PreparedBackend,
  RunnerDeps,
  Tunnel,
} from "./backend.ts";
import { typeProblem } from "./peers.ts";
import type { KernelObject } from "./state/kinds/registry.ts";

/** A backend with `options`, which `parseOptions` reads. */
export function devicelessBackend(
  type: string,
  options: Backend["options"],
  parseOptions: Backend["parseOptions"],
): Backend {
  return {
    type,
    options,
    deviceTypes: [],
    kernelNeeds: [],
    isDeviceName: () => false,
    isRecorded: () => false,
    parseOptions,
  };
}

/** The options of a backend that has none; unknown keys are ignored, as flanneld does. */
export function noOptions(
  prepare: (host: HostFacts) => PreparedBackend,
  lockNames: readonly string[] = [],
): BackendOptions {
  const options: BackendOptions = {
    deviceNames: () => ({}),
    lockNames: () => lockNames,
    canAdopt: () => false,
    expectations: () => [],
    prepare,
    unsafeDifferences: (other) => (other === options ? [] : ["Type"]),
  };
  return options;
}

/** Programs nothing, and carries packets as large as the interfaces do. */
export abstract class DevicelessNetwork implements PreparedBackend {
  abstract readonly type: string;
  abstract readonly leaseType: string;
  readonly devices: PerFamily<string> = {};
  readonly sharedDevices: readonly string[] = [];
  readonly nexthopDevices: readonly string[] = [];
  readonly entrances: PerFamily<readonly string[]> = {};
  readonly mtuBytes: number;
  readonly tunnels: PerFamily<Tunnel> = {};
  readonly leaseData: PerFamily<JsonValue> = {};
  readonly startRunner: ((deps: RunnerDeps) => BackendRunner) | null = null;

  constructor({ uplinks }: HostFacts) {
    this.mtuBytes = Math.min(...Object.values(uplinks).map(({ mtuBytes }) => mtuBytes));
  }

  rejectPeer(lease: Lease): string | null {
    return typeProblem(lease, this);
  }

  rejectLocally(_lease: Lease): string | null {
    return null;
  }

  peerIdentities(): readonly string[] {
    return [];
  }

  planBase(): readonly KernelObject[] {
    return [];
  }

  planPeer(_lease: Lease, _useNexthops: boolean): readonly KernelObject[] {
    return [];
  }

  pathTo(): PeerPath {
    return "external";
  }
}
