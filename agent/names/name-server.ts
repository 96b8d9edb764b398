/**
 * The name server for the containers of this host: names of named networks for those that are on them, and everything
 * else from the host's resolvers. Answers from the view in memory, so the store may be away.
 *
 * Nothing answers to the outside: packets that come in by another interface than a bridge of containers or the loopback
 * interface never reach the sockets, and a source that is not on such a bridge gets no answer.
 */

import { Address } from "../../ipam/addresses/ip.ts";
import { Backoff, type Clock, pause, Sleep } from "../../ipam/clock.ts";
import { errorMessage } from "../../ipam/errors.ts";
import { FailureSeries, type Logger } from "../../ipam/log.ts";
import type { NamedNetworksView } from "../../ipam/named-networks/contracts.ts";
import { answerFromView } from "./answer.ts";
import type { NameClients } from "./clients.ts";
import type { Forwarder } from "./forwarder.ts";
import { type Listener, listenTcp, listenUdp } from "./listeners.ts";
import { isLocalSource, type LocalSources, NO_SOURCES } from "./local-sources.ts";
import { encodeAnswer, readQuery, type Transport } from "./message.ts";
import { DNS_PORT, NAME_SERVER } from "./name-server-address.ts";

export interface NameServerOptions {
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
  readonly view: () => Pick<NamedNetworksView, "networks" | "members">;
  readonly clients: NameClients;
  readonly forwarder: Pick<Forwarder, "ask" | "open">;
  /** Reads the host's interfaces. */
  readonly readSources: () => LocalSources;
}

export interface NameServerStatus {
  readonly address: Address;
  /** Why nothing is served now; null when it is. */
  readonly problem: string | null;
  /** Since the start. */
  readonly answered: number;
  readonly forwarded: number;
  /** From a source outside of the bridges of containers. */
  readonly dropped: number;
}

/** Changes of the host's interfaces come in bursts. */
const SETTLE_MS = 50;
/** How often the host is examined without a notification: the kernel may drop some (ENOBUFS). */
const AUDIT_MS = 60_000;

export class NameServer {
  readonly #options: NameServerOptions;
  readonly #failures: FailureSeries;
  readonly #sleep: Sleep;
  #sources: LocalSources = NO_SOURCES;
  #listeners: readonly Listener[] = [];
  #problem: string | null = "not started";
  #isChanged = false;
  #isBroken = false;
  #turn = 0;
  #answered = 0;
  #forwarded = 0;
  #dropped = 0;

  constructor(options: NameServerOptions) {
    this.#options = options;
    this.#sleep = new Sleep(options.clock);
    this.#failures = new FailureSeries(
      options.logger,
      "names of named networks are not served; retried",
      "names of named networks are served again",
    );
  }

  get status(): NameServerStatus {
    return {
      address: NAME_SERVER,
      problem: this.#problem,
      answered: this.#answered,
      forwarded: this.#forwarded,
      dropped: this.#dropped,
    };
  }

  /** An interface or an address of the host changed. */
  hostChanged(): void {
    this.#isChanged = true;
    this.#sleep.wake();
  }

  /** Serves until `signal` fires. Never rejects: what fails is retried. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, random } = this.#options;
    const backoff = new Backoff({ baseMs: 500, maxMs: 10_000, random });
    while (!signal.aborted) {
      try {
        this.#follow();
        this.#problem = null;
        this.#failures.succeeded();
        backoff.reset();
      } catch (error) {
        this.#close();
        this.#problem = errorMessage(error);
        this.#failures.failed(error);
      }
      await this.#untilChange(this.#problem === null ? AUDIT_MS : backoff.nextMs(), signal);
      await pause(clock, SETTLE_MS, signal);
    }
    this.#close();
    this.#problem = "stopped";
  }

  /** The answer to a message; null for none. Never rejects. */
  async handle(message: Buffer, source: string, transport: Transport): Promise<Buffer | null> {
    const client = Address.parseOrNull(source);
    if (client === null || !isLocalSource(this.#sources, client)) {
      this.#dropped += 1;
      return null;
    }
    const read = readQuery(message);
    if (read.query === null) return read.error;
    const { query } = read;
    const { view, clients, forwarder } = this.#options;
    const answer = () =>
      answerFromView(view(), query, {
        networks: clients.clientOf(client)?.networks ?? [],
        turn: this.#turn,
      });
    let records = answer();
    if (records === null && (await clients.untilKnown?.(client))) records = answer();
    if (records === null) {
      this.#forwarded += 1;
      return await forwarder.ask(query, transport, source);
    }
    this.#turn = (this.#turn + 1) % 0x10000;
    this.#answered += 1;
    return encodeAnswer(query, records, transport);
  }

  /** Brings sockets and sources up to date with the host. Throws NetlinkError. */
  #follow(): void {
    this.#isChanged = false;
    const sources = this.#options.readSources();
    this.#sources = sources;
    if (this.#isBroken) this.#close();
    if (this.#listeners.length === 0) this.#open(sources);
    else for (const listener of this.#listeners) listener.setInterfaces(sources.interfaces);
  }

  #open({ interfaces }: LocalSources): void {
    const options = {
      address: NAME_SERVER,
      port: DNS_PORT,
      interfaces,
      handler: (message: Buffer, source: string, transport: Transport) =>
        this.handle(message, source, transport),
      onError: (error: unknown) => {
        this.#isBroken = true;
        this.#problem = errorMessage(error);
        this.#failures.failed(error);
        this.hostChanged();
      },
    };
    this.#listeners = [listenUdp(options)];
    this.#listeners = [...this.#listeners, listenTcp(options)];
    this.#options.logger.info("names of named networks are served", { address: NAME_SERVER.toString() });
  }

  #close(): void {
    for (const listener of this.#listeners) listener.close();
    this.#listeners = [];
    this.#isBroken = false;
  }

  async #untilChange(ms: number, signal: AbortSignal): Promise<void> {
    if (!this.#isChanged) await this.#sleep.for(ms, signal);
  }
}
