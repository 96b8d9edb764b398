/** The output of iptables-save(8) as chains whose rules can be tested. Pure. Matches that are not understood are not known. */

import { parseIptablesSave, type SavedTable } from "../../../backends/firewall/iptables-save.ts";
import { Address, type Family, Prefix } from "../../../ipam/addresses/ip.ts";
import {
  allOf,
  anyOf,
  isInterface,
  type MarkChange,
  not,
  type Packet,
  parseProtocol,
  protocolNumber,
  type Truth,
} from "../packet.ts";
import type { BaseChain, FirewallChain, FirewallRule, FirewallTable, Hook, RuleAction } from "./ruleset.ts";

/** linux/netfilter_ipv4.h, NF_IP_PRI_*; nat's by hook. */
const PRIORITIES: Readonly<Record<string, number>> = { raw: -300, mangle: -150, filter: 0, security: 50 };
const NAT_PRIORITIES: Readonly<Record<Hook, number>> = {
  prerouting: -100,
  output: -100,
  input: 100,
  postrouting: 100,
  forward: 0,
};
const HOOKS: Readonly<Record<string, Hook>> = {
  PREROUTING: "prerouting",
  INPUT: "input",
  FORWARD: "forward",
  OUTPUT: "output",
  POSTROUTING: "postrouting",
};

/** `program` names the tables for a person: `iptables`, `ip6tables`, `iptables-legacy`. */
export function iptablesRuleset(text: string, family: Family, program: string): readonly FirewallTable[] {
  return [...parseIptablesSave(text)].map(([name, saved]) => ({
    name: `${program} ${name}`,
    families: [family],
    chains: chainsOf(name, saved),
  }));
}

function chainsOf(table: string, saved: SavedTable): ReadonlyMap<string, FirewallChain> {
  return new Map(
    [...saved].map(([name, { policy, rules }]) => [
      name,
      { base: policy === "-" ? null : baseOf(table, name, policy), rules: rules.map(parseRule) },
    ]),
  );
}

function baseOf(table: string, chain: string, policy: string): BaseChain | null {
  const hook = HOOKS[chain];
  if (hook === undefined) return null;
  const priority = table === "nat" ? NAT_PRIORITIES[hook] : (PRIORITIES[table] ?? 0);
  return {
    hook,
    priority,
    policy: policy === "DROP" ? "drop" : "accept",
    isNat: table === "nat",
    // ipt_mangle_out in net/ipv4/netfilter/iptable_mangle.c
    reroutes: table === "mangle" && hook === "output",
  };
}

type Test = (packet: Packet) => Truth;

const UNKNOWN: Test = () => null;

/** Options of matches with how many words follow; those not listed make the rule not understood. */
const TESTS: Readonly<Record<string, (value: string, rest: () => string) => Test>> = {
  "-s": (value) => (packet) => isWithin(packet.source, value),
  "-d": (value) => (packet) => isWithin(packet.destination, value),
  "-i": (value) => (packet) => isInterface(packet.inputInterface, value, "+"),
  "-o": (value) => (packet) => isInterface(packet.outputInterface, value, "+"),
  "-p": (value) => (packet) => isProtocol(packet, value),
  "--dport": (value) => (packet) => isPort(packet.destinationPort, value),
  "--dports": (value) => (packet) =>
    anyOf(value.split(",").map((one) => isPort(packet.destinationPort, one))),
  "--state": (value) => (packet) => isState(packet, value),
  "--ctstate": (value) => (packet) => isState(packet, value),
  "--dst-type": (value) => (packet) => isDestinationType(packet, value),
  "--src-type": (value) => (packet) => (value === "LOCAL" && packet.inputInterface === null ? true : null),
  "--mark": (value) => (packet) => isMarked(packet, value),
  "--icmp-type": (value) => (packet) => isEcho(packet, value, "8"),
  "--icmpv6-type": (value) => (packet) => isEcho(packet, value, "128"),
  "--tcp-flags": (value, rest) => {
    const wanted = rest();
    return () => isSyn(value, wanted);
  },
};

function parseRule(text: string): FirewallRule {
  const words = tokenize(text);
  const tests: Test[] = [];
  let action: RuleAction = { do: "none" };
  let isNegated = false;
  let module = "";
  for (let index = 0; index < words.length; index++) {
    const word = words[index] ?? "";
    const next = (): string => words[++index] ?? "";
    // The mark of a connection is spelled like that of a packet.
    const parse = module === "connmark" && word === "--mark" ? undefined : TESTS[word];
    if (word === "!") isNegated = true;
    else if (word === "-m") module = next();
    else if (word === "--comment") next();
    else if (word === "-j" || word === "-g") {
      action = actionOf(word, words.slice(index + 1));
      break;
    } else if (parse === undefined) {
      // Its values, up to the next option.
      while (index + 1 < words.length && !/^(?:-|!$)/.test(words[index + 1] ?? "")) index += 1;
      tests.push(UNKNOWN);
      isNegated = false;
    } else {
      const test = parse(next(), next);
      tests.push(isNegated ? (packet) => not(test(packet)) : test);
      isNegated = false;
    }
  }
  return { text, action, test: (packet) => allOf(tests.map((test) => test(packet))) };
}

