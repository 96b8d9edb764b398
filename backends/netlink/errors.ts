/** What goes wrong between us and the kernel, with the kernel's own words. No I/O. */

import { constants } from "node:os";
import { TulleError } from "../../ipam/errors.ts";

const ERRNO = constants.errno;

/** The errno values that this layer and its callers reason about, by their kernel names (asm-generic/errno.h). */
export const {
  EPERM,
  EACCES,
  ENOENT,
  ESRCH,
  EINTR,
  EIO,
  ENODATA,
  EAGAIN,
  ENOMEM,
  EBUSY,
  EEXIST,
  ENODEV,
  ENXIO,
  EINVAL,
  EMSGSIZE,
  ENOPROTOOPT,
  ENOBUFS,
  EOPNOTSUPP,
  EADDRINUSE,
  EADDRNOTAVAIL,
  ENETDOWN,
  ENETUNREACH,
  ETIMEDOUT,
  EINPROGRESS,
  ECONNREFUSED,
  ECONNRESET,
} = ERRNO;

/** Those of Linux that Node's constants lack. */
const MORE_ERRNO = { EXFULL: 54 } as const;

/** Made for the first error: most runs of the CNI plugin see none. */
let names: ReadonlyMap<number, string> | null = null;

function nameOf(errno: number): string {
  names ??= new Map(
    Object.entries({ ...ERRNO, ...MORE_ERRNO }).map(([name, value]): [number, string] => [value, name]),
  );
  return names.get(errno) ?? `errno ${errno}`;
}

/** Transient failures: the same request may succeed later. */
const TRANSIENT: ReadonlySet<number> = new Set([EINTR, EAGAIN, ENOMEM, EBUSY, ENOBUFS, ETIMEDOUT]);

export interface NetlinkErrorOptions {
  /** The kernel's extended-ack text (NLMSGERR_ATTR_MSG), empty when it gave none. */
  readonly kernelMessage?: string | undefined;
  /** Where in the request the kernel saw the mistake (NLMSGERR_ATTR_OFFS), in bytes from its header. */
  readonly offset?: number | undefined;
  readonly retryable?: boolean;
}

/** The kernel refused a request, or a socket call failed. Match `errnoName`; the text is for people. */
export class NetlinkError extends TulleError {
  /** The request or system call that failed, for example `RTM_NEWROUTE` or `setns`. */
  readonly operation: string;
  /** Positive, as in errno.h. */
  readonly errno: number;
  /** For example `EEXIST`. */
  readonly errnoName: string;
  readonly kernelMessage: string;
  readonly offset: number | null;

  constructor(operation: string, errno: number, options: NetlinkErrorOptions = {}) {
    const errnoName = nameOf(errno);
    const kernelMessage = options.kernelMessage ?? "";
    const offset = options.offset ?? null;
    super("TULLE_NETLINK", `${operation}: ${errnoName}${kernelMessage === "" ? "" : ` (${kernelMessage})`}`, {
      details: { operation, errno, errnoName, kernelMessage, offset },
      retryable: options.retryable ?? TRANSIENT.has(errno),
    });
    this.operation = operation;
    this.errno = errno;
    this.errnoName = errnoName;
    this.kernelMessage = kernelMessage;
    this.offset = offset;
  }
}

/** Passes a result of libc.ts on, or throws it as a NetlinkError when it is a negated errno. */
export function check(operation: string, result: number): number {
  if (result < 0) throw new NetlinkError(operation, -result);
  return result;
}
