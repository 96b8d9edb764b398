/**
 * Watches for tunnel packets to and from the few hosts whose paths are being examined: which leave this host, which arrive,
 * and what the network reports of them.
 *
 * At most 16 hosts at a time: the filter in the kernel costs each packet of the interface some nanoseconds per host. With
 * more broken paths the hosts take turns.
 */

import { NetlinkError } from "../../backends/netlink/errors.ts";
import type { LinkAnswer } from "../../backends/probe/link-answer.ts";
import type {
  FrameAddresses,
  InnerPacket,
  TunnelKind,
  TunnelPacket,
} from "../../backends/probe/tunnel-packet.ts";
import { type TapEvent, TunnelTap } from "../../backends/probe/tunnel-tap.ts";
import type { Address, Family } from "../../ipam/addresses/ip.ts";
import { CLOSED_PORT } from "./closed-port.ts";
import type { TunnelNotice } from "./echo-line.ts";
import type { Handshakes, MessageCounts } from "./handshakes.ts";
import type { ProbeTarget } from "./probe.ts";
import { StreamProgress } from "./stream-progress.ts";

/** What was seen of a target's tunnel packets on the interface. */
export interface TunnelEvidence {
  /** To the target, after all firewall rules of this host. */
  readonly sent: number;
  /** From the target, before any of them. */
  readonly received: number;
  /** Of these, answers of the target's own address to probes. */
  readonly answers: number;
  /** Of these, refused connections. */
  readonly refusals: number;
  /** Of these, such as show that connections of containers go on: what this host sends arrives. */
  readonly flows: number;
  /** Null for tunnels other than WireGuard. */
  readonly handshakes: Handshakes | null;
  /**
   * What the target's packets have otherwise than this host expects: port, VNI or hardware address, as in "with VNI 2 instead of
   * 1"; null: nothing.
   */
  readonly mismatch: string | null;
  /** Where packets from the target's inner address come from, if not from its public address. */
  readonly otherSource: Address | null;
  /** Hardware addresses that answered for its address on the link, or its router's; null when the link was not asked, for IPv6 also without an answer. */
  readonly macs: readonly string[] | null;
  /** Since when answers are looked for; monotonic, null when `macs` is. */
  readonly askedMs: number | null;
  readonly rejection: Rejection | null;
}

/** An error that the network sent for a tunnel packet. */
export interface Rejection {
  readonly from: Address;
  /** As in "port unreachable". */
  readonly text: string;
}

const MOST_HOSTS = 16;
/** A host keeps its place for this long when others wait. */
const TURN_MS = 12_000;
/** Events read at once; the socket holds fewer. It is read only when a path is judged, so that traffic costs nothing else. */
const MOST_READ = 1_024;

/** Counts of packets, as in TunnelEvidence. */
interface Received {
  received: number;
  answers: number;
  refusals: number;
  flows: number;
}

const NO_PACKETS: Readonly<Received> = { received: 0, answers: 0, refusals: 0, flows: 0 };

type Messages = { -readonly [Type in keyof MessageCounts]: number };

interface Entry {
  readonly target: ProbeTarget;
  /** What the link is asked for: the target's public address, or that of the router which leads to it. */
  readonly onLink: Address;
  readonly kind: TunnelKind;
  readonly sinceMs: number;
  readonly streams: StreamProgress;
  readonly handshakes: { readonly sent: Messages; readonly received: Messages };
  sent: number;
  /** By VNI: other networks of both hosts may use the same port. */
  readonly received: Map<number | null, Received>;
  sentVni: number | null;
  otherVni: number | null;
  otherPort: number | null;
  /** Of the last frames between this host's tunnel device and the target's. */
  sentFrame: FrameAddresses | null;
  receivedFrame: FrameAddresses | null;
  otherSource: Address | null;
  macs: Set<string> | null;
  askedMs: number | null;
  rejection: Rejection | null;
}

export interface TunnelWatchOptions {
  /** The interface that carries the tunnel, null when there is none at the moment. */
  readonly interfaceOf: (family: Family) => number | null;
  /** This host's address on it; null for none. */
  readonly sourceOf: (family: Family) => Address | null;
  /** Monotonic, in milliseconds. */
  readonly now: () => number;
}

export class TunnelWatch {
  readonly #options: TunnelWatchOptions;
  /** By target. */
  readonly #entries = new Map<string, Entry>();
  /** By the index of the interface. */
  readonly #taps = new Map<number, TunnelTap>();

  constructor(options: TunnelWatchOptions) {
    this.#options = options;
  }

