/** Several networks of one daemon share a port: what each of them is told. Pure. */

import type { Scope } from "../state/contract/kind.ts";
import { isVisible } from "../state/kinds/registry.ts";
import type { KernelEvent } from "./port.ts";

export interface Subscription {
  readonly scope: () => Scope;
  readonly listener: (events: readonly KernelEvent[]) => void;
}

/** What any of the scopes shows, computed when one of them changes: every notification asks for it. */
export class ScopeUnion {
  #parts: readonly Scope[] = [];
  #whole: Scope = unionOf([]);

  of(parts: readonly Scope[]): Scope {
    const isSame = parts.length === this.#parts.length && parts.every((part, at) => part === this.#parts[at]);
    if (!isSame) {
      this.#parts = parts;
      this.#whole = unionOf(parts);
    }
    return this.#whole;
  }
}

function unionOf(scopes: readonly Scope[]): Scope {
  const [first, ...others] = scopes;
  if (first !== undefined && others.length === 0) return first;
  return {
    devices: new Set(scopes.flatMap(({ devices }) => [...devices])),
    sharedDevices: new Set(scopes.flatMap(({ sharedDevices }) => [...sharedDevices])),
    nexthopDevices: new Set(scopes.flatMap(({ nexthopDevices }) => [...nexthopDevices])),
    networks: scopes.flatMap(({ networks }) => networks),
    sysctls: new Set(scopes.flatMap(({ sysctls }) => [...sysctls])),
  };
}

/** Whether an event concerns a scope. A key that the scope does not show is forgotten without effect. */
export function isEventIn(event: KernelEvent, scope: Scope): boolean {
  switch (event.type) {
    case "present":
      return isVisible(event.object, scope);
    case "listing":
      return scope.devices.has(event.device);
    case "device-gone":
      return scope.devices.has(event.device) || scope.sharedDevices.has(event.device);
    // What happens on a network's own device is not the host's; for another network of the daemon it is.
    case "host":
      return !scope.devices.has(event.device);
    case "absent":
    case "resync":
      return true;
  }
}
