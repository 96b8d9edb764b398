/**
 * The interface to the kernel: read, change, subscribe. Implemented over rtnetlink, and by a fake for tests.
 *
 * Contract, checked for both by test/conformance/kernel-port:
 *  - dump reports every object that is visible in the scope (see isVisible), and nothing else;
 *  - apply runs the changes in the given order and answers one result for each, in the same order; an error
 *    of one does not stop the others. Deleting what is absent is a success. Creating what exists is an error with errno
 *    EEXIST, unless it is a device of ours, whose settings are set then;
 *  - events may be late, doubled or echo our own changes, but nothing that happened after subscribe() is
 *    lost without a `resync` event, with a `host` event for each shared device. What the kernel does not announce comes in
 *    a `listing` some seconds later.
 */

import type { TulleError } from "../../ipam/errors.ts";
import type { ObjectKey, Scope } from "../state/contract/kind.ts";
import type { Change } from "../state/diff.ts";
import type { KernelObject, ObjectKind } from "../state/kinds/registry.ts";

/** The netlink port id that requested a change; 0 or absent when the kernel made it or does not report one. */
type By = { readonly by?: number };

export type KernelEvent =
  | ({ readonly type: "present"; readonly object: KernelObject } & By)
  | ({ readonly type: "absent"; readonly key: ObjectKey } & By)
  /** The device is gone, or another one under its name: nothing known about it holds any more. */
  | ({ readonly type: "device-gone"; readonly device: string } & By)
  /** All that a device has of these kinds, whose changes the kernel does not announce. */
  | {
      readonly type: "listing";
      readonly device: string;
      readonly kinds: readonly ObjectKind[];
      readonly objects: readonly KernelObject[];
    }
  /** What is known is incomplete; only a dump helps. */
  | { readonly type: "resync"; readonly reason: string }
  /** An interface, an address or a default route of the host changed, or may have: read the host's facts again. */
  | { readonly type: "host"; readonly device: string };

export type ChangeResult = TulleError | null;

export interface KernelPort {
  /** Reports everything visible in `scope`. */
  dump(scope: Scope): Promise<readonly KernelObject[]>;
  /** Applies in order; one result per change, null for success. Never rejects for a single change. */
  apply(changes: readonly Change[]): Promise<readonly ChangeResult[]>;
  /**
   * Passes to `listener` what happens in `scope()` from now on, in the kernel's order; one for each network. Returns
   * what ends the subscription.
   */
  subscribe(scope: () => Scope, listener: (events: readonly KernelEvent[]) => void): () => void;
  /** Reads and delivers all pending notifications before it returns. */
  drain(): void;
  /** Names the program behind a netlink port id for people; null when it is unknown. */
  programOf(by: number): string | null;
  /** Ends all subscriptions and frees what is held. Idempotent. */
  close(): void;
}