  /** Begins to look at a target's packets, if there is a place; forgets what was seen before. */
  begin(target: ProbeTarget, onLink = target.outer): void {
    const { tunnelKind: kind, id } = target;
    if (kind === null) return;
    this.#receiveAll();
    this.#entries.delete(id);
    if (this.#entries.size >= MOST_HOSTS && !this.#makePlace()) return;
    this.#entries.set(id, newEntry(target, onLink, kind, this.#options.now()));
    this.#follow();
  }

  /** The same without forgetting, for a target that has been looked at and may have lost its place. */
  renew(target: ProbeTarget, onLink = target.outer): void {
    if (this.#entries.get(target.id)?.onLink.equals(onLink) !== true) this.begin(target, onLink);
  }

  /** Asks the link who has the target's public address, or the router's. */
  askWho({ id, outer }: ProbeTarget): void {
    const index = this.#options.interfaceOf(outer.family);
    const source = this.#options.sourceOf(outer.family);
    const tap = index === null ? undefined : this.#taps.get(index);
    const entry = this.#entries.get(id);
    if (outer.family !== 4 || source === null || entry === undefined || tap === undefined) return;
    attempt(() => {
      tap.askWho(entry.onLink, source);
      entry.macs ??= new Set();
      entry.askedMs ??= this.#options.now();
    });
  }

  /** What was seen since `begin`; null where it was not looked. */
  evidence({ id }: ProbeTarget): TunnelEvidence | null {
    this.#receiveAll();
    const entry = this.#entries.get(id);
    const index = entry === undefined ? null : this.#options.interfaceOf(entry.target.outer.family);
    return entry === undefined || index === null || !this.#taps.has(index) ? null : evidenceOf(entry);
  }

  /** Whether other targets have all the places. */
  isWaiting({ id, tunnelKind }: ProbeTarget): boolean {
    return tunnelKind !== null && !this.#entries.has(id);
  }

  end({ id }: ProbeTarget): void {
    if (this.#entries.delete(id)) this.#follow();
  }

  /** Takes what the network reports of a tunnel packet. */
  notice({ from, target, port, text }: TunnelNotice): void {
    for (const entry of this.#entries.values()) {
      if (entry.kind.port === port && entry.target.outer.equals(target)) entry.rejection = { from, text };
    }
  }

  /** Call it once. */
  close(): void {
    this.#entries.clear();
    for (const tap of this.#taps.values()) tap.close();
    this.#taps.clear();
  }

  /** Ends the turn of the host that has looked longest. */
  #makePlace(): boolean {
    const [oldest] = this.#entries;
    if (oldest === undefined || oldest[1].sinceMs > this.#options.now() - TURN_MS) return false;
    return this.#entries.delete(oldest[0]);
  }

  #follow(): void {
    const groups = new Map<number, readonly Entry[]>();
    for (const entry of this.#entries.values()) {
      const index = this.#options.interfaceOf(entry.target.outer.family);
      if (index !== null) groups.set(index, [...(groups.get(index) ?? []), entry]);
    }
    for (const [index, tap] of this.#taps) {
      if (groups.has(index)) continue;
      tap.close();
      this.#taps.delete(index);
    }
    for (const [index, entries] of groups) {
      const hosts = entries.map(({ target: { outer, inner }, onLink, kind }) => ({
        ...{ outer, inner, onLink, tunnel: kind },
      }));
      attempt(() => this.#tapOf(index).follow(hosts));
    }
  }

  #tapOf(index: number): TunnelTap {
    const present = this.#taps.get(index);
    if (present !== undefined) return present;
    const tap = TunnelTap.open(index);
    this.#taps.set(index, tap);
    return tap;
  }

  #receiveAll(): void {
    for (const tap of this.#taps.values()) this.#receive(tap);
  }

  #receive(tap: TunnelTap): void {
    attempt(() => {
      for (let count = 0; count < MOST_READ; count++) {
        const event = tap.receive();
        if (event === null) return;
        this.#note(event);
      }
    });
  }

  #note(event: TapEvent): void {
    for (const entry of this.#entries.values()) {
      if (event.type === "link answer") noteAnswer(entry, event);
      else if (event.isOutgoing) noteSent(entry, event.packet);
      else noteReceived(entry, event.packet);
    }
  }
}

function newEntry(target: ProbeTarget, onLink: Address, kind: TunnelKind, sinceMs: number): Entry {
  return {
    ...{ target, onLink, kind, sinceMs, sent: 0, received: new Map(), streams: new StreamProgress() },
    handshakes: { sent: noMessages(), received: noMessages() },
    ...{ sentVni: null, otherVni: null, otherPort: null, otherSource: null },
    ...{ sentFrame: null, receivedFrame: null },
    ...{ macs: null, askedMs: null, rejection: null },
  };
}

function noMessages(): Messages {
  return { initiation: 0, response: 0, cookie: 0, data: 0 };
}

/** Without CAP_NET_RAW, or on an interface that has gone, nothing is seen. */
function attempt(action: () => void): void {
  try {
    action();
  } catch (error) {
    if (!(error instanceof NetlinkError)) throw error;
  }
}

/** The kernel itself asks for IPv6 addresses. */
function noteAnswer(entry: Entry, { address, mac }: LinkAnswer): void {
  if (!entry.onLink.equals(address)) return;
  if (address.family === 6 && entry.macs === null) {
    entry.macs = new Set();
    entry.askedMs = entry.sinceMs;
  }
  entry.macs?.add(mac);
}

function noteSent(entry: Entry, { destination, vni, port, frame, inner, message }: TunnelPacket): void {
  if (!destination.equals(entry.target.outer) || port !== entry.kind.port) return;
  if (inner !== null && inner.source.family !== entry.target.family) return;
  entry.sent += 1;
  entry.sentVni = vni;
  if (inner?.destination.equals(entry.target.inner)) entry.sentFrame = frame;
  if (message !== null) entry.handshakes.sent[message] += 1;
}

function noteReceived(entry: Entry, { source, vni, port, frame, inner, message }: TunnelPacket): void {
  const { target, kind } = entry;
  if (inner !== null && inner.source.family !== target.family) return;
  const isOwn = inner?.source.equals(target.inner) ?? false;
  if (!source.equals(target.outer)) {
    if (isOwn) entry.otherSource = source;
    return;
  }
  // What is inside tells this network's packets from those of another one.
  if (isOwn) entry.otherPort = port === kind.port ? null : port;
  if (port !== kind.port) return;
  if (isOwn) {
    entry.otherVni = vni;
    entry.receivedFrame = frame;
  }
  const counts = entry.received.get(vni) ?? { ...NO_PACKETS };
  entry.received.set(vni, counts);
  counts.received += 1;
  if (message !== null) entry.handshakes.received[message] += 1;
  if (inner === null) return;
  if (isOwn && isProbeAnswer(inner)) {
    counts.answers += 1;
    if (!inner.isEchoReply) counts.refusals += 1;
  } else if (isProgress(entry, inner)) counts.flows += 1;
}

/** Programs of the peer's host use that address too. */
function isProbeAnswer({ isEchoReply, segment }: InnerPacket): boolean {
  return isEchoReply || segment?.sourcePort === CLOSED_PORT;
}

/** Something from here has arrived at the peer. */
function isProgress({ streams }: Entry, inner: InnerPacket): boolean {
  const { isEchoReply, segment } = inner;
  if (segment === null) return isEchoReply;
  // A refused connection: it acknowledges a request, and has sent nothing.
  return (segment.isReset && segment.sequence === 0) || streams.isNew(inner, segment);
}

function evidenceOf(entry: Entry): TunnelEvidence {
  const { kind, handshakes, sent, sentVni, otherVni, otherSource, macs, askedMs, rejection } = entry;
  // To a host that the link does not know nothing is sent, and its packets tell the VNI.
  const counts = entry.received.get(sentVni ?? otherVni) ?? { ...NO_PACKETS };
  return {
    sent,
    ...counts,
    handshakes: kind.format === "opaque" ? handshakes : null,
    otherSource,
    macs: macs === null ? null : [...macs],
    askedMs,
    rejection,
    mismatch: mismatchOf(entry),
  };
}

function mismatchOf({ kind, sentVni, otherVni, otherPort, sentFrame, receivedFrame }: Entry): string | null {
  if (otherPort !== null) return `with UDP port ${otherPort} instead of ${kind.port}`;
  if (otherVni !== null && sentVni !== null && otherVni !== sentVni)
    return `with VNI ${otherVni} instead of ${sentVni}`;
  if (sentFrame === null || receivedFrame === null) return null;
  if (receivedFrame.destination !== sentFrame.source)
    return `to the hardware address ${receivedFrame.destination}, and this host's tunnel device has ${sentFrame.source}`;
  if (receivedFrame.source !== sentFrame.destination)
    return `from the hardware address ${receivedFrame.source}, and its lease names ${sentFrame.destination}`;
  return null;
}
