/** Settings under /proc/sys that backends share. Pure. */

import type { Family } from "../ipam/addresses/ip.ts";
import type { SysctlObject } from "./state/kinds/sysctl.ts";

/**
 * What a device needs to carry packets of a family. Forwarding is needed here only, not globally. Where IPv6 is enabled for
 * some interfaces only, new ones have none (conf/default/disable_ipv6, ip-sysctl).
 */
export function familySettings(family: Family, device: string): readonly SysctlObject[] {
  const set = (name: string, value: string): SysctlObject => ({
    kind: "sysctl",
    path: `net/ipv${family}/conf/${device}/${name}`,
    device,
    value,
  });
  return [...(family === 6 ? [set("disable_ipv6", "0")] : []), set("forwarding", "1")];
}
