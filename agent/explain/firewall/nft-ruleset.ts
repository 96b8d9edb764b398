/**
 * The JSON of `nft -j list ruleset` (libnftables-json(5)) as chains whose rules can be tested. Pure. Expressions that are not
 * understood are not known.
 */

import { nftTable } from "../../../backends/firewall/nft-render.ts";
import { Address, FAMILIES, type Family } from "../../../ipam/addresses/ip.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../../../ipam/json.ts";
import { allOf, type MarkChange, type Packet, type Truth } from "../packet.ts";
import { testMatch, testValue } from "./nft-match.ts";
import type { BaseChain, FirewallChain, FirewallRule, FirewallTable, Hook, RuleAction } from "./ruleset.ts";

const HOOKS: readonly Hook[] = ["prerouting", "input", "forward", "output", "postrouting"];

/** What `nft` prints as text: see ruleTexts. */
export interface RuleTexts {
  /** Rules, by table, chain and handle. */
  readonly rules: ReadonlyMap<string, string>;
  /** The devices of base chains, by table and chain. Older versions leave them out of the JSON (1.0.6). */
  readonly devices: ReadonlyMap<string, readonly string[]>;
  /** Tables whose chains are switched off. nft 1.0 writes their flags unreadably into the JSON. */
  readonly dormant: ReadonlySet<string>;
}

export interface NftRuleset {
  readonly tables: readonly FirewallTable[];
  /** Tables with base chains that see frames before or beside the hooks of IP: they are not tested. */
  readonly others: readonly FrameTable[];
}

/** Rules for frames. */
export interface FrameTable {
  readonly name: string;
  /** `ingress`: of what arrives by the devices; `egress`: of what leaves by them; `bridge`: of what crosses a bridge. */
  readonly hook: "ingress" | "egress" | "bridge";
  /** Null where they are not known; of bridges all. */
  readonly devices: readonly string[] | null;
}

/**
 * `isShown` is true for chains that another tool shows better, as iptables-save does those of iptables-nft: here they are
 * entered by jumps from others alone.
 */
export function nftRuleset(
  entries: readonly JsonValue[],
  texts: RuleTexts,
  isShown: (chain: string) => boolean,
): NftRuleset {
  const objects = entries.filter(isJsonObject);
  const of = (kind: string): readonly JsonObject[] =>
    objects.flatMap((entry) => (isJsonObject(entry[kind]) ? [entry[kind]] : []));
  const isAwake = ({ family, table }: JsonObject): boolean => !texts.dormant.has(`${family} ${table}`);
  const chains = of("chain").filter(isAwake);
  const [rules, sets] = [of("rule"), setsOf([...of("set"), ...of("map")])];
  const tables = of("table").flatMap(({ family, name }): readonly FirewallTable[] => {
    const families = familiesOf(family);
    if (families.length === 0) return [];
    const isHere = (one: JsonObject): boolean => one.family === family && one.table === name;
    const isElsewhere = (chain: JsonObject): boolean => isShown(`${family} ${name} ${chain.name}`);
    const ownChains = chains.filter(isHere);
    if (ownChains.length > 0 && ownChains.every(isElsewhere)) return [];
    const own = byChain(rules.filter(isHere));
    const found = ownChains.map((chain): [string, FirewallChain] => {
      const inChain = own.get(String(chain.name)) ?? [];
      const parse = (rule: JsonObject) => parseRule(rule, texts.rules.get(keyOf(rule)), sets);
      const base = isElsewhere(chain) ? null : baseOf(chain);
      return [String(chain.name), { base, rules: inChain.flatMap(parse) }];
    });
    return [{ name: `nft ${family} ${name}`, families, chains: new Map(found) }];
  });
  const others = chains
    .filter((chain) => chain.hook !== undefined && !isOfIp(chain))
    .flatMap((chain) => {
      const { family, table, name, policy } = chain;
      const mayDrop =
        policy === "drop" || rules.some((rule) => rule.family === family && rule.table === table);
      const devices = texts.devices.get(`${family} ${table} ${name}`) ?? null;
      return mayDrop ? [{ name: `nft ${family} ${table}`, hook: frameHook(chain), devices }] : [];
    });
  return { tables, others };
}

