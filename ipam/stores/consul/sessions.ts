/**
 * The sessions that hold our leases: they end some time after their last renewal and take their key with them.
 *
 * They belong to a node that is not a machine, so that they outlive each server (docs/adr/0005). Independent of
 * keys.
 */

import { StoreError } from "../../errors.ts";
import type { StoreEnvironment } from "../options.ts";
import type { ConsulCall, ConsulClient } from "./client.ts";
import { noConsul, ttlRefused } from "./errors.ts";

const DEFAULT_NODE = "tulle";

/** A node must have an address; no machine has this one (RFC 5737). */
const NODE_ADDRESS = "192.0.2.1";

/** Consul's fixed limit; the lower one is the server's session_ttl_min. */
const LONGEST_TTL_SECONDS = 86_400;

/** Prefix of the names of our sessions. */
const NAME_PREFIX = "tulle ";

export class ConsulSessions {
  readonly #client: ConsulClient;
  readonly #environment: StoreEnvironment;
  /** Null: the node of the server that answers. */
  #node: string | null;

  constructor(client: ConsulClient, nodeName: string | undefined, environment: StoreEnvironment) {
    this.#client = client;
    this.#environment = environment;
    this.#node = nodeName || DEFAULT_NODE;
  }

  /** A new session for `purpose`, and its id. ConfigError when Consul rejects the time to live. */
  async create(purpose: string, ttlSeconds: number, signal: AbortSignal): Promise<string> {
    if (ttlSeconds > LONGEST_TTL_SECONDS) throw ttlRefused(ttlSeconds, "10s=24h");
    try {
      return await this.#create(purpose, ttlSeconds, signal);
    } catch (error) {
      if (this.#node === null || !saysMissingNode(error)) throw error;
      await this.#register(this.#node, signal);
      return await this.#create(purpose, ttlSeconds, signal);
    }
  }

  /** Seconds until the session ends without another renewal; null when it has ended. */
  async renew(id: string, signal: AbortSignal): Promise<number | null> {
    const call: ConsulCall = {
      ...this.#operation("session.renew"),
      isRepeatable: true,
      answers: [404],
      send: (consul, common) => consul.session.renew({ id, ...common }),
    };
    const { url, status, body } = await this.#client.call(call, signal);
    if (status === 404 && /^Session id/i.test(String(body))) return null;
    const ttl: unknown = Array.isArray(body) ? body[0]?.TTL : null;
    if (typeof ttl !== "string") throw noConsul(url, call, "the answer is not a session");
    return secondsOf(ttl);
  }

  /** Ends a session that tulle made; leaves another agent's. After a failure the session expires. */
  async retire(id: string, signal: AbortSignal): Promise<void> {
    try {
      const { body } = await this.#client.call(
        {
          ...this.#operation("session.info"),
          isRepeatable: true,
          send: (consul, common) => consul.session.info({ id, ...common }),
        },
        signal,
      );
      const isOurs = isRecord(body) && String(body.Name).startsWith(NAME_PREFIX);
      if (!isOurs) return;
      await this.#client.call(
        {
          ...this.#operation("session.destroy"),
          isRepeatable: true,
          send: (consul, common) => consul.session.destroy({ id, ...common }),
        },
        signal,
      );
    } catch (error) {
      this.#environment.log.debug("consul session stays until it expires", {
        session: id,
        cause: String(error),
      });
    }
  }

  async #create(purpose: string, ttlSeconds: number, signal: AbortSignal): Promise<string> {
    const call: ConsulCall = {
      ...this.#operation("session.create"),
      isRepeatable: false,
      send: (consul, common) =>
        consul.session.create({
          name: NAME_PREFIX + purpose,
          ttl: `${Math.ceil(ttlSeconds)}s`,
          behavior: "delete",
          lockdelay: "0s",
          // Without this the health of the node, which is not checked, would end the session.
          checks: [],
          ...(this.#node === null ? {} : { node: this.#node }),
          ...common,
        }),
    };
    const { url, body } = await this.#client.call(call, signal);
    if (!isRecord(body) || typeof body.ID !== "string")
      throw noConsul(url, call, "the answer is not a session");
    return body.ID;
  }

  /** Registers our node. Without the right to do so sessions belong to the node of the server that answers. */
  async #register(node: string, signal: AbortSignal): Promise<void> {
    const right = `node "${node}" { policy = "write" }`;
    try {
      await this.#client.call(
        {
          name: "catalog.register",
          right,
          isRepeatable: true,
          send: (consul, common) => consul.catalog.register({ node, address: NODE_ADDRESS, ...common }),
        },
        signal,
      );
      this.#environment.log.info("registered the consul node that holds lease sessions", { node });
    } catch (error) {
      if (!(error instanceof StoreError && error.code === "TULLE_STORE_AUTH")) throw error;
      this.#node = null;
      this.#environment.log.warn(
        "the token may not register a node for lease sessions: they end with the server that made them",
        { node, right },
      );
    }
  }

  #operation(name: string): { readonly name: string; readonly right: string } {
    const rule = this.#node === null ? 'session_prefix ""' : `session "${this.#node}"`;
    return { name, right: `${rule} { policy = "write" }` };
  }
}

function saysMissingNode(error: unknown): boolean {
  return error instanceof StoreError && /Missing node registration/.test(error.message);
}

/** A duration as Go writes it, `24h0m0s` or `60s`. */
function secondsOf(text: string): number {
  const units: Readonly<Record<string, number>> = { h: 3600, m: 60, s: 1, ms: 0.001 };
  let seconds = 0;
  for (const [, count, unit] of text.matchAll(/([\d.]+)(h|ms|m|s)/g)) {
    seconds += Number(count) * (units[unit ?? ""] ?? 0);
  }
  return seconds;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
