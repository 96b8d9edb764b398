/**
 * What WireGuard's messages of both hosts tell, whose contents cannot be read. Pure.
 *
 * A host answers an initiation only if it knows the key of the sender, its own key is the one that the sender used, and the
 * initiation is newer than the last one. It does not need the PSK for that: the sender of the initiation rejects an answer
 * that was made with another one (WireGuard, section 5.4). A host that has answered starts no handshake for five seconds
 * (wg_packet_send_handshake_initiation in drivers/net/wireguard/send.c), so mostly one of the two starts all.
 */

import type { WireguardMessage } from "../../backends/probe/tunnel-packet.ts";
import { type Cause, causeOf } from "./causes.ts";

/** Messages of each type that were seen. */
export type MessageCounts = Readonly<Record<WireguardMessage, number>>;

export interface Handshakes {
  /** After all firewall rules of this host. */
  readonly sent: MessageCounts;
  /** Before any of them. */
  readonly received: MessageCounts;
}

export type HandshakeFault =
  /** Each host accepts the initiations of the other one and rejects its answers. */
  | "PSK differs"
  /** Answers of the peer arrive and complete nothing: another PSK, or a firewall of this host. */
  | "not accepted here"
  /** Answers of the peer show that the keys fit, and this host answers none of its initiations. */
  | "dropped here"
  /** The peer's initiations are accepted here, so the keys fit; those of this host stay without an answer. */
  | "lost to peer"
  /** The peer repeats initiations that this host answers: the answers are lost, or the PSK is another one. */
  | "not completed by peer"
  /** Initiations of the peer arrive: another key or clock, or a firewall of this host. */
  | "not answered here";

/** Null where the messages do not tell. */
export function handshakeFault({ sent, received }: Handshakes): HandshakeFault | null {
  // A session exists here, or did some minutes ago: then handshakes are few.
  if (sent.data > 0) return null;
  if (received.response > 0) {
    if (sent.response > 0) return "PSK differs";
    return received.initiation > 0 ? "dropped here" : "not accepted here";
  }
  if (received.initiation === 0) return null;
  if (sent.response === 0) return "not answered here";
  return sent.initiation > 0 ? "lost to peer" : "not completed by peer";
}

/** Those faults that packets lost on the way do not explain. */
export function handshakeCause(fault: HandshakeFault | null, interfaceName: string | null): Cause | null {
  if (fault === "PSK differs")
    return causeOf(
      "tunnel-mismatch",
      "answers handshakes of this host, as this host answers its own, and none completes: the PSKs differ",
    );
  // No firewall on the way drops them: they arrive.
  if (fault === "not accepted here")
    return causeOf(
      "tunnel-mismatch",
      "answers handshakes of this host, and none completes: the PSKs differ, or this host's firewall drops the answers",
    );
  if (fault === "dropped here")
    return causeOf(
      "local-firewall",
      `handshakes and answers of the peer arrive at ${interfaceName} and are dropped on this host`,
      "from peer",
    );
  return null;
}