/** kube-proxy has several chains for each service. */
function byChain(rules: readonly JsonObject[]): ReadonlyMap<string, readonly JsonObject[]> {
  const chains = new Map<string, JsonObject[]>();
  for (const rule of rules) {
    const name = String(rule.chain);
    const present = chains.get(name);
    if (present === undefined) chains.set(name, [rule]);
    else present.push(rule);
  }
  return chains;
}

/** False for hooks of devices, which tables of the family inet may have too. */
function isOfIp(chain: JsonObject): boolean {
  return familiesOf(chain.family).length > 0 && baseOf(chain) !== null;
}

function frameHook({ family, hook }: JsonObject): FrameTable["hook"] {
  if (family === "bridge") return "bridge";
  return hook === "egress" ? "egress" : "ingress";
}

/** The address families that a table is for; none for one that sees frames. */
function familiesOf(name: JsonValue | undefined): readonly Family[] {
  return FAMILIES.filter((family) => name === "inet" || name === nftTable(family, null).protocol);
}

/** Reads `nft -a list ruleset`, whose rules end in `# handle N`. */
export function ruleTexts(listing: string): RuleTexts {
  const rules = new Map<string, string>();
  const devices = new Map<string, readonly string[]>();
  const dormant = new Set<string>();
  let [table, chain] = ["", ""];
  for (const line of listing.split("\n")) {
    const opened = /^(\t?)(table|chain) (.+) \{/.exec(line);
    if (opened?.[2] === "table") table = opened[3] ?? "";
    else if (opened?.[2] === "chain") chain = opened[3] ?? "";
    else if (/^\tflags .*\bdormant\b/.test(line)) dormant.add(table);
    else {
      const rule = /^\t\t(.+) # handle (\d+)$/.exec(line);
      if (rule !== null) rules.set(`${table} ${chain} ${rule[2]}`, rule[1] ?? "");
      const named = DEVICES.exec(line)?.[1];
      if (named !== undefined) devices.set(`${table} ${chain}`, named.split(/[", ]+/).filter(Boolean));
    }
  }
  return { rules, devices, dormant };
}

/** Of one device or several. */
const DEVICES = /^\t\ttype \w+ hook \w+ devices? (?:= \{)?([^{}]+?)\}? priority /;

function keyOf({ family, table, chain, handle }: JsonObject): string {
  return `${family} ${table} ${chain} ${handle}`;
}

function baseOf({ hook, prio, policy, type }: JsonObject): BaseChain | null {
  const known = HOOKS.find((one) => one === hook);
  if (known === undefined) return null;
  return {
    hook: known,
    priority: Number(prio ?? 0),
    policy: policy === "drop" ? "drop" : "accept",
    isNat: type === "nat",
    reroutes: type === "route",
  };
}

type Sets = ReadonlyMap<string, readonly JsonValue[]>;

/** Elements by family, table and name. */
function setsOf(sets: readonly JsonObject[]): Sets {
  return new Map(
    sets.map(({ family, table, name, elem }) => [
      `${family} ${table} ${name}`,
      Array.isArray(elem) ? (elem as readonly JsonValue[]) : [],
    ]),
  );
}

type Test = (packet: Packet) => Truth;

/** One rule, or for a verdict map one for each of its elements. */
function parseRule(rule: JsonObject, text: string | undefined, sets: Sets): readonly FirewallRule[] {
  const { family, table, expr, comment, handle } = rule;
  const shown = text ?? `rule with handle ${handle}${typeof comment === "string" ? ` "${comment}"` : ""}`;
  const setOf = (name: string): readonly JsonValue[] | null => sets.get(`${family} ${table} ${name}`) ?? null;
  const tests: Test[] = [];
  const rules: FirewallRule[] = [];
  const add = (action: RuleAction, more: readonly Test[] = []): void => {
    const all = [...tests, ...more];
    rules.push({ text: shown, action, test: (packet) => allOf(all.map((test) => test(packet))) });
  };
  for (const statement of Array.isArray(expr) ? expr : []) {
    if (!isJsonObject(statement)) continue;
    const [[kind, value] = ["", null]] = Object.entries(statement);
    if (kind === "match" && isJsonObject(value)) tests.push((packet) => testMatch(value, packet, setOf));
    else if (kind === "vmap" && isJsonObject(value)) {
      for (const [test, action] of verdictsOf(value, setOf)) add(action, [test]);
    } else if (kind === "xt") {
      if (isTarget(value)) add({ do: "unknown" });
      else tests.push(() => null);
    } else if (UNKNOWN_TESTS.has(kind)) tests.push(() => null);
    else if (!PASSING.has(kind)) add(actionOf(kind, value));
  }
  return rules;
}

/** A match or target of iptables, of which nft shows the name only. */
function isTarget(value: JsonValue | undefined): boolean {
  return isJsonObject(value) && value.type === "target";
}

/** Statements that let a packet pass or not by what is not known here. */
const UNKNOWN_TESTS: ReadonlySet<string> = new Set(["limit", "quota", "ct count", "meter"]);
const PASSING: ReadonlySet<string> = new Set(
  ["counter", "log", "set", "add", "update", "delete", "dup", "flow", "ct helper", "comment"].concat([
    "ct timeout",
    "ct expectation",
    "secmark",
    "map",
    "last",
  ]),
);

function actionOf(kind: string, value: JsonValue | undefined): RuleAction {
  switch (kind) {
    case "accept":
    case "drop":
    case "reject":
    case "return":
    case "notrack":
      return { do: kind };
    case "continue":
      return { do: "none" };
    case "jump":
    case "goto":
      return { do: kind, chain: isJsonObject(value) ? String(value.target) : "" };
    case "masquerade":
    case "snat":
      return { do: "snat" };
    case "dnat":
    case "redirect":
      return { do: "dnat", ...destinationOf(value) };
    case "mangle":
      return mangled(value);
    default:
      return { do: "unknown" };
  }
}

function destinationOf(value: JsonValue | undefined): {
  readonly address: Address | null;
  readonly port: number | null;
} {
  const { addr, port } = isJsonObject(value) ? value : {};
  return {
    address: typeof addr === "string" ? Address.parseOrNull(addr) : null,
    port: typeof port === "number" ? port : null,
  };
}

/** Only marks count: what else is changed no rule here tests. */
function mangled(value: JsonValue | undefined): RuleAction {
  if (!isJsonObject(value) || !isMark(value.key ?? null)) return { do: "none" };
  return { do: "mark", change: markChangeOf(value.value ?? null) };
}

function isMark(value: JsonValue): boolean {
  return isJsonObject(value) && isJsonObject(value.meta) && value.meta.key === "mark";
}

/** Of a number, or of the former mark with bits set, kept or flipped; null for others. */
function markChangeOf(value: JsonValue): MarkChange | null {
  if (typeof value === "number") return { keptBits: 0, flippedBits: value };
  if (isMark(value)) return { keptBits: ~0, flippedBits: 0 };
  const [[operator = "", operands] = []] = isJsonObject(value) ? Object.entries(value) : [];
  const [left = null, bits] = Array.isArray(operands) ? (operands as readonly JsonValue[]) : [];
  const before = left === null ? null : markChangeOf(left);
  if (before === null || typeof bits !== "number") return null;
  const { keptBits, flippedBits } = before;
  if (operator === "&") return { keptBits: keptBits & bits, flippedBits: flippedBits & bits };
  if (operator === "|") return { keptBits: keptBits & ~bits, flippedBits: flippedBits | bits };
  return operator === "^" ? { keptBits, flippedBits: flippedBits ^ bits } : null;
}

function verdictsOf(
  { key, data }: JsonObject,
  setOf: (name: string) => readonly JsonValue[] | null,
): readonly (readonly [Test, RuleAction])[] {
  const named = typeof data === "string" && data.startsWith("@") ? setOf(data.slice(1)) : null;
  const elements = isJsonObject(data) && Array.isArray(data.set) ? (data.set as readonly JsonValue[]) : named;
  if (elements === null) return [[() => null, { do: "unknown" }]];
  return elements.map((element) => {
    const [found, verdict] = Array.isArray(element) ? element : [null, null];
    const [[kind, target] = ["", null]] = isJsonObject(verdict) ? Object.entries(verdict) : [];
    return [
      (packet: Packet) => testValue(key ?? null, found ?? null, packet, setOf),
      actionOf(kind, target),
    ] as const;
  });
}
