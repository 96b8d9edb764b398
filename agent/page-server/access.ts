/**
 * Who may read the page: programs on this machine where it listens on loopback without a token, else those that have the
 * token. A browser gives the token once and gets a cookie.
 */

import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { Address, Prefix } from "../../ipam/addresses/ip.ts";
import { AttemptLimit } from "./attempt-limit.ts";

/** Of a cookie. */
const SESSION_SECONDS = 12 * 3600;

export interface AccessOptions {
  /** Null where none is asked for. */
  readonly token: string | null;
  readonly port: number;
  readonly monotonicMs: () => number;
  readonly dateMs: () => number;
}

export type Verdict =
  | { readonly type: "granted" }
  /** `text` is for a person. */
  | { readonly type: "denied"; readonly status: 401 | 403 | 429; readonly text: string };

const GRANTED: Verdict = { type: "granted" };
const NO_TOKEN: Verdict = { type: "denied", status: 401, text: "give the token of --ui-token-file" };
const WRONG_TOKEN: Verdict = {
  type: "denied",
  status: 401,
  text: "this is not the token of --ui-token-file",
};
const TOO_MANY: Verdict = {
  type: "denied",
  status: 429,
  text: "too many wrong tokens from this address; wait a minute",
};
const FOREIGN_NAME: Verdict = {
  type: "denied",
  status: 403,
  text: "without a token the page answers to localhost, 127.0.0.1 and [::1] only",
};
const FOREIGN_SITE: Verdict = { type: "denied", status: 403, text: "another site may not read this page" };

export class Access {
  readonly #options: AccessOptions;
  readonly #limit: AttemptLimit;
  readonly #cookie: string;

  constructor(options: AccessOptions) {
    this.#options = options;
    this.#limit = new AttemptLimit(options.monotonicMs);
    // Cookies do not tell ports apart (RFC 6265 section 8.5).
    this.#cookie = `tulle-ui-${options.port}`;
  }

  /** Whether the request may be answered at all, with the page's own files. */
  judgeAddressee({ headers }: IncomingMessage): Verdict {
    // A name of an attacker's that resolves to 127.0.0.1 makes a page of the attacker and ours one site for a browser: DNS rebinding.
    if (this.#options.token === null && !isLoopbackName(headers.host)) return FOREIGN_NAME;
    const isForeign = headers["sec-fetch-site"] === "cross-site";
    return isForeign && headers["sec-fetch-mode"] !== "navigate" ? FOREIGN_SITE : GRANTED;
  }

  /** Whether it may be answered with data. */
  judgeReader(request: IncomingMessage): Verdict {
    if (this.#options.token === null || this.#hasSession(request)) return GRANTED;
    return request.headers.authorization === undefined ? NO_TOKEN : this.judgeToken(request);
  }

  /** Whether the request carries the token itself. */
  judgeToken({ headers: { authorization = "" }, socket }: IncomingMessage): Verdict {
    const { token } = this.#options;
    if (token === null) return GRANTED;
    const source = sourceOf(socket.remoteAddress);
    if (!this.#limit.mayTry(source)) return TOO_MANY;
    const given = /^Bearer (.*)$/i.exec(authorization)?.[1];
    if (given !== undefined && isSame(given, token)) return GRANTED;
    this.#limit.noteFailure(source);
    return WRONG_TOKEN;
  }

  /** The value of Set-Cookie for one that gave the token. */
  sessionCookie(): string {
    const expires = String(Math.floor(this.#options.dateMs() / 1000) + SESSION_SECONDS);
    const value = `${expires}.${this.#seal(expires)}`;
    return `${this.#cookie}=${value}; Path=/; Max-Age=${SESSION_SECONDS}; HttpOnly; SameSite=Strict`;
  }

  #hasSession({ headers: { cookie = "" } }: IncomingMessage): boolean {
    const prefix = `${this.#cookie}=`;
    const found = cookie.split("; ").find((part) => part.startsWith(prefix));
    const [expires = "", seal = ""] = found?.slice(prefix.length).split(".") ?? [];
    return isSame(seal, this.#seal(expires)) && Number(expires) * 1000 > this.#options.dateMs();
  }

  /** Proves that this daemon, or another with the same token, made the cookie. */
  #seal(expires: string): string {
    return createHmac("sha256", `session ${this.#options.token}`).update(expires).digest("hex");
  }
}

/** In a time that depends on neither text. */
function isSame(given: string, expected: string): boolean {
  const digest = (text: string): Buffer => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(given), digest(expected));
}

/** `localhost`, `127.x.y.z` or `[::1]`, with any port: a tunnel of ssh(1) may have another one. */
function isLoopbackName(host: string | undefined): boolean {
  const name = host?.replace(/:\d+$/, "").toLowerCase() ?? "";
  return name === "localhost" || name === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(name);
}

const V6_SITE_BITS = 64;

/** The client for the limit of attempts: its IPv4 address, or its IPv6 network, in which it may have any address. */
function sourceOf(text: string | undefined): string {
  const address = Address.parseOrNull(text?.replace(/^::ffff:(?=\d+\.)/, "") ?? "");
  if (address === null) return "unknown";
  return String(address.family === 4 ? address : Prefix.of(address, V6_SITE_BITS));
}
