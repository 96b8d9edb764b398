/**
 * This host's identity: a node id that outlives reboots and address changes, the hardware address of the interface in
 * use, and those of its tunnel devices.
 *
 * Kept in <state-dir>/identity.json, mode 0600, replaced atomically. leases/claim.ts decides whether a lease is ours.
 */

import { createHash } from "node:crypto";
import { rename } from "node:fs/promises";
import { join } from "node:path";
import { localMacFromSeed, type Mac, parseMac } from "../../ipam/addresses/mac.ts";
import { CodecError, ConfigError, errorMessage, TulleError } from "../../ipam/errors.ts";
import { makeFolder } from "../../ipam/files/folder.ts";
import { readOwnFile } from "../../ipam/files/read.ts";
import { replaceFile } from "../../ipam/files/write.ts";
import { isJsonObject } from "../../ipam/json.ts";
import { errorFields, type Logger } from "../../ipam/log.ts";
import { Turns } from "../../ipam/turns.ts";

/** What the file holds. */
export interface IdentityRecord {
  /** 128 random bits as 32 hexadecimal digits. */
  readonly nodeId: string;
  /** Hardware address of the interface that carried the tunnel last; null before the first start. */
  readonly interfaceMac: Mac | null;
  /** By name of the device, for other networks than the first by `network/device`. */
  readonly deviceMacs: Readonly<Record<string, Mac>>;
  /** Hardware addresses of the identities before this one: another host has them. */
  readonly discardedMacs: readonly Mac[];
}

export interface IdentityOptions {
  readonly stateDir: string;
  /** Cryptographically random bytes. */
  readonly randomBytes: (count: number) => Uint8Array;
  readonly log: Logger;
}

const NODE_ID_BYTES = 16;

/** Of the hardware addresses in the file; the name is older than backends without VXLAN. */
const MACS_FIELD = "vtepMacs";

/** The host's identity and its file. */
export class Identity {
  readonly #options: IdentityOptions;
  #record: IdentityRecord;
  readonly #saves = new Turns();
  /** The file holds the record. */
  #isSaved = true;

  private constructor(options: IdentityOptions, record: IdentityRecord) {
    this.#options = options;
    this.#record = record;
  }

  /**
   * Reads the identity, or creates one. A damaged file is kept as identity.json.broken and replaced: the lease is then
   * found again by its public address. Throws ConfigError when the state directory
   * cannot be used, ConflictError when something other than a regular file is in the identity's place.
   */
  static async load(options: IdentityOptions): Promise<Identity> {
    const path = identityPath(options.stateDir);
    try {
      makeFolder(options.stateDir, 0o700);
      const text = readOwnFile(path);
      const stored = text === null ? null : await decodeOrSetAside(text, path, options.log);
      const identity = new Identity(options, stored ?? newRecord(options));
      if (stored === null) await identity.#save();
      return identity;
    } catch (error) {
      if (error instanceof TulleError) throw error;
      throw new ConfigError(
        `state-dir ${options.stateDir} cannot be used: ${errorMessage(error)}; give a directory that can be written`,
        { cause: error },
      );
    }
  }

  get nodeId(): string {
    return this.#record.nodeId;
  }

  get interfaceMac(): Mac | null {
    return this.#record.interfaceMac;
  }

