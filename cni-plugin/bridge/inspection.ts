/** What CHECK goes by, and how it words what it finds. No I/O. */

import type { Link } from "../../backends/netlink/link/link.ts";
import type { NetnsHandle } from "../../backends/netlink/netns.ts";
import type { JsonObject } from "../../ipam/json.ts";
import type { Call } from "../call.ts";
import type { CniResult } from "../result.ts";
import type { BridgeOptions } from "./options.ts";

export interface Inspection {
  readonly call: Call;
  readonly delegate: JsonObject;
  readonly options: BridgeOptions;
  readonly expected: CniResult;
  readonly netns: NetnsHandle;
}

export function mtuDifference(name: string, link: Link, wantedBytes: number): readonly string[] {
  return unless(
    wantedBytes === 0 || link.mtuBytes === wantedBytes,
    `${name} has MTU ${link.mtuBytes}, not ${wantedBytes}`,
  );
}

export function unless(holds: boolean, difference: string): readonly string[] {
  return holds ? [] : [difference];
}
