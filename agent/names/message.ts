/**
 * DNS messages (RFC 1035, EDNS0 by RFC 6891): reads queries, builds answers, and compares answers of other servers with
 * their query. Pure.
 *
 * Records are encoded and decoded by dns-packet. The question is copied byte for byte, because clients compare it, with
 * the case of its letters, against what they sent.
 */

import { type Answer, AUTHORITATIVE_ANSWER, type DecodedPacket, decode, encode } from "dns-packet";

/** RFC 1035 §4.1.1 and RFC 6895 §2.3. Of those above 15 the header has four bits, and the OPT record the others. */
export const RCODE = {
  ...{ noError: 0, formatError: 1, serverFailure: 2, notImplemented: 4, refused: 5 },
  badVersion: 16,
} as const;

export const HEADER_BYTES = 12;

/** A datagram without EDNS0 carries no more (RFC 1035 §4.2.1). */
const PLAIN_UDP_BYTES = 512;
/** Passes all paths without fragments (dnsflagday.net/2020); the queries come from this host's bridges. */
const LARGEST_UDP_BYTES = 1232;
/** A message over TCP has a length of 16 bits. */
const LARGEST_TCP_BYTES = 65_535;

const RESPONSE = 1 << 15;
const TRUNCATED = 1 << 9;
const RECURSION_DESIRED = 1 << 8;
const RECURSION_AVAILABLE = 1 << 7;
const CHECKING_DISABLED = 1 << 4;

export type Transport = "udp" | "tcp";

export interface Query {
  /** The message as it came. */
  readonly bytes: Buffer;
  /** Where its question ends. */
  readonly questionEnd: number;
  /** The name as written, without a dot at the end; null if it cannot be a container's, such as one with a space. */
  readonly name: string | null;
  /** `A`, `AAAA`, `PTR`, …; `UNKNOWN_N` for others. */
  readonly type: string;
  readonly class: string;
  /** Null without EDNS0. */
  readonly udpPayloadBytes: number | null;
}

/** `error` is what to answer to a message that holds no question to look up; null for one to drop in silence. */
export type ReadQuery = { readonly query: Query } | { readonly query: null; readonly error: Buffer | null };

/** What a name server does with a message from a client. Never throws. */
export function readQuery(bytes: Buffer): ReadQuery {
  // An answer to a forged query of ours, or no DNS at all: an error in return would only feed a loop.
  if (bytes.length < HEADER_BYTES || (bytes.readUInt16BE(2) & RESPONSE) !== 0)
    return { query: null, error: null };
  const opcode = (bytes.readUInt16BE(2) >> 11) & 0xf;
  if (opcode !== 0) return { query: null, error: headerOf(bytes, RCODE.notImplemented) };
  const packet = decodeOrNull(bytes);
  const question = packet?.questions?.[0];
  const questionEnd = endOfQuestion(bytes);
  if (packet === null || question === undefined || packet.questions?.length !== 1 || questionEnd === null)
    return { query: null, error: headerOf(bytes, RCODE.formatError) };
  const [opt, second] = packet.additionals?.filter((each) => each.type === "OPT") ?? [];
  if (second !== undefined) return { query: null, error: headerOf(bytes, RCODE.formatError) };
  const query: Query = {
    bytes,
    questionEnd,
    name: isContainerName(question.name) ? question.name : null,
    type: question.type,
    class: question.class ?? "",
    udpPayloadBytes: opt?.udpPayloadSize ?? null,
  };
  const isUnknownVersion = opt !== undefined && opt.ednsVersion !== 0;
  return isUnknownVersion ? { query: null, error: encodeError(query, RCODE.badVersion) } : { query };
}

/** An answer of our own: as many of the records as fit, over UDP with TC when some do not. */
export function encodeAnswer(query: Query, records: readonly Answer[], transport: Transport): Buffer {
  const limit = transport === "tcp" ? LARGEST_TCP_BYTES : udpLimit(query);
  const room = limit - query.questionEnd - optOf(query).length;
  const encoded = records.map((record) => encodeRecord(record));
  const fitting = countFitting(encoded, room);
  const flags = AUTHORITATIVE_ANSWER | (fitting < records.length && transport === "udp" ? TRUNCATED : 0);
  return respond(query, flags | RCODE.noError, encoded.slice(0, fitting));
}

/** An answer without records. An error above 15 is for a query with EDNS0. */
export function encodeError(query: Query, rcode: number): Buffer {
  return respond(query, rcode & 0xf, [], rcode >> 4);
}

/** What a server may say of a query that it does not read, without the question. */
const UNREAD: readonly number[] = [
  RCODE.formatError,
  RCODE.serverFailure,
  RCODE.notImplemented,
  RCODE.refused,
];

/**
 * True when `answer` is an answer with the id and the question of `query`, letters in any case, or an error without a
 * question, as some servers report that they do not know EDNS0.
 */