  /** Records the hardware address of the interface in use. */
  async setInterfaceMac(mac: Mac | null): Promise<void> {
    if (mac === this.#record.interfaceMac && this.#isSaved) return;
    await this.#replace({ ...this.#record, interfaceMac: mac });
  }

  /** The hardware address of a network's tunnel device: the recorded one, else one derived from the node id. */
  deviceMac(device: string, network: string | null = null): Mac {
    return this.#record.deviceMacs[deviceKey(device, network)] ?? derivedMac(this.nodeId, device);
  }

  /** Hardware addresses of all devices that a network of this host ever had. */
  deviceMacsOf(network: string | null): ReadonlySet<Mac> {
    const own = Object.entries(this.#record.deviceMacs).filter(([key]) => networkOf(key) === network);
    return new Set(own.map(([, mac]) => mac));
  }

  /** True when the address belongs to the host whose identity this one had copied. */
  isDiscarded(mac: Mac): boolean {
    return this.#record.discardedMacs.includes(mac);
  }

  /** Records the hardware address of a device that is in use, made by us or adopted. */
  async setDeviceMac(device: string, mac: Mac, network: string | null = null): Promise<void> {
    const key = deviceKey(device, network);
    if (this.#record.deviceMacs[key] === mac && this.#isSaved) return;
    await this.#replace({ ...this.#record, deviceMacs: { ...this.#record.deviceMacs, [key]: mac } });
  }

  /** Takes a new identity: the state directory is a copy of another host's. */
  async renew(): Promise<void> {
    const { interfaceMac, deviceMacs, discardedMacs } = this.#record;
    await this.#replace({
      ...newRecord(this.#options),
      interfaceMac,
      discardedMacs: [...new Set([...discardedMacs, ...Object.values(deviceMacs)])],
    });
  }

  async #replace(record: IdentityRecord): Promise<void> {
    this.#record = record;
    this.#isSaved = false;
    await this.#save();
  }

  /** Writes the record as it is when its turn comes, so that an older one never replaces a newer one. */
  async #save(): Promise<void> {
    const path = identityPath(this.#options.stateDir);
    await this.#saves.run(async () => {
      const record = this.#record;
      await replaceFile(path, encodeIdentity(record), { mode: 0o600 });
      this.#isSaved = record === this.#record;
    });
  }
}

export function identityPath(stateDir: string): string {
  return join(stateDir, "identity.json");
}

/** The file's text. */
function encodeIdentity({ deviceMacs, ...rest }: IdentityRecord): string {
  return `${JSON.stringify({ ...rest, [MACS_FIELD]: deviceMacs }, null, 2)}\n`;
}

/** Reads the file's text. Throws CodecError. */
export function decodeIdentity(text: string): IdentityRecord {
  const value = parseJson(text);
  if (!isJsonObject(value)) throw new CodecError("the identity is not a JSON object");
  const { nodeId, interfaceMac = null, [MACS_FIELD]: deviceMacs = {} } = value;
  // The first version wrote another name.
  const discardedMacs = value.discardedMacs ?? value.forsakenMacs ?? [];
  if (typeof nodeId !== "string" || !/^[0-9a-f]{32}$/.test(nodeId)) {
    throw new CodecError("nodeId is not 32 hexadecimal digits", { details: { path: "nodeId" } });
  }
  if (!isJsonObject(deviceMacs)) throw new CodecError(`${MACS_FIELD} is not a JSON object`);
  if (!Array.isArray(discardedMacs)) throw new CodecError("discardedMacs is not a JSON array");
  return {
    nodeId,
    interfaceMac: interfaceMac === null ? null : decodeMac(interfaceMac, "interfaceMac"),
    deviceMacs: Object.fromEntries(
      Object.entries(deviceMacs).map(([key, mac]) => [key, decodeMac(mac, `${MACS_FIELD}.${key}`)]),
    ),
    discardedMacs: discardedMacs.map((mac) => decodeMac(mac, "discardedMacs")),
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new CodecError(`the identity is not JSON: ${errorMessage(error)}`, { cause: error });
  }
}

function decodeMac(value: unknown, path: string): Mac {
  try {
    return parseMac(String(value));
  } catch (error) {
    throw new CodecError(`${path}: ${errorMessage(error)}`, { cause: error, details: { path } });
  }
}

async function decodeOrSetAside(text: string, path: string, log: Logger): Promise<IdentityRecord | null> {
  try {
    return decodeIdentity(text);
  } catch (error) {
    await rename(path, `${path}.broken`);
    log.warn("identity file was damaged and is replaced", {
      path,
      kept: `${path}.broken`,
      ...errorFields(error),
    });
    return null;
  }
}

function newRecord({ randomBytes }: IdentityOptions): IdentityRecord {
  const nodeId = Buffer.from(randomBytes(NODE_ID_BYTES)).toString("hex");
  return { nodeId, interfaceMac: null, deviceMacs: {}, discardedMacs: [] };
}

function deviceKey(device: string, network: string | null): string {
  return network === null ? device : `${network}/${device}`;
}

function networkOf(key: string): string | null {
  const end = key.indexOf("/");
  return end < 0 ? null : key.slice(0, end);
}

/** The hardware address that a host's device has unless another one was recorded. */
export function derivedMac(nodeId: string, device: string): Mac {
  return localMacFromSeed(createHash("sha256").update(`${nodeId} ${device}`).digest());
}
