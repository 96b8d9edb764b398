/**
 * A firewall as chains of rules, whichever tool made them, and what it does with a packet. Pure.
 *
 * A rule whose tests are not all understood may match: then both is said, what happens if it does not, and that it may. What
 * connections before had is not known, so the packet is the first of its connection.
 */

import type { Address, Family } from "../../../ipam/addresses/ip.ts";
import { changedMark, type MarkChange, type Packet, type Truth } from "../packet.ts";

export type Hook = "prerouting" | "input" | "forward" | "output" | "postrouting";

export type RuleAction =
  | { readonly do: "accept" | "drop" | "reject" | "return" | "notrack" | "none" }
  | { readonly do: "jump" | "goto"; readonly chain: string }
  /** Null is a change that is not known. */
  | { readonly do: "mark"; readonly change: MarkChange | null }
  /** Source translation, masquerading included. */
  | { readonly do: "snat" }
  /** Null is a destination that is not known. */
  | { readonly do: "dnat"; readonly address: Address | null; readonly port: number | null }
  /** It may end the packet's way: to a program, or by what is not understood. */
  | { readonly do: "unknown" };

export interface FirewallRule {
  /** As the tool prints it. */
  readonly text: string;
  readonly test: (packet: Packet) => Truth;
  readonly action: RuleAction;
}

export interface BaseChain {
  readonly hook: Hook;
  /** Lower ones come first. */
  readonly priority: number;
  readonly policy: "accept" | "drop";
  /** It translates addresses, which needs connection tracking. */
  readonly isNat: boolean;
  /** A packet of this host that gets another mark there is routed again. */
  readonly reroutes: boolean;
}

export interface FirewallChain {
  readonly rules: readonly FirewallRule[];
  /** Null for a chain that only others lead to. */
  readonly base: BaseChain | null;
}

export interface FirewallTable {
  /** `iptables filter`, `nft inet firewall`. */
  readonly name: string;
  readonly families: readonly Family[];
  readonly chains: ReadonlyMap<string, FirewallChain>;
}

/** What decided in one base chain. */
export interface Decision {
  /** The rule or policy, with its table and chain; null where the chain accepts by its policy. */
  readonly by: string | null;
  /** Rules that matched on the way there, with table and chain; without those that only count or log. */
  readonly through: readonly string[];
}

export interface HookOutcome {
  readonly verdict: "accept" | "drop" | "reject";
  /** Of the base chains in which a rule matched or a policy dropped, in their order; the last one is that of the verdict. */
  readonly decisions: readonly Decision[];
  /** Rules that are not understood, in the order in which the packet meets them. */
  readonly doubtful: readonly DoubtfulRule[];
  /** Of the packet behind the hook. */
  readonly packet: Packet;
  /** The rule that replaces the source; null for none. */
  readonly sourceTranslation: string | null;
  /** The rule that gives it a destination which is not known; null for none. */
  readonly unknownTranslation: string | null;
  /** Chains that the packet entered. */
  readonly chains: number;
}

export interface DoubtfulRule {
  readonly text: string;
  /** The verdict would be another if it matched. */
  readonly isDecisive: boolean;
}

/** What the chains of a hook do with a packet, in the order of their priorities. */
export function passHook(tables: readonly FirewallTable[], hook: Hook, packet: Packet): HookOutcome {
  return new Passage(packet).pass(tables, hook);
}

/** More jumps inside each other than the kernel follows. */
const DEEPEST = 32;

type End = "accept" | "drop" | "reject" | "continue" | "return";

/** What a rule that is not understood may do: let the packet pass this base chain, or end its way. */
interface Effects {
  readonly mayAccept: boolean;
  readonly mayDrop: boolean;
  /** It may give the packet another destination, which later rules may test. */
  readonly mayTranslate: boolean;
  /** It may give the packet another mark, which later rules and the routing decision may test. */
  readonly mayMark: boolean;
  /** It may give the packet another source. */
  readonly mayMasquerade: boolean;
}

class Passage {
  #packet: Packet;
  #through: string[] = [];
  readonly #decisions: Decision[] = [];
  readonly #doubtful: { readonly text: string; mayAccept: boolean; mayDrop: boolean }[] = [];
  #by: string | null = null;
  #sourceTranslation: string | null = null;
  #unknownTranslation: string | null = null;
  #chains = 0;

  constructor(packet: Packet) {
    this.#packet = packet;
  }

