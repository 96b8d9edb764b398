/**
 * Whole folders of etcd, read page by page at one revision.
 *
 * Pages keep each answer small whatever the network's size; nothing outside the folder is ever read.
 */

import type * as Rpc from "etcd3/lib/rpc.js";
import type { Layout } from "../layout.ts";
import type { StoreListing } from "../store.ts";
import type { EtcdClient } from "./client.ts";
import { isHistoryGone } from "./errors.ts";
import { entryOf, rangeOf } from "./wire.ts";

/** Half a megabyte of usual leases. */
const PAGE_KEYS = 2_000;

/** A listing whose revision is compacted between two pages begins anew, this often. */
const ATTEMPTS = 3;

/** What etcd said of a network. */
export interface EtcdListing {
  readonly revision: bigint;
  /** The leases. */
  readonly kvs: readonly Rpc.IKeyValue[];
  readonly config: string | null;
}

/** The leases and the configuration at one revision: a single round trip for a network of one page. */
export async function listNetwork(
  client: EtcdClient,
  layout: Layout,
  signal: AbortSignal,
): Promise<EtcdListing> {
  const range = { ...rangeOf(layout.subnets), limit: PAGE_KEYS };
  const success = [{ request_range: range }, { request_range: { key: Buffer.from(layout.config) } }];
  return await retried(async () => {
    const answer = await client.read("KV", "txn", { success }, signal);
    const [subnets, config] = answer.responses.map((response) => response.response_range);
    const { revision } = answer.header;
    const kvs = subnets ? await withLaterPages(client, range, subnets, revision, signal) : [];
    return { revision: BigInt(revision), kvs, config: config?.kvs[0]?.value.toString() ?? null };
  });
}

export function listingOf({ revision, kvs, config }: EtcdListing, layout: Layout): StoreListing {
  return { revision, entries: kvs.map((kv) => entryOf(kv, layout.subnets)), config };
}

/** All keys of a folder at one revision. */
export async function listFolder(
  client: EtcdClient,
  folder: string,
  signal: AbortSignal,
): Promise<readonly Rpc.IKeyValue[]> {
  const range = { ...rangeOf(folder), limit: PAGE_KEYS };
  return await retried(async () => {
    const page = await client.read("KV", "range", range, signal);
    return await withLaterPages(client, range, page, page.header.revision, signal);
  });
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

async function retried<T>(list: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await list();
    } catch (error) {
      if (attempt === ATTEMPTS || !isHistoryGone(error)) throw error;
    }
  }
}
