/** Tests of nft's match expressions, for the fields that matter for where a packet goes. Pure; null for what is not known. */

import { Address, Prefix } from "../../../ipam/addresses/ip.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../../../ipam/json.ts";
import {
  allOf,
  anyOf,
  isInterface,
  not,
  type Packet,
  parseProtocol,
  protocolNumber,
  type Truth,
} from "../packet.ts";

/** The elements of a named set; null for one that does not exist. */
export type SetReader = (name: string) => readonly JsonValue[] | null;

/** Whether `{"op": …, "left": …, "right": …}` is true for the packet. */
export function testMatch({ op, left, right }: JsonObject, packet: Packet, setOf: SetReader): Truth {
  const truth = (negate: boolean): Truth => {
    const found = testValue(left ?? null, right ?? null, packet, setOf);
    return negate ? negated(left ?? null, found, packet) : found;
  };
  if (op === "==" || op === "in") return truth(false);
  if (op === "!=") return truth(true);
  const [value, bound] = [readField(left ?? null, packet), right];
  if (typeof value !== "number" || typeof bound !== "number") return value === ABSENT ? false : null;
  if (op === "<") return value < bound;
  if (op === ">") return value > bound;
  if (op === "<=") return value <= bound;
  return op === ">=" ? value >= bound : null;
}

/** Whether a field of the packet is the value, in the range, or an element of the set. */
export function testValue(left: JsonValue, right: JsonValue, packet: Packet, setOf: SetReader): Truth {
  const parts = partsOf(left);
  if (parts !== null) return isConcatenation(parts, right, packet, setOf);
  const field = readField(left, packet);
  return field === ABSENT ? false : isValue(field, right, setOf);
}

/** The fields of a concatenation, as in `ip daddr . tcp dport`; null for a single one. */
function partsOf(left: JsonValue): readonly JsonValue[] | null {
  return isJsonObject(left) && Array.isArray(left.concat) ? (left.concat as readonly JsonValue[]) : null;
}

function isConcatenation(
  parts: readonly JsonValue[],
  right: JsonValue,
  packet: Packet,
  setOf: SetReader,
): Truth {
  const isOne = (value: JsonValue): Truth => isConcatenation(parts, value, packet, setOf);
  if (parts.some((part) => readField(part, packet) === ABSENT)) return false;
  if (typeof right === "string" && right.startsWith("@")) {
    const elements = setOf(right.slice(1));
    return elements === null ? null : anyOf(elements.map(isOne));
  }
  if (!isJsonObject(right)) return null;
  if (Array.isArray(right.set)) return anyOf((right.set as readonly JsonValue[]).map(isOne));
  if (isJsonObject(right.elem)) return isOne(right.elem.val ?? null);
  const values = partsOf(right);
  if (values?.length !== parts.length) return null;
  return allOf(parts.map((part, index) => testValue(part, values[index] ?? null, packet, setOf)));
}

/** A packet without the field matches neither the value nor its opposite. */
function negated(left: JsonValue, truth: Truth, packet: Packet): Truth {
  const isAbsent = (partsOf(left) ?? [left]).some((part) => readField(part, packet) === ABSENT);
  return isAbsent ? false : not(truth);
}

/** The packet has no such field: a port of ICMP, an IPv4 address of IPv6. */
const ABSENT = Symbol("absent");

type Field =
  | { readonly interface: string | null }
  | { readonly address: Address }
  | { readonly protocol: number }
  /** Names that all apply, such as flags of TCP or states of a connection. */
  | { readonly words: readonly string[] }
  | number
  | null
  | typeof ABSENT;

function readField(left: JsonValue, packet: Packet): Field {
  if (!isJsonObject(left)) return null;
  if (isJsonObject(left.meta)) return metaField(String(left.meta.key), packet);
  if (isJsonObject(left.payload)) return payloadField(left.payload, packet);
  if (isJsonObject(left.ct)) return ctField(left.ct, packet);
  if (isJsonObject(left.fib)) return fibField(left.fib, packet);
  if (Array.isArray(left["&"])) return maskedField(left["&"] as readonly JsonValue[], packet);
  return null;
}

function metaField(key: string, packet: Packet): Field {
  switch (key) {
    case "iif":
    case "iifname":
      return { interface: packet.inputInterface };
    case "oif":
    case "oifname":
      return { interface: packet.outputInterface };
    case "l4proto":
      return { protocol: protocolNumber(packet) };
    case "nfproto":
      return { words: [packet.family === 4 ? "ipv4" : "ipv6"] };
    case "protocol":
      return { words: [packet.family === 4 ? "ip" : "ip6"] };
    case "mark":
      return packet.mark;
    default:
      return null;
  }
}

