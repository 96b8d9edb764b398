/**
 * Datagrams by which two data paths prove to each other that packets pass between them: a request, and the same bytes
 * as its answer. They go past devices and routes, so an answer takes the same way back whichever way the peer sends
 * packets of containers. A data path that does not know them drops them, because the first four bits name neither version of IP.
 *
 *     0     0x00 and "tulle"
 *     6     1 request, 2 answer
 *     7     0
 *     8     8 bytes of the sender's choice
 *     16    zeros, up to the length of the packet that is proven to pass
 *
 * Pure.
 */

const MARK = Buffer.from("\0tulle", "latin1");
const KIND_AT = 6;
const REQUEST = 1;
const ANSWER = 2;
const NONCE_AT = 8;
export const NONCE_BYTES = 8;
const HEADER_BYTES = NONCE_AT + NONCE_BYTES;

/** A request of `bytes`, at least 16; `nonce` is 16 hexadecimal digits. */
export function encodeRequest(nonce: string, bytes: number): Buffer {
  const request = Buffer.alloc(Math.max(bytes, HEADER_BYTES));
  request.set(MARK);
  request.writeUInt8(REQUEST, KIND_AT);
  request.write(nonce, NONCE_AT, NONCE_BYTES, "hex");
  return request;
}

export type PathProbe =
  | { readonly type: "request"; readonly answer: Buffer }
  | { readonly type: "answer"; readonly nonce: string };

/** Null for any other datagram. */
export function decodePathProbe(datagram: Buffer): PathProbe | null {
  if (datagram.length < HEADER_BYTES || !datagram.subarray(0, MARK.length).equals(MARK)) return null;
  switch (datagram.readUInt8(KIND_AT)) {
    case REQUEST: {
      const answer = Buffer.from(datagram);
      answer.writeUInt8(ANSWER, KIND_AT);
      return { type: "request", answer };
    }
    case ANSWER:
      return { type: "answer", nonce: datagram.toString("hex", NONCE_AT, HEADER_BYTES) };
    default:
      return null;
  }
}
