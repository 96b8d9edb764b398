/**
 * Asks another host for an address that it holds unused, and answers such requests.
 *
 * A request is a leased record below the holder's folder, which the holder watches. The answer replaces it: an address,
 * which the store shows as the requester's by then, or why there is none.
 */

import { Address, FAMILIES, type Family } from "../addresses/ip.ts";
import type { Clock } from "../clock.ts";
import { CodecError, ConflictError } from "../errors.ts";
import { boundText } from "../escape.ts";
import { errorFields, type Logger } from "../log.ts";
import { isOutcomeUnknown } from "../stores/answers.ts";
import type { Records, StoreEntry } from "../stores/contracts.ts";
import type { Holder } from "./address-records.ts";
import { addressOf, parseObject, textField } from "./fields.ts";
import type { HostId, NetworkId } from "./named-network.ts";
import { parseWantedRecord, wantedFolder, wantedRecord } from "./record-names.ts";

/** Of a request that nothing answers, and of an answer that is not read. */
const TTL_SECONDS = 30;
/** How long an answer is waited for: a container's start waits as well. */
const ANSWER_MS = 1_200;
const POLL_MS = 25;
const MAX_REASON = 300;
const MAX_NAME = 253;

/** One address, or any of a family. */
export type Wanted = Address | Family;

/** What became of a request. */
export type Answer = { readonly address: Address } | { readonly refusal: string };

export interface HandoverOptions {
  readonly records: Records;
  readonly self: Holder;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Gives the address, or any, to another host in the store. Rejects with StoreError. */
  readonly handOver: (network: NetworkId, wanted: Wanted, to: Holder, signal: AbortSignal) => Promise<Answer>;
}

export class Handover {
  readonly #options: HandoverOptions;

  constructor(options: HandoverOptions) {
    this.#options = options;
  }

  /** Asks `holder` and waits for its answer; a host that does not answer counts as a refusal. Throws StoreError. */
  async ask(holder: HostId, network: NetworkId, wanted: Wanted, signal: AbortSignal): Promise<Answer> {
    const { records, self, clock } = this.#options;
    const what = wanted instanceof Address ? wanted.toString() : `any${wanted}`;
    const name = wantedRecord({ holder, requester: self.host, network, what });
    const text = JSON.stringify({ host: self.host, name: self.name });
    const endMs = clock.monotonicMs() + ANSWER_MS;
    let entry = await records.write(name, text, await records.read(name, signal), signal, TTL_SECONDS);
    try {
      while (clock.monotonicMs() < endMs) {
        await clock.sleep(POLL_MS, signal);
        const found = await records.read(name, signal);
        if (found === null) break;
        entry = found;
        const answer = answerOf(entry.value);
        if (answer !== null) return answer;
      }
      return { refusal: "that host does not answer" };
    } finally {
      await this.#discard(entry);
    }
  }

  /** Answers requests of other hosts until the signal fires. */
  async serve(signal: AbortSignal): Promise<void> {
    const { records, self } = this.#options;
    for await (const message of records.watch(wantedFolder(self.host), signal)) {
      const entries =
        message.type === "list"
          ? message.entries
          : message.changes.flatMap((change) => (change.type === "put" ? change.entry : []));
      await Promise.all(entries.map((entry) => this.#answer(entry, signal)));
    }
  }

  async #answer(entry: StoreEntry, signal: AbortSignal): Promise<void> {
    const { records, logger } = this.#options;
    try {
      const request = requestOf(entry);
      if (request === null) return;
      const { network, wanted, from } = request;
      const answer = await this.#options.handOver(network, wanted, from, signal);
      const text = JSON.stringify({ host: from.host, name: from.name, ...encodeAnswer(answer) });
      await records.write(entry.key, text, entry, signal, TTL_SECONDS);
    } catch (error) {
      if (signal.aborted || error instanceof ConflictError || isOutcomeUnknown(error)) return;
      logger.warn("request for an address was not answered", { record: entry.key, ...errorFields(error) });
    }
  }

  /** The record expires in any case. */
  async #discard(entry: StoreEntry): Promise<void> {
    try {
      await this.#options.records.remove(entry, AbortSignal.timeout(ANSWER_MS));
    } catch (error) {
      this.#options.logger.debug("request for an address stays until it expires", {
        record: entry.key,
        ...errorFields(error),
      });
    }
  }
}

interface Request {
  readonly network: NetworkId;
  readonly wanted: Wanted;
  readonly from: Holder;
}

/** Null for what is answered already. Throws CodecError for a record that is not a request. */
function requestOf({ key, value }: StoreEntry): Request | null {
  const name = parseWantedRecord(key);
  if (name === null) throw new CodecError("its name is not of a request");
  const root = parseObject(value);
  if (answerOf(value) !== null) return null;
  const family = FAMILIES.find((each) => `any${each}` === name.what);
  const wanted = family ?? addressOf(name.what, "the wanted address");
  return {
    network: name.network,
    wanted,
    from: { host: name.requester, name: textField(root, "name", MAX_NAME) },
  };
}

function encodeAnswer(answer: Answer): object {
  return "address" in answer ? { address: answer.address.toString() } : { refusal: answer.refusal };
}

/** Null when there is none yet. Throws CodecError. */
function answerOf(text: string): Answer | null {
  const root = parseObject(text);
  if (root.address !== undefined) return { address: addressOf(root.address, "address") };
  if (typeof root.refusal === "string") return { refusal: boundText(root.refusal, MAX_REASON) };
  return null;
}
