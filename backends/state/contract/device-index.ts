/** What the kinds of objects on a device share. */

import { ENODEV, NetlinkError } from "../../netlink/errors.ts";
import type { KernelNames, Wire } from "./kind.ts";

/**
 * The index of the object's device. Throws NetlinkError (ENODEV, retryable) when it is missing. `describe` is called for
 * the message only: a start encodes thousands of objects.
 */
export function requireIndex(names: KernelNames, device: string, describe: () => string): number {
  const index = names.indexOf(device);
  if (index !== null) return index;
  throw new NetlinkError(describe(), ENODEV, { kernelMessage: `no device ${device}`, retryable: true });
}

/** One dump for each device of the scope that exists. */
export function perDevice(encodeDump: (interfaceIndex: number) => Uint8Array): Wire<never>["dumps"] {
  return (scope, names) =>
    [...scope.devices].flatMap((device) => {
      const index = names.indexOf(device);
      return index === null ? [] : [encodeDump(index)];
    });
}
