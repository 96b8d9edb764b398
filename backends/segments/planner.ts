/**
 * From the view of the named networks to kernel objects: devices and entries of the networks that this host has members
 * in, and nothing of any other.
 *
 * Every member is a group of its own, kept as long as its record is the same value: a change of one costs one, whatever
 * the number of the others. Pure apart from that memory; never throws for any record.
 */

import { isDeepStrictEqual } from "node:util";
import type { Address } from "../../ipam/addresses/ip.ts";
import type { NamedNetworksView } from "../../ipam/named-networks/contracts.ts";
import type {
  HostId,
  HostMembers,
  HostRecord,
  Member,
  NamedNetwork,
  NetworkId,
} from "../../ipam/named-networks/named-network.ts";
import { fullBridge, MOST_PORTS } from "../attachment/full-bridge.ts";
import type { KernelObject } from "../state/kinds/registry.ts";
import type { Plan } from "../state/tracker.ts";
import { segmentDevices } from "./names.ts";
import {
  type LocalMembers,
  localMembers,
  memberProblem,
  planDevices,
  planLocalMember,
  planRemoteMember,
  planReplication,
  type SegmentFacts,
  type Underlay,
  underlayOf,
} from "./segment.ts";

/** A network that this host has members in. */
export interface PlannedSegment {
  readonly network: NamedNetwork;
  readonly mtuBytes: number;
  readonly localMembers: number;
  /** Of other hosts, and programmed. */
  readonly remoteMembers: number;
  /** Members and hosts that are left out, and why. One sentence each. */
  readonly problems: readonly string[];
}

export interface SegmentPlan {
  readonly plan: Plan;
  readonly segments: ReadonlyMap<NetworkId, PlannedSegment>;
}

type Groups = Map<string, readonly KernelObject[]>;

export class SegmentPlanner {
  #facts: SegmentFacts | null = null;
  readonly #memories = new Map<NetworkId, SegmentMemory>();

  /** The plan for a view and facts: a whole one at first and with other facts, else what differs from the plan before. */
  plan(view: NamedNetworksView, facts: SegmentFacts): SegmentPlan {
    const isWhole = facts !== this.#facts;
    if (isWhole) this.#memories.clear();
    this.#facts = facts;
    const groups: Groups = new Map();
    const segments = new Map<NetworkId, PlannedSegment>();
    for (const [id, network] of view.networks) {
      const members = view.members.get(id);
      const own = members?.get(facts.host);
      if (members === undefined || own === undefined || own.members.length === 0) continue;
      let memory = this.#memories.get(id);
      if (memory === undefined || !isDeepStrictEqual(memory.network, network)) {
        memory?.clear(groups);
        memory = new SegmentMemory(network, facts);
        this.#memories.set(id, memory);
      }
      segments.set(id, memory.plan(members, view.hosts, groups));
    }
    for (const [id, memory] of this.#memories) {
      if (segments.has(id)) continue;
      memory.clear(groups);
      this.#memories.delete(id);
    }
    return { plan: { type: isWhole ? "whole" : "delta", groups }, segments };
  }
}

/** The members of one host, as they were planned. */
interface HostMemory {
  readonly record: HostMembers;
  readonly remote: Address | null;
  readonly members: ReadonlyMap<string, MemberMemory>;
  readonly problems: readonly string[];
  readonly remoteCount: number;
}

interface MemberMemory {
  readonly member: Member;
  readonly problem: string | null;
}

class SegmentMemory {
  readonly network: NamedNetwork;
  readonly #facts: SegmentFacts;
  readonly #underlay: Underlay | null;
  readonly #hosts = new Map<HostId, HostMemory>();
  #local: LocalMembers = localMembers([]);
  #areDevicesPlanned = false;

  constructor(network: NamedNetwork, facts: SegmentFacts) {
    this.network = network;
    this.#facts = facts;
    this.#underlay = underlayOf(network, facts);
  }