  pass(tables: readonly FirewallTable[], hook: Hook): HookOutcome {
    let verdict: HookOutcome["verdict"] = "accept";
    for (const base of basesOf(tables, hook, this.#packet.family)) {
      if (base.base.isNat && !this.#packet.isTracked) continue;
      verdict = this.#passBase(base);
      if (verdict !== "accept") break;
    }
    const isDropped = verdict !== "accept";
    return {
      verdict,
      decisions: this.#decisions,
      doubtful: this.#doubtful.map(({ text, mayAccept, mayDrop }) => ({
        text,
        isDecisive: isDropped ? mayAccept : mayDrop,
      })),
      packet: this.#packet,
      sourceTranslation: this.#sourceTranslation,
      unknownTranslation: this.#unknownTranslation,
      chains: this.#chains,
    };
  }

  #passBase({ table, name, chain, base }: Base): HookOutcome["verdict"] {
    this.#through = [];
    this.#by = null;
    const { mark } = this.#packet;
    const end = this.#enter(table, name, chain, 0);
    if (base.reroutes && this.#packet.mark !== mark) this.#packet = { ...this.#packet, isRerouted: true };
    const isDroppedByPolicy =
      end !== "accept" && end !== "drop" && end !== "reject" && base.policy === "drop";
    if (isDroppedByPolicy)
      this.#by = `the policy of ${table.name}, chain ${name}, which drops what no rule accepts`;
    const through = this.#through.filter((rule) => rule !== this.#by);
    if (this.#by !== null || through.length > 0) this.#decisions.push({ by: this.#by, through });
    if (isDroppedByPolicy) return "drop";
    return end === "drop" || end === "reject" ? end : "accept";
  }

  #enter(table: FirewallTable, name: string, chain: FirewallChain, depth: number): End {
    this.#chains += 1;
    for (const rule of chain.rules) {
      const truth = rule.test(this.#packet);
      if (truth === false) continue;
      const text = `${table.name}, chain ${name}: ${rule.text}`;
      if (truth === null) {
        this.#doubt(table, rule.action, text, depth);
        continue;
      }
      const end = this.#take(table, rule.action, text, depth);
      if (end === "return") return "continue";
      if (end !== "continue") return end;
    }
    return "continue";
  }

  #doubt(table: FirewallTable, action: RuleAction, text: string, depth: number): void {
    const { mayAccept, mayDrop, mayTranslate, mayMark, mayMasquerade } = effectsOf(table, action, depth);
    if (mayMasquerade && this.#packet.isMasqueraded !== true)
      this.#packet = { ...this.#packet, isMasqueraded: null };
    if (mayMark) this.#packet = { ...this.#packet, mark: null };
    if (mayTranslate && this.#packet.isTranslated !== true)
      this.#packet = { ...this.#packet, isTranslated: null };
    if (!mayAccept && !mayDrop) return;
    // A verdict map is several rules with one text.
    const known = this.#doubtful.find((one) => one.text === text);
    if (known === undefined) this.#doubtful.push({ text, mayAccept, mayDrop });
    else {
      known.mayAccept ||= mayAccept;
      known.mayDrop ||= mayDrop;
    }
  }

  /** What a rule that matches does. */
  #take(table: FirewallTable, action: RuleAction, text: string, depth: number): End {
    if (action.do !== "none") this.#through.push(text);
    switch (action.do) {
      case "none":
        return "continue";
      case "mark":
        this.#packet = { ...this.#packet, mark: changedMark(this.#packet.mark, action.change) };
        return "continue";
      case "notrack":
        this.#packet = { ...this.#packet, isTracked: false };
        return "continue";
      case "unknown":
        this.#doubt(table, action, text, depth);
        return "continue";
      case "snat":
        this.#sourceTranslation = text;
        this.#packet = { ...this.#packet, isMasqueraded: true };
        return this.#end("accept", text);
      case "dnat":
        this.#translate(action.address, action.port, text);
        return this.#end("accept", text);
      case "jump":
      case "goto": {
        const chain = table.chains.get(action.chain);
        if (chain === undefined || depth >= DEEPEST) return "continue";
        const before = this.#through.length;
        const end = this.#enter(table, action.chain, chain, depth + 1);
        // Where nothing matched there, it did not lead to what decides.
        if (end === "continue" && this.#through.length === before) this.#through.pop();
        return action.do === "goto" && end === "continue" ? "return" : end;
      }
      case "return":
        return "return";
      case "accept":
      case "drop":
      case "reject":
        return this.#end(action.do, text);
    }
  }

  #end(verdict: "accept" | "drop" | "reject", text: string): End {
    this.#by = text;
    return verdict;
  }

  #translate(address: Address | null, port: number | null, text: string): void {
    if (address === null && port === null) this.#unknownTranslation = text;
    this.#packet = {
      ...this.#packet,
      destination: address ?? this.#packet.destination,
      destinationPort: port ?? this.#packet.destinationPort,
      isTranslated: true,
    };
  }
}

const NO_EFFECTS: Effects = {
  mayAccept: false,
  mayDrop: false,
  mayTranslate: false,
  mayMark: false,
  mayMasquerade: false,
};

function effectsOf(table: FirewallTable, action: RuleAction, depth: number): Effects {
  switch (action.do) {
    case "none":
    case "notrack":
      return NO_EFFECTS;
    case "mark":
      return { ...NO_EFFECTS, mayMark: true };
    case "accept":
    case "return":
      return { ...NO_EFFECTS, mayAccept: true };
    case "snat":
      return { ...NO_EFFECTS, mayAccept: true, mayMasquerade: true };
    case "dnat":
      return { ...NO_EFFECTS, mayAccept: true, mayTranslate: true };
    case "drop":
    case "reject":
      return { ...NO_EFFECTS, mayDrop: true };
    case "unknown":
      return { ...NO_EFFECTS, mayAccept: true, mayDrop: true, mayTranslate: true, mayMasquerade: true };
    case "jump":
    case "goto": {
      const rules = depth < DEEPEST ? (table.chains.get(action.chain)?.rules ?? []) : [];
      const each = rules.map((rule) => effectsOf(table, rule.action, depth + 1));
      return {
        mayAccept: each.some(({ mayAccept }) => mayAccept),
        mayDrop: each.some(({ mayDrop }) => mayDrop),
        mayTranslate: each.some(({ mayTranslate }) => mayTranslate),
        mayMark: each.some(({ mayMark }) => mayMark),
        mayMasquerade: each.some(({ mayMasquerade }) => mayMasquerade),
      };
    }
  }
}

interface Base {
  readonly table: FirewallTable;
  readonly name: string;
  readonly chain: FirewallChain;
  readonly base: BaseChain;
}

function basesOf(tables: readonly FirewallTable[], hook: Hook, family: Family): readonly Base[] {
  return tables
    .filter(({ families }) => families.includes(family))
    .flatMap((table) =>
      [...table.chains].flatMap(([name, chain]): readonly Base[] =>
        chain.base?.hook === hook ? [{ table, name, chain, base: chain.base }] : [],
      ),
    )
    .sort((left, right) => left.base.priority - right.base.priority);
}