/** Targets that let the packet go on. */
const PASSING: ReadonlySet<string> = new Set(
  ["LOG", "NFLOG", "ULOG", "TCPMSS", "CT", "TRACE", "CHECKSUM", "CLASSIFY", "DSCP", "TOS", "TTL"].concat([
    "HL",
    "CONNSECMARK",
    "SECMARK",
    "SET",
    "AUDIT",
    "TCPOPTSTRIP",
    "ECN",
    "TEE",
    "LED",
    "RATEEST",
  ]),
);
const SOURCE_NAT: ReadonlySet<string> = new Set(["MASQUERADE", "SNAT"]);
const DESTINATION_NAT: ReadonlySet<string> = new Set(["DNAT", "REDIRECT", "NETMAP"]);

function actionOf(option: string, [target = "", ...options]: readonly string[]): RuleAction {
  if (target === "ACCEPT") return { do: "accept" };
  if (target === "DROP") return { do: "drop" };
  if (target === "REJECT") return { do: "reject" };
  if (target === "RETURN") return { do: "return" };
  if (target === "NOTRACK" || options.includes("--notrack")) return { do: "notrack" };
  if (PASSING.has(target)) return { do: "none" };
  if (SOURCE_NAT.has(target)) return { do: "snat" };
  if (DESTINATION_NAT.has(target)) return { do: "dnat", ...destinationOf(options) };
  if (target === "MARK") return { do: "mark", change: markChangeOf(options) };
  if (target === "CONNMARK")
    return options.includes("--restore-mark") ? { do: "mark", change: null } : { do: "none" };
  if (/^(?:QUEUE|NFQUEUE|TPROXY|SYNPROXY|IDLETIMER)$/.test(target)) return { do: "unknown" };
  return { do: option === "-g" ? "goto" : "jump", chain: target };
}

/** `--to-destination 10.2.1.5:80` or `[fd00::1]:80`; a range is not known. */
function destinationOf(options: readonly string[]): {
  readonly address: Address | null;
  readonly port: number | null;
} {
  const value = options[options.indexOf("--to-destination") + 1] ?? "";
  const match = /^(?:\[(.+)\]|([\d.]+))(?::(\d+))?$/.exec(options.includes("--to-destination") ? value : "");
  if (match === null) return { address: null, port: null };
  return {
    address: Address.parseOrNull(match[1] ?? match[2] ?? ""),
    port: match[3] === undefined ? null : Number(match[3]),
  };
}

/** iptables-save writes all changes as `--set-xmark VALUE/MASK`: zero the bits of the mask, then flip those of the value. */
function markChangeOf([option, text = ""]: readonly string[]): MarkChange | null {
  const [value = "", mask = "0xffffffff"] = text.split("/");
  return option === "--set-xmark" ? { keptBits: ~Number(mask), flippedBits: Number(value) } : null;
}

/** Splits at blanks, keeping what stands in quotes together (iptables-save escapes quotes and backslashes). */
function tokenize(text: string): readonly string[] {
  return [...text.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g)].map(([, quoted, plain]) =>
    quoted === undefined ? (plain ?? "") : quoted.replace(/\\(.)/g, "$1"),
  );
}

function isWithin(address: Address, text: string): Truth {
  try {
    const whole = text.includes("/") ? text : `${text}/${address.family === 4 ? 32 : 128}`;
    return Prefix.parse(whole).contains(address);
  } catch {
    return null; // a mask with gaps
  }
}

/** A packet that is followed goes to one host. */
function isDestinationType({ isToHost }: Packet, value: string): Truth {
  if (value === "LOCAL") return isToHost;
  if (value === "UNICAST") return !isToHost;
  return value === "MULTICAST" ? false : null;
}

function isProtocol(packet: Packet, text: string): Truth {
  if (text === "all") return true;
  const number = parseProtocol(text);
  return number === null ? null : number === protocolNumber(packet);
}

/** A port or a range `low:high`. */
function isPort(port: number | null, text: string): Truth {
  const [low = "", high = low] = text.split(":");
  if (!/^\d+$/.test(low) || !/^\d+$/.test(high)) return null;
  return port !== null && port >= Number(low) && port <= Number(high);
}

/** States of a packet that opens a connection. */
function isState({ isTracked, isTranslated = false }: Packet, value: string): Truth {
  const states = value.split(",");
  return anyOf([
    states.includes(isTracked ? "NEW" : "UNTRACKED"),
    states.includes("DNAT") ? isTranslated : false,
    states.includes("SNAT") ? null : false,
  ]);
}

function isMarked({ mark }: Packet, text: string): Truth {
  const [value = "", mask = "0xffffffff"] = text.split("/");
  return mark === null ? null : (mark & Number(mask)) >>> 0 === Number(value);
}

/** An echo request has the code 0. */
function isEcho({ protocol }: Packet, value: string, echo: string): Truth {
  return protocol === "icmp" && [echo, `${echo}/0`, "echo-request", "any"].includes(value);
}

/** A first packet of TCP has the flag SYN alone. */
function isSyn(mask: string, wanted: string): Truth {
  const tested = mask === "ALL" ? ["FIN", "SYN", "RST", "PSH", "ACK", "URG"] : mask.split(",");
  const found = tested.filter((flag) => flag === "SYN");
  const expected = wanted === "NONE" ? [] : wanted.split(",");
  return found.join() === expected.join();
}