  /** Adds what changed since the last call to `groups`. */
  plan(
    members: ReadonlyMap<HostId, HostMembers>,
    hosts: ReadonlyMap<HostId, HostRecord>,
    groups: Groups,
  ): PlannedSegment {
    const own = members.get(this.#facts.host)?.members ?? [];
    const underlay = this.#underlay;
    const common = { network: this.network, localMembers: own.length };
    if (underlay === null)
      return {
        ...common,
        mtuBytes: 0,
        remoteMembers: 0,
        problems: ["this host has no interface for tunnel packets"],
      };
    if (!this.#areDevicesPlanned) groups.set(this.#group(), planDevices(this.network, this.#facts, underlay));
    this.#areDevicesPlanned = true;
    this.#noteLocal(own);
    for (const [host, record] of members) {
      const remote = hosts.get(host)?.publicAddresses[underlay.family] ?? null;
      this.#planHost(host, record, remote, groups);
    }
    for (const [host, memory] of this.#hosts) {
      if (members.has(host)) continue;
      this.#clearHost(host, memory, groups);
      this.#hosts.delete(host);
    }
    const all = [...this.#hosts.values()];
    return {
      ...common,
      mtuBytes: underlay.mtuBytes,
      remoteMembers: all.reduce((sum, { remoteCount }) => sum + remoteCount, 0),
      problems: [
        ...(underlay.problem === null ? [] : [underlay.problem]),
        ...this.#portProblems(own.length),
        ...all.flatMap(({ problems }) => problems),
      ],
    };
  }

  /** Adds the removal of all that was planned to `groups`. */
  clear(groups: Groups): void {
    if (this.#areDevicesPlanned) groups.set(this.#group(), []);
    for (const [host, memory] of this.#hosts) this.#clearHost(host, memory, groups);
    this.#hosts.clear();
    this.#areDevicesPlanned = false;
  }

  /** Which members of other hosts collide depends on what this host has, so they are judged again when that changes. */
  #noteLocal(own: readonly Member[]): void {
    const local = localMembers(own);
    if (isDeepStrictEqual(local, this.#local)) return;
    this.#local = local;
    for (const [host, memory] of this.#hosts) this.#hosts.set(host, { ...memory, record: NO_RECORD });
  }

  #planHost(host: HostId, record: HostMembers, remote: Address | null, groups: Groups): void {
    const before = this.#hosts.get(host);
    const isSameRemote = before !== undefined && isSameAddress(before.remote, remote);
    if (isSameRemote && before.record === record) return;
    const isLocal = host === this.#facts.host;
    if (!isSameRemote && this.network.hasBroadcast && !isLocal)
      groups.set(this.#group(host), remote === null ? [] : planReplication(this.network, remote));
    const members = new Map<string, MemberMemory>();
    for (const member of record.members) {
      const known = isSameRemote ? before.members.get(member.endpoint) : undefined;
      members.set(member.endpoint, this.#planMember(host, member, remote, known, groups));
    }
    for (const endpoint of before?.members.keys() ?? [])
      if (!members.has(endpoint)) groups.set(this.#group(host, endpoint), []);
    this.#hosts.set(host, this.#hostMemory(record, remote, members, isLocal));
  }

  #planMember(
    host: HostId,
    member: Member,
    remote: Address | null,
    known: MemberMemory | undefined,
    groups: Groups,
  ): MemberMemory {
    const isLocal = host === this.#facts.host;
    const problem = isLocal ? null : memberProblem(this.network, member, this.#local);
    if (known !== undefined && known.problem === problem && isSameMember(known.member, member))
      return { member, problem };
    const isLeftOut = problem !== null || (!isLocal && remote === null);
    const name = this.#group(host, member.endpoint);
    if (isLeftOut) groups.set(name, []);
    else if (isLocal) groups.set(name, planLocalMember(this.network, member));
    else if (remote !== null)
      groups.set(name, planRemoteMember(this.network, member, remote, this.#underlay?.runsIpv6 === true));
    return { member, problem };
  }

  #hostMemory(
    record: HostMembers,
    remote: Address | null,
    members: ReadonlyMap<string, MemberMemory>,
    isLocal: boolean,
  ): HostMemory {
    const family = this.#underlay?.family;
    const bad = [...members.values()].filter(({ problem }) => problem !== null);
    const problems = bad.map(
      ({ member, problem }) => `container ${nameOf(member)} of host ${record.host} is left out: ${problem}`,
    );
    if (!isLocal && remote === null && members.size > 0)
      problems.push(
        `host ${record.host} has no public IPv${family} address, so its ${members.size} containers cannot be reached`,
      );
    const remoteCount = isLocal || remote === null ? 0 : members.size - bad.length;
    return { record, remote, members, problems, remoteCount };
  }

  #clearHost(host: HostId, { members }: HostMemory, groups: Groups): void {
    if (this.network.hasBroadcast) groups.set(this.#group(host), []);
    for (const endpoint of members.keys()) groups.set(this.#group(host, endpoint), []);
  }

  /** One port of the bridge is the tunnel's. */
  #portProblems(containers: number): readonly string[] {
    if (containers + 1 < MOST_PORTS) return [];
    const { bridge } = segmentDevices(this.network.vni);
    return [`bridge ${fullBridge(bridge)}: start other containers on another host`];
  }

  /** The name of a group: of the devices, of a host, or of a member. */
  #group(...path: readonly string[]): string {
    return [this.network.id, ...path].join(" ");
  }
}

/** Stands for a record that must be looked at again. */
const NO_RECORD = {} as HostMembers;

function nameOf({ names, endpoint }: Member): string {
  return names[0] ?? endpoint;
}

/** Names and container ids are nothing that the kernel knows. */
function isSameMember(a: Member, b: Member): boolean {
  return a === b || (a.mac === b.mac && isDeepStrictEqual(addressTexts(a), addressTexts(b)));
}

function addressTexts({ addresses }: Member): readonly string[] {
  return Object.values(addresses).map(String);
}

function isSameAddress(a: Address | null, b: Address | null): boolean {
  return a === null || b === null ? a === b : a.equals(b);
}
