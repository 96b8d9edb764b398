/** Filters of traffic control (linux/rtnetlink.h `struct tcmsg`): `tc filter show dev eth0 egress`. Messages only, no I/O. */

import { MessageWriter, NLM_F_DUMP } from "./message.ts";
import { AF_UNSPEC } from "./rtnetlink.ts";

/** linux/rtnetlink.h */
const RTM_GETTFILTER = 46;
/** linux/pkt_sched.h: TC_H_CLSACT with TC_H_MIN_INGRESS or TC_H_MIN_EGRESS. */
const HOOKS = { ingress: 0xffff_fff2, egress: 0xffff_fff3 } as const;

/** What passes a device: `ingress` as it arrives, `egress` as it leaves. */
export type TrafficDirection = keyof typeof HOOKS;

/** Filters on a device; none where it has no such hook. */
export function encodeFilterDump(interfaceIndex: number, direction: TrafficDirection): Buffer {
  return new MessageWriter(RTM_GETTFILTER, NLM_F_DUMP)
    .u8(AF_UNSPEC)
    .u8(0)
    .u16(0)
    .u32(interfaceIndex)
    .u32(0)
    .u32(HOOKS[direction])
    .u32(0)
    .finish();
}
