/**
 * The alloc backend: a lease and subnet.env, and nothing else. Other programs carry the packets between hosts.
 *
 * Its leases name no backend, and it accepts those of every type, as flanneld's does. Pure: no I/O.
 */

import { DevicelessNetwork, devicelessBackend, noOptions } from "./deviceless.ts";

class AllocNetwork extends DevicelessNetwork {
  readonly type = "alloc";
  readonly leaseType = "";
  readonly isCarriedByOthers = true;

  override rejectPeer(): null {
    return null;
  }
}

const OPTIONS = noOptions((host) => new AllocNetwork(host));

export const allocBackend = devicelessBackend("alloc", [], () => OPTIONS);
