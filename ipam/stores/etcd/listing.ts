/**
 * Ranges of etcd's keys, read page by page at one revision.
 *
 * Pages keep each answer small whatever the network's size; nothing outside the ranges is read.
 */

import type * as Rpc from "etcd3/lib/rpc.js";
import type { KeyListing } from "../key-value.ts";
import type { EtcdClient } from "./client.ts";
import { isHistoryGone } from "./errors.ts";
import { entryOf, rangeOf } from "./wire.ts";

/** Half a megabyte of usual leases. */
const PAGE_KEYS = 2_000;

/** A listing whose revision is compacted between two pages is started again, up to this many attempts. */
const ATTEMPTS = 3;

export interface EtcdListing {
  readonly revision: bigint;
  readonly kvs: readonly Rpc.IKeyValue[];
}

/** The keys of `ranges` at one revision: a single round trip for ranges of one page. */
export async function listRanges(
  client: EtcdClient,
  ranges: readonly string[],
  signal: AbortSignal,
): Promise<EtcdListing> {
  const requests = ranges.map((range) => ({ ...rangeOf(range), limit: PAGE_KEYS }));
  for (let attempt = 1; ; attempt += 1) {
    try {
      const success = requests.map((request_range) => ({ request_range }));
      const { header, responses } = await client.read("KV", "txn", { success }, signal);
      const kvs: Rpc.IKeyValue[] = [];
      for (const [index, request] of requests.entries()) {
        const first = responses[index]?.response_range;
        if (first) kvs.push(...(await withLaterPages(client, request, first, header.revision, signal)));
      }
      return { revision: BigInt(header.revision), kvs };
    } catch (error) {
      if (attempt === ATTEMPTS || !isHistoryGone(error)) throw error;
    }
  }
}

export function listingOf({ revision, kvs }: EtcdListing): KeyListing {
  return { revision, entries: kvs.map(entryOf) };
}

async function withLaterPages(
  client: EtcdClient,
  range: Rpc.IRangeRequest,
  first: Rpc.IRangeResponse,
  revision: string,
  signal: AbortSignal,
): Promise<readonly Rpc.IKeyValue[]> {
  const kvs = [...first.kvs];
  let page = first;
  while (page.more) {
    const last = kvs.at(-1);
    if (!last) break;
    const key = Buffer.concat([last.key, Buffer.of(0)]);
    page = await client.read("KV", "range", { ...range, key, revision }, signal);
    kvs.push(...page.kvs);
  }
  return kvs;
}
