/** DNS messages in a TCP stream, each behind its length (RFC 1035 §4.2.2). No I/O. */

const LENGTH_BYTES = 2;

/** The message for a stream. */
export function frame(message: Buffer): Buffer {
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeUInt16BE(message.length);
  return Buffer.concat([length, message]);
}

/** Takes pieces of a stream apart into messages; holds at most one incomplete message and the last piece. */
export class MessageReader {
  readonly #onMessage: (message: Buffer) => void;
  #parts: Buffer[] = [];
  #length = 0;

  constructor(onMessage: (message: Buffer) => void) {
    this.#onMessage = onMessage;
  }

  push(bytes: Buffer): void {
    this.#parts.push(bytes);
    this.#length += bytes.length;
    // Joined only when a message is complete, so that single bytes do not cost a copy of all before them, and once for all
    // messages of a piece.
    for (let wanted = this.#wanted(); this.#length >= wanted; wanted = this.#wanted()) {
      const [first, ...rest] = this.#parts;
      const all = first !== undefined && rest.length === 0 ? first : Buffer.concat(this.#parts);
      this.#parts = [all.subarray(wanted)];
      this.#length = all.length - wanted;
      this.#onMessage(all.subarray(LENGTH_BYTES, wanted));
    }
  }

  /** Bytes of the next message with its length. */
  #wanted(): number {
    if (this.#length < LENGTH_BYTES) return Number.POSITIVE_INFINITY;
    if ((this.#parts[0]?.length ?? 0) < LENGTH_BYTES) this.#parts = [Buffer.concat(this.#parts)];
    return LENGTH_BYTES + (this.#parts[0]?.readUInt16BE(0) ?? 0);
  }
}