function payloadField({ protocol, field }: JsonObject, packet: Packet): Field {
  const { family } = packet;
  if (protocol === "ip" || protocol === "ip6") {
    if ((protocol === "ip") !== (family === 4)) return ABSENT;
    if (field === "saddr") return { address: packet.source };
    if (field === "daddr") return { address: packet.destination };
    return field === "protocol" || field === "nexthdr" ? { protocol: protocolNumber(packet) } : null;
  }
  if (protocol === "tcp" || protocol === "udp" || protocol === "th") {
    const isOther = packet.destinationPort === null || (protocol !== "th" && protocol !== packet.protocol);
    if (isOther) return ABSENT;
    if (field === "dport") return packet.destinationPort;
    return field === "flags" && protocol === "tcp" ? { words: ["syn"] } : null;
  }
  if (protocol === "icmp" || protocol === "icmpv6") {
    if (packet.protocol !== "icmp" || (protocol === "icmp") !== (family === 4)) return ABSENT;
    return field === "type" ? { words: ["echo-request"] } : null;
  }
  return null;
}

function ctField({ key }: JsonObject, { isTracked, isTranslated = false }: Packet): Field {
  if (key === "state") return { words: [isTracked ? "new" : "untracked"] };
  // Of the first packet no other bit is set.
  if (key === "status") return isTranslated === null ? null : { words: isTranslated ? ["dnat"] : [] };
  return key === "direction" ? { words: ["original"] } : null;
}

function fibField({ result, flags }: JsonObject, packet: Packet): Field {
  const isOfDestination =
    flags === "daddr" || (Array.isArray(flags) && flags.length === 1 && flags[0] === "daddr");
  if (result !== "type" || !isOfDestination) return null;
  return packet.isToHost ? { words: ["local"] } : { words: ["unicast"] };
}

function maskedField([value, mask]: readonly JsonValue[], packet: Packet): Field {
  const field = readField(value ?? null, packet);
  if (field === ABSENT) return ABSENT;
  if (typeof field === "number" && typeof mask === "number") return (field & mask) >>> 0;
  if (field === null || typeof field === "number" || !("words" in field)) return null;
  const names = Array.isArray(mask) ? mask : [mask];
  return { words: field.words.filter((word) => names.includes(word)) };
}

function isValue(field: Exclude<Field, typeof ABSENT>, right: JsonValue, setOf: SetReader): Truth {
  if (field === null) return null;
  if (typeof right === "string" && right.startsWith("@")) {
    const elements = setOf(right.slice(1));
    return elements === null ? null : anyOf(elements.map((one) => isValue(field, one, setOf)));
  }
  if (isJsonObject(right)) {
    if (Array.isArray(right.set))
      return anyOf((right.set as readonly JsonValue[]).map((one) => isValue(field, one, setOf)));
    if (isJsonObject(right.elem)) return isValue(field, right.elem.val ?? null, setOf);
  }
  if (typeof field === "number") return isNumber(field, right);
  if ("interface" in field)
    return typeof right === "string" ? isInterface(field.interface, right, "*") : null;
  if ("address" in field) return isAddress(field.address, right);
  if ("protocol" in field) return isProtocol(field.protocol, right);
  return isWord(field.words, right);
}

function isNumber(value: number, right: JsonValue): Truth {
  if (typeof right === "number") return value === right;
  if (!isJsonObject(right) || !Array.isArray(right.range)) return null;
  const [low, high] = right.range;
  return typeof low === "number" && typeof high === "number" ? value >= low && value <= high : null;
}

function isAddress(address: Address, right: JsonValue): Truth {
  if (typeof right === "string") return Address.parseOrNull(right)?.equals(address) ?? null;
  if (!isJsonObject(right)) return null;
  if (isJsonObject(right.prefix)) {
    const base = Address.parseOrNull(String(right.prefix.addr));
    return base === null ? null : Prefix.of(base, Number(right.prefix.len)).contains(address);
  }
  if (!Array.isArray(right.range)) return null;
  const [low, high] = right.range.map((one) => Address.parseOrNull(String(one)));
  if (!low || !high) return null;
  return address.value >= low.value && address.value <= high.value;
}

function isProtocol(protocol: number, right: JsonValue): Truth {
  if (typeof right !== "string" && typeof right !== "number") return null;
  const number = parseProtocol(String(right));
  return number === null ? null : number === protocol;
}

/** A list of words stands for any of them where several apply; a single one for exactly that. */
function isWord(words: readonly string[], right: JsonValue): Truth {
  if (typeof right === "string") return words.length === 1 && words[0] === right;
  if (typeof right === "number") return right === 0 ? words.length === 0 : null;
  return Array.isArray(right) ? words.some((word) => right.includes(word)) : null;
}
