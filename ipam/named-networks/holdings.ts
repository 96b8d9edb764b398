/**
 * The addresses of one network that this host holds: given to an endpoint, or in reserve.
 *
 * The file is what makes a restart safe. A change that hands an address to another host counts once it is on the disk;
 * one that hands it to an endpoint, once it is in the file, because a power cut that brings the former file back ends the
 * container too. What only takes an address back may be lost in a crash, because the comparison with the containers and
 * with the store finds it again.
 */

import { join } from "node:path";
import { Address, type Family } from "../addresses/ip.ts";
import { CodecError, errorMessage } from "../errors.ts";
import { removeIfPresent } from "../files/folder.ts";
import { readOwnFile } from "../files/read.ts";
import { replaceFile, replaceFileSync } from "../files/write.ts";
import { isJsonObject, type JsonValue } from "../json.ts";
import type { Logger } from "../log.ts";
import { SharedTurns } from "../turns.ts";
import { flagField, listField, parseObject, textField } from "./fields.ts";
import type { NamedNetwork } from "./named-network.ts";
import { decodeNetwork, encodeNetwork } from "./network-codec.ts";

const MAX_BYTES = 16 << 20;
const MAX_ENTRIES = 200_000;
const MAX_ENDPOINT = 200;

interface Holding {
  readonly address: Address;
  readonly isGiven: boolean;
  /** Of the container's interface; null in reserve, and where the engine names none. */
  readonly endpoint: string | null;
}

export class Holdings {
  readonly #path: string;
  #network: NamedNetwork;
  /** By the address's text; the reserve in the order in which it is to be given. */
  readonly #holdings: Map<string, Holding>;
  #isComplete: boolean;
  readonly #writes = new SharedTurns();
  #isNextDurable = false;
  #isOnDisk = true;

  private constructor(
    path: string,
    network: NamedNetwork,
    holdings: readonly Holding[],
    isComplete: boolean,
  ) {
    this.#path = path;
    this.#network = network;
    this.#holdings = new Map(holdings.map((each) => [each.address.toString(), each]));
    this.#isComplete = isComplete;
  }

  /** Without a file: what the store says this host holds is taken for given until the engine was asked. */
  static empty(folder: string, network: NamedNetwork): Holdings {
    return new Holdings(pathIn(folder, network), network, [], false);
  }

  /** Reads one file of the folder; null, with a warning, when it is damaged. */
  static read(folder: string, name: string, logger: Logger): Holdings | null {
    const path = join(folder, name);
    try {
      const text = readOwnFile(path, MAX_BYTES);
      if (text === null) return null;
      const root = parseObject(text);
      const network = decodeNetwork(root.network ?? null);
      const holdings = listField(root, "addresses", MAX_ENTRIES).map(decodeHolding);
      return new Holdings(pathIn(folder, network), network, holdings, flagField(root, "complete"));
    } catch (error) {
      logger.warn("the record of a network's addresses is damaged and is rebuilt from the store", {
        path,
        error: errorMessage(error),
      });
      return null;
    }
  }

  get network(): NamedNetwork {
    return this.#network;
  }

  set network(network: NamedNetwork) {
    this.#network = network;
  }

  /** True once the store was compared since the file was made: nothing else is held than what is known here. */
  get isComplete(): boolean {
    return this.#isComplete;
  }

  markComplete(): void {
    this.#isComplete = true;
  }

  get addresses(): readonly Address[] {
    return [...this.#holdings.values()].map(({ address }) => address);
  }

  get given(): readonly Address[] {
    return [...this.#holdings.values()].filter(({ isGiven }) => isGiven).map(({ address }) => address);
  }

  givenCount(family: Family): number {
    return this.given.filter((address) => address.family === family).length;
  }

  /** In the order in which they are to be given: the one that is unused for longest first. */
  reserve(family: Family): readonly Address[] {
    const free = [...this.#holdings.values()].filter(({ isGiven }) => !isGiven);
    return free.map(({ address }) => address).filter((address) => address.family === family);
  }

  has(address: Address): boolean {
    return this.#holdings.has(address.toString());
  }

  isGiven(address: Address): boolean {
    return this.#holdings.get(address.toString())?.isGiven ?? false;
  }

  endpointOf(address: Address): string | null {
    return this.#holdings.get(address.toString())?.endpoint ?? null;
  }

  givenTo(endpoint: string, family: Family): Address | null {
    for (const holding of this.#holdings.values())
      if (holding.endpoint === endpoint && holding.address.family === family) return holding.address;
    return null;
  }

  /** Adds an address that the store says is this host's. */
  add(address: Address, isGiven: boolean): void {
    this.#holdings.set(address.toString(), { address, isGiven, endpoint: null });
  }

  give(address: Address, endpoint: string | null): void {
    this.#holdings.set(address.toString(), { address, isGiven: true, endpoint });
  }

  /** To the end of the reserve: another container gets it as late as possible. */
  release(address: Address): void {
    this.#holdings.delete(address.toString());
    this.add(address, false);
  }

  drop(address: Address): void {
    this.#holdings.delete(address.toString());
  }

  /** Resolves when everything that was changed before the call is on the disk. One write serves many callers. */
  persist(): Promise<void> {
    const write = this.keep();
    this.#isNextDurable = true;
    return write;
  }

  /** The same without waiting for the disk: the file survives the end of this process, but a power cut may undo it. */
  keep(): Promise<void> {
    return this.#writes.run(() => this.#write());
  }

  /** False after a change that a power cut may undo. */
  get isOnDisk(): boolean {
    return this.#isOnDisk;
  }

  async #write(): Promise<void> {
    const isDurable = this.#isNextDurable;
    this.#isNextDurable = false;
    const [path, text, form] = [this.#path, this.#encode(), { mode: 0o600 }];
    if (isDurable) await replaceFile(path, text, form);
    else replaceFileSync(path, text, form, { isDurable });
    this.#isOnDisk = isDurable;
  }

  /** Removes the file, after the write under way. */
  async discard(): Promise<void> {
    await this.#writes.ended();
    removeIfPresent(this.#path);
  }

  #encode(): string {
    const addresses = [...this.#holdings.values()].map(({ address, isGiven, endpoint }) => ({
      address: address.toString(),
      given: isGiven,
      endpoint,
    }));
    return JSON.stringify({ network: encodeNetwork(this.#network), complete: this.#isComplete, addresses });
  }
}

function pathIn(folder: string, { id }: NamedNetwork): string {
  return join(folder, `${id}.json`);
}

function decodeHolding(value: JsonValue): Holding {
  if (!isJsonObject(value)) throw new CodecError("an address is not an object");
  const address = Address.parse(textField(value, "address", MAX_ENDPOINT));
  const endpoint = (value.endpoint ?? null) === null ? null : textField(value, "endpoint", MAX_ENDPOINT);
  return { address, isGiven: flagField(value, "given"), endpoint };
}