export function isAnswerTo(answer: Buffer, query: Buffer, questionEnd: number): boolean {
  if (answer.length < HEADER_BYTES || answer.readUInt16BE(0) !== query.readUInt16BE(0)) return false;
  if ((answer.readUInt16BE(2) & RESPONSE) === 0) return false;
  const questions = answer.readUInt16BE(4);
  if (questions === 0) return UNREAD.includes(rcodeOf(answer));
  return questions === 1 && answer.length >= questionEnd && isSameQuestion(answer, query, questionEnd);
}

/** True for an answer with this id that reports this error. */
export function isErrorFor(answer: Buffer, id: number, rcode: number): boolean {
  if (answer.length < HEADER_BYTES) return false;
  return (
    answer.readUInt16BE(0) === id && (answer.readUInt16BE(2) & RESPONSE) !== 0 && rcodeOf(answer) === rcode
  );
}

export function rcodeOf(message: Buffer): number {
  return message.readUInt16BE(2) & 0xf;
}

/** A copy with another id. */
export function withId(message: Buffer, id: number): Buffer {
  const copy = Buffer.from(message);
  copy.writeUInt16BE(id, 0);
  return copy;
}

/** The other server's answer for our client: with the client's id and its spelling of the name. */
export function forClient(answer: Buffer, query: Query): Buffer {
  // Without EDNS0, as the server has it: by that a client knows what to leave out.
  if (answer.readUInt16BE(4) === 0) return encodeError({ ...query, udpPayloadBytes: null }, rcodeOf(answer));
  const copy = withId(answer, query.bytes.readUInt16BE(0));
  query.bytes.copy(copy, HEADER_BYTES, HEADER_BYTES, query.questionEnd);
  return copy;
}

/** Docker's names, and what is in reverse names. Other names belong to other servers. */
function isContainerName(name: string): boolean {
  return /^[\w.-]+$/.test(name);
}

function decodeOrNull(bytes: Buffer): DecodedPacket | null {
  try {
    return decode(bytes);
  } catch {
    // Whatever the library finds wrong, the client gets a FORMERR.
    return null;
  }
}

/** Null for a question that is not complete or compressed, which nothing in front of it allows. */
function endOfQuestion(bytes: Buffer): number | null {
  let at = HEADER_BYTES;
  for (;;) {
    const length = bytes[at];
    if (length === undefined || length > 63) return null;
    at += 1 + length;
    if (length === 0) break;
  }
  // Type and class follow.
  return at + 4 <= bytes.length ? at + 4 : null;
}

/** Servers may answer in lower case; type and class, the last four bytes, must be equal. */
function isSameQuestion(answer: Buffer, query: Buffer, questionEnd: number): boolean {
  const nameEnd = questionEnd - 4;
  if (answer.compare(query, nameEnd, questionEnd, nameEnd, questionEnd) !== 0) return false;
  for (let at = HEADER_BYTES; at < nameEnd; at++) {
    if (lowerCase(answer[at] ?? 0) !== lowerCase(query[at] ?? 0)) return false;
  }
  return true;
}

function lowerCase(byte: number): number {
  return byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte;
}

function udpLimit({ udpPayloadBytes }: Query): number {
  return Math.min(LARGEST_UDP_BYTES, Math.max(PLAIN_UDP_BYTES, udpPayloadBytes ?? 0));
}

function countFitting(records: readonly Buffer[], room: number): number {
  let left = room;
  const count = records.findIndex((record) => {
    left -= record.length;
    return left < 0;
  });
  return count < 0 ? records.length : count;
}

function respond(query: Query, flags: number, records: readonly Buffer[], extendedRcode = 0): Buffer {
  const { bytes, questionEnd } = query;
  const opt = optOf(query, extendedRcode);
  const header = headerOf(bytes, flags);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(records.length, 6);
  header.writeUInt16BE(opt.length === 0 ? 0 : 1, 10);
  return Buffer.concat([header, bytes.subarray(HEADER_BYTES, questionEnd), ...records, opt]);
}

/** The query's id, opcode, RD and CD (RFC 4035 §3.1.6) with our flags; all counts are 0. */
function headerOf(bytes: Buffer, flags: number): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  const asked = bytes.readUInt16BE(2);
  const kept = asked & ((0xf << 11) | RECURSION_DESIRED | CHECKING_DISABLED);
  header.writeUInt16BE(bytes.readUInt16BE(0), 0);
  header.writeUInt16BE(RESPONSE | kept | RECURSION_AVAILABLE | flags, 2);
  return header;
}

/** Who sends EDNS0 gets EDNS0 (RFC 6891 §6.1.1). */
function optOf({ udpPayloadBytes }: Query, extendedRcode = 0): Buffer {
  if (udpPayloadBytes === null) return Buffer.alloc(0);
  return encodeRecord({
    type: "OPT",
    name: ".",
    udpPayloadSize: LARGEST_UDP_BYTES,
    extendedRcode,
    ednsVersion: 0,
    flags: 0,
    flag_do: false,
    options: [],
  });
}

/** dns-packet compresses nothing, so a record is the same at any offset. */
function encodeRecord(record: Answer): Buffer {
  return encode({ answers: [record] }).subarray(HEADER_BYTES);
}
