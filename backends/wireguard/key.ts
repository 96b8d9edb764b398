/** WireGuard's keys (X25519, RFC 7748), as wg(8) prints them: 32 bytes in base64. */

import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { WG_KEY_BYTES } from "../netlink/wireguard.ts";

export interface KeyPair {
  readonly privateKey: string;
  readonly publicKey: string;
}

/** What precedes the 32 bytes of a private key in DER (RFC 8410 §7). */
const PRIVATE_KEY_DER = Buffer.from("302e020100300506032b656e04220420", "hex");

/** The key in its one spelling; null for text that is none. */
export function parseKey(text: string): string | null {
  const bytes = Buffer.from(text, "base64");
  return bytes.length === WG_KEY_BYTES && bytes.toString("base64") === text ? text : null;
}

export function makeKeyPair(): KeyPair {
  const { privateKey } = generateKeyPairSync("x25519");
  return pairOf(privateKey);
}

/** The pair of a private key that parseKey accepts. */
export function keyPairOf(privateKey: string): KeyPair {
  const key = Buffer.concat([PRIVATE_KEY_DER, Buffer.from(privateKey, "base64")]);
  return pairOf(createPrivateKey({ key, format: "der", type: "pkcs8" }), privateKey);
}

function pairOf(privateKey: KeyObject, text?: string): KeyPair {
  const bytes = privateKey.export({ format: "der", type: "pkcs8" }).subarray(-WG_KEY_BYTES);
  const publicBytes = createPublicKey(privateKey)
    .export({ format: "der", type: "spki" })
    .subarray(-WG_KEY_BYTES);
  return { privateKey: text ?? bytes.toString("base64"), publicKey: publicBytes.toString("base64") };
}
