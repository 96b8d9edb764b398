/**
 * The error catalogue: one base class, one stable code per failure, one remedy per message.
 *
 * Callers match `code`, never the text. Every code here has its paragraph in docs/errors.md; a test
 * compares both ways. This file must not know what any other module does.
 */

/** Every code tulle can answer with, and what it means in a few words. */
export const ERROR_CODES = {
  TULLE_ADDRESS: "text or bytes are not an IP address, prefix or MAC",
  TULLE_CODEC: "external data cannot be decoded",
  TULLE_CONFIG: "a flag, a file or the network configuration has a wrong value",
  TULLE_UNSUPPORTED: "the request is not supported by this version",
  TULLE_STORE: "the lease store rejected a call or sent an unexpected response",
  TULLE_STORE_UNREACHABLE: "no endpoint of the lease store answers",
  TULLE_STORE_AUTH: "the lease store rejects our user, password or token",
  TULLE_STORE_TLS: "the TLS handshake with the lease store fails",
  TULLE_STORE_API: "the endpoint does not implement the store's API",
  TULLE_SUBNET_TAKEN: "another host created this lease first",
  TULLE_NO_FREE_SUBNET: "the network has no subnet left",
  TULLE_NO_FREE_ADDRESS: "a subnet has no address left for a container",
  TULLE_LEASE_LOST: "our lease expired, was deleted or belongs to another host",
  TULLE_NETLINK: "the kernel rejected a netlink request",
  TULLE_FIREWALL: "the host's firewall cannot be read or changed",
  TULLE_EXTENSION: "a command of the extension backend failed",
  TULLE_INTERFACE: "no usable network interface for the tunnel",
  TULLE_CONFLICT: "a foreign object prevents the change",
  TULLE_ALREADY_RUNNING: "another agent already manages this network here",
  TULLE_CONTROL: "the running daemon does not answer",
  TULLE_PREREQUISITE: "this host lacks a required program or privilege",
  TULLE_CNI: "a request of the container runtime failed",
  TULLE_ENGINE: "the Docker Engine API does not answer or rejected a call",
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

export interface ErrorOptions {
  /** What a person needs to know beyond the message: keys, values, names. Never secrets. */
  readonly details?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
  /** True when the same call may succeed later without a change by a person. Default false. */
  readonly retryable?: boolean;
}

/** Base of every error that tulle throws on purpose. */
export class TulleError extends Error {
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = code;
    this.retryable = options.retryable ?? false;
    this.details = options.details ?? {};
  }
}

/** Text or bytes are not an IP address, prefix or MAC. */
export class AddressError extends TulleError {
  constructor(message: string, options?: ErrorOptions) {
    super("TULLE_ADDRESS", message, options);
  }
}

/** A wrong value that an administrator gave. The message names the key, the value and the remedy. */
export class ConfigError extends TulleError {
  constructor(message: string, options?: ErrorOptions) {
    super("TULLE_CONFIG", message, options);
  }
}

/** A valid request for something that this version does not do. */
export class UnsupportedError extends TulleError {
  constructor(message: string, options?: ErrorOptions) {
    super("TULLE_UNSUPPORTED", message, options);
  }
}

/** Bytes or text that cannot be decoded. `details` holds `offset` (bytes) or `path` (JSON) where known. */
export class CodecError extends TulleError {
  constructor(message: string, options?: ErrorOptions) {
    super("TULLE_CODEC", message, options);
  }
}

export type StoreErrorCode = Extract<ErrorCode, `TULLE_STORE${string}`>;

/** An operation of the store failed. Retryable unless a person must change something first. */
export class StoreError extends TulleError {
  constructor(message: string, options: ErrorOptions & { readonly code?: StoreErrorCode } = {}) {
    super(options.code ?? "TULLE_STORE", message, options);
  }
}

/** Compare-and-create met an existing key: choose another subnet. */
export class SubnetTakenError extends TulleError {
  constructor(message: string, options?: ErrorOptions) {
    super("TULLE_SUBNET_TAKEN", message, options);
  }
}

/** No free subnet in the configured range. */
export class NoFreeSubnetError extends TulleError {
  constructor(message: string, options?: ErrorOptions) {
    super("TULLE_NO_FREE_SUBNET", message, options);
  }
}

/** No free address in a range of containers. `details.remedy` says what to do. */
export class NoFreeAddressError extends TulleError {
  constructor(message: string, options?: ErrorOptions) {
    super("TULLE_NO_FREE_ADDRESS", message, options);
  }
}

/** The key is gone, or another host changed it since we last read it. */
export class LeaseLostError extends TulleError {
  constructor(message: string, options?: ErrorOptions) {
    super("TULLE_LEASE_LOST", message, options);
  }
}

/** No interface to build the tunnel on, or the chosen one cannot carry it. */
export class InterfaceError extends TulleError {
  constructor(message: string, options?: ErrorOptions) {
    super("TULLE_INTERFACE", message, options);
  }
}

/** Something on this host is in the way: a foreign device, route, lease or address. */
export class ConflictError extends TulleError {
  constructor(message: string, options?: ErrorOptions) {
    super("TULLE_CONFLICT", message, options);
  }
}

/** The message of anything thrown, for logs and for `cause` chains. */
export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** True for an error of the file system with this errno's name. */
export function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}
