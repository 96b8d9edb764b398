/** What the kernel answered to a change, as an error that names the object and, where it is known, the remedy. */

import { constants } from "node:os";
import { ConflictError, errorMessage, TulleError } from "../../ipam/errors.ts";
import { EADDRINUSE, EEXIST, EIO, EOPNOTSUPP, NetlinkError } from "../netlink/errors.ts";
import type { Change } from "../state/diff.ts";
import type { LinkObject } from "../state/kinds/link.ts";
import { describe } from "../state/kinds/registry.ts";

export function failureOf({ op, object }: Change, error: unknown): TulleError {
  const operation = `${op} ${describe(object)}`;
  if (error instanceof NetlinkError) {
    if (object.kind !== "link") return error;
    return deviceFailure(operation, op === "replace" ? null : object.type, object, error);
  }
  if (error instanceof TulleError) return error;
  return new NetlinkError(operation, errnoOf(error), { kernelMessage: errorMessage(error), retryable: true });
}

/** `created` is the type of a device that was to be made; null when it was there. */
function deviceFailure(
  operation: string,
  created: string | null,
  device: LinkObject,
  error: NetlinkError,
): TulleError {
  if (created !== null && error.errno === EEXIST) {
    return new ConflictError(
      `${operation}: the kernel already has a device that excludes this one (${error.kernelMessage || "EEXIST"}); find it with "ip -d link show type ${created}" and delete it, or configure this network with other values`,
      { cause: error, retryable: true },
    );
  }
  const kernelMessage = remedyFor(device, error.errno) ?? error.kernelMessage;
  return new NetlinkError(operation, error.errno, { kernelMessage, retryable: error.retryable });
}

function remedyFor({ type, details }: LinkObject, errno: number): string | null {
  if (errno === EOPNOTSUPP)
    return `the kernel has no ${type} devices: load them ("modprobe ${type}"), or install the kernel's modules; "tulle doctor" names the package`;
  // vxlan_open() binds the port for the kernel.
  if (errno === EADDRINUSE && details?.type === "vxlan")
    return `another program uses UDP port ${details.port}; stop it, or set Backend.Port of the network configuration for all hosts`;
  return null;
}

/** The number behind a file system's error. */
function errnoOf(error: unknown): number {
  const code = error instanceof Error && "code" in error ? error.code : null;
  return Object.entries(constants.errno).find(([name]) => name === code)?.[1] ?? EIO;
}
