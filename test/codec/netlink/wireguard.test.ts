/**
 * Our WireGuard requests, byte for byte those of wg(8) (test/fixtures/netlink/wg-requests.json: captured from
 * wireguard-tools 1.0 with `strace -e trace=sendto -e write=all`, sequence numbers zeroed), and the decoder on damaged
 * bytes. Answers of a real kernel are decoded in test/guest.
 */

import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { NetlinkMessage, NLM_F_ACK } from "../../../backends/netlink/message.ts";
import {
  decodeDevice,
  encodeGetDevice,
  encodeRemovePeer,
  encodeSetDevice,
  encodeSetPeer,
  joinDevice,
} from "../../../backends/netlink/wireguard.ts";
import { Address, Prefix } from "../../../ipam/addresses/ip.ts";
import { CodecError } from "../../../ipam/errors.ts";

const captured: readonly { command: string; request: string }[] = JSON.parse(
  readFileSync(new URL("../../fixtures/netlink/wg-requests.json", import.meta.url), "utf8"),
);

/** The family id in the captures. */
const FAMILY = 0x20;
const keyOf = (byte: number) => Buffer.alloc(32, byte).toString("base64");
const [PRIVATE, PRESHARED, PUBLIC] = [keyOf(1), keyOf(2), keyOf(3)];

function captureOf(command: string): Buffer {
  const found = captured.find((one) => one.command.startsWith(command));
  if (found === undefined) throw new Error(`no capture of "${command}"`);
  const bytes = Buffer.from(found.request, "hex");
  // The connection adds the acknowledgement.
  bytes.writeUInt16LE(bytes.readUInt16LE(6) & ~NLM_F_ACK, 6);
  return bytes;
}

const ALLOWED = [Prefix.parse("10.2.1.0/24"), Prefix.parse("fd00:1::/64")];
const SET_PEER = encodeSetPeer(FAMILY, "wg0", {
  publicKey: PUBLIC,
  presharedKey: PRESHARED,
  endpoint: { address: Address.parse("192.0.2.1"), port: 51821 },
  keepaliveSeconds: 25,
  allowedPrefixes: ALLOWED,
});

describe("requests equal those of wg(8)", () => {
  it.each([
    [
      "wg set wg0 private-key",
      encodeSetDevice(FAMILY, "wg0", { privateKey: PRIVATE, listenPort: 51820, firewallMark: 7 }),
    ],
    [`wg set wg0 peer ${PUBLIC} preshared-key`, SET_PEER],
    [`wg set wg0 peer ${PUBLIC} remove`, encodeRemovePeer(FAMILY, "wg0", PUBLIC)],
    ["wg show wg0 dump", encodeGetDevice(FAMILY, "wg0")],
  ])("%s", (command, request) => {
    expect(request.toString("hex")).toBe(captureOf(command).toString("hex"));
  });
});

describe("decoding", () => {
  it("reads back the peer that a request describes", () => {
    const [peer] = decodeDevice(new NetlinkMessage(SET_PEER)).peers;
    expect(peer).toMatchObject({ publicKey: PUBLIC, presharedKey: PRESHARED, keepaliveSeconds: 25 });
    expect(`${peer?.endpoint?.address} ${peer?.endpoint?.port}`).toBe("192.0.2.1 51821");
    expect(peer?.allowedPrefixes.map(String)).toEqual(ALLOWED.map(String));
  });

  it("joins a peer that continues in the next message, and keeps others apart", () => {
    const part = (key: string, prefix: string) =>
      decodeDevice(
        new NetlinkMessage(
          encodeSetPeer(FAMILY, "wg0", { publicKey: key, allowedPrefixes: [Prefix.parse(prefix)] }),
        ),
      );
    const device = joinDevice([
      part(PUBLIC, "10.2.1.0/24"),
      part(PUBLIC, "10.2.2.0/24"),
      part(PRIVATE, "10.2.3.0/24"),
    ]);
    expect(
      device?.peers.map(({ publicKey, allowedPrefixes }) => [publicKey, allowedPrefixes.join()]),
    ).toEqual([
      [PUBLIC, "10.2.1.0/24,10.2.2.0/24"],
      [PRIVATE, "10.2.3.0/24"],
    ]);
    expect(joinDevice([])).toBeNull();
  });

  it("throws nothing but CodecError for damaged bytes", () => {
    fc.assert(
      fc.property(fc.nat(SET_PEER.length - 1), fc.nat(255), (at, value) => {
        const damaged = Buffer.from(SET_PEER);
        damaged[at] = value;
        try {
          decodeDevice(new NetlinkMessage(damaged));
        } catch (error) {
          expect(error).toBeInstanceOf(CodecError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe("keys", () => {
  it("rejects a key of another length than 32 bytes", () => {
    const short = Buffer.alloc(31).toString("base64");
    expect(() => encodeRemovePeer(FAMILY, "wg0", short)).toThrow(CodecError);
  });
});
