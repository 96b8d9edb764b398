/** Files under /proc/sys: `sysctl`. */

import type { Kind } from "../contract/kind.ts";

/** For example `net/ipv6/conf/flannel.1/accept_ra`. */
export interface SysctlObject {
  readonly kind: "sysctl";
  readonly path: string;
  /** Device that the setting belongs to: it comes and goes with the device. Null for global ones. */
  readonly device: string | null;
  readonly value: string;
  /** The only other value that is replaced by `value`; default any. */
  readonly onlyOver?: string;
}

export const sysctlKind: Kind<SysctlObject> = {
  rank: 1,
  // kernel/sysctl.ts reads and writes the files.
  wire: null,
  isDeletable: false,
  keyOf: ({ path }) => `sysctl ${path}`,
  deviceOf: ({ device }) => device,
  isVisible: ({ path }, scope) => scope.sysctls.has(path),
  ownerOf: ({ path }, scope) => (scope.sysctls.has(path) ? "ours" : "foreign"),
  isSame: ({ value, onlyOver }, actual) =>
    actual.value === value || (onlyOver !== undefined && actual.value !== onlyOver),
  describe: ({ path, value }) => `sysctl ${path}=${value}`,
};
