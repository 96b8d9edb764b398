/** Whether packets of one namespace reach an address. */

import type { Address } from "../../ipam/addresses/ip.ts";
import type { TestNetns } from "./netns.ts";

/** Three packets, of which one answer is enough: a machine that is busy may keep one of them waiting. */
const OPTIONS = ["-c", "3", "-i", "0.1", "-W", "0.5"];

export function canPing(from: Pick<TestNetns, "exec">, to: Address | string | undefined): boolean {
  try {
    from.exec("ping", [...OPTIONS, String(to)]);
    return true;
  } catch {
    return false;
  }
}
