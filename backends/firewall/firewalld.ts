/**
 * Policies of firewalld, where it runs: it rejects in a chain of its own, and only its own rules override that.
 *
 * Two policies for all networks, before the administrator's zones: `tulle` accepts what the networks forward,
 * `tulle-tunnel` opens the tunnels' ports, and port 53 to podman's containers. A zone, `tulle-bridges`, has the bridges
 * that only switch frames: no policy matches interfaces. All are permanent, because firewalld supports no other
 * policies; a new one costs one reload. Other zones stay as they are. Works through firewall-cmd(1) and, to detect
 * changes at low cost, nft.
 */

import { entriesOf, type Family } from "../../ipam/addresses/ip.ts";
import { OUTSIDE } from "../../ipam/containers/outside.ts";
import type { CommandRunner } from "./command.ts";
import type { Drift, RemoveOptions } from "./engine.ts";
import { Listings } from "./listings.ts";
import { type FirewallPlans, IP_PROTOCOL, type Matches, type PrefixMatch, type Rule } from "./rules.ts";

/** A policy or a zone, what it applies to and what it accepts, in firewall-cmd's syntax. */
interface Part {
  readonly kind: "policy" | "zone";
  readonly name: string;
  /** Options that say what a policy applies to. */
  readonly scope: readonly string[];
  /** Options that add its rules, such as `--add-port=8472/udp`; a part without any is not wanted. */
  readonly rules: readonly string[];
}

/** Symbolic zones: HOST is the host itself, ANY everything else (firewalld.policy(5)). */
const TO_ANY = ["--add-ingress-zone=ANY", "--add-egress-zone=ANY"];
const TO_HOST = ["--add-ingress-zone=ANY", "--add-egress-zone=HOST"];

const RICH_FAMILY = { 4: "ipv4", 6: "ipv6" } as const satisfies Record<Family, string>;

const TABLE = "inet firewalld";

/** Our rules in it. The same object as long as nothing in the table can have changed. */
interface ShownRules {
  readonly rules: string;
}

/** firewall-cmd(1), "Exit codes". */
const NOT_RUNNING = 252;

export class Firewalld {
  readonly #runner: CommandRunner;
  readonly #listings: Listings;
  /** What was wanted, and how nft listed our policies when firewalld held exactly that. */
  #verified: { readonly wanted: string; readonly shown: string } | null = null;
  /** The listing of a table whose firewalld did not run: it writes the table when it starts, and then there is another one. */
  #leftBehind: ShownRules | null = null;

  constructor(runner: CommandRunner, listings = new Listings()) {
    this.#runner = runner;
    this.#listings = listings;
  }

  /** Makes firewalld's policies and our zone equal to the plans and returns what differed; nothing where it does not run. */
  async reconcile(plans: FirewallPlans, signal?: AbortSignal): Promise<readonly Drift[]> {
    const parts = partsFor(plans);
    const wanted = JSON.stringify(parts);
    const shown = await this.#shownRules(signal);
    if (shown === null || shown === this.#leftBehind) return [];
    if (this.#verified?.wanted === wanted && this.#verified.shown === shown.rules) return [];
    const exitCode = await this.#askState(signal);
    if (exitCode === NOT_RUNNING) this.#leftBehind = shown;
    if (exitCode !== 0) return [];
    const wrong = await this.#wrongParts(parts, signal);
    for (const part of wrong) await this.#replace(part, signal);
    if (wrong.length > 0) await this.#command(["--reload"], signal);
    this.#listings.forget(TABLE);
    this.#verified = { wanted, shown: (await this.#shownRules(signal))?.rules ?? "" };
    return wrong.map(driftOf);
  }

  /** Removes our policies and our zone and returns which existed; `isDryRun` only returns. */
  async remove({ isDryRun = false, signal }: RemoveOptions = {}): Promise<readonly string[]> {
    if ((await this.#askState(signal)) !== 0) return [];
    if (!isDryRun) return this.reconcile(NO_PLANS, signal);
    return (await this.#wrongParts(partsFor(NO_PLANS), signal)).map(driftOf);
  }

  /** The chains of our policies and our zone as nft lists them; null where firewalld has no table. */
  async #shownRules(signal?: AbortSignal): Promise<ShownRules | null> {
    const shown = { nft: (table: string) => table === TABLE };
    if (!this.#listings.mayShow(shown)) return null;
    return await this.#listings.get(TABLE, shown, async () => {
      const args = ["--stateless", "list", "table", ...TABLE.split(" ")];
      const listing = await this.#runner.runIfInstalled("nft", args, { signal });
      if (listing?.exitCode !== 0) return null;
      const chains = listing.stdout.split(/^\tchain /m).filter((chain) => /^\w+_tulle/.test(chain));
      return { rules: chains.join("") };
    });
  }

  /** 0 while it runs. Takes half a second of a processor. */
  async #askState(signal?: AbortSignal): Promise<number> {
    const answer = await this.#runner.runIfInstalled("firewall-cmd", ["--state"], { signal });
    return answer?.exitCode ?? NOT_RUNNING;
  }

  async #wrongParts(parts: readonly Part[], signal?: AbortSignal): Promise<readonly Part[]> {
    const wrong: Part[] = [];
    for (const part of parts) {
      // One that was emptied may have its permanent rules still.
      const isWrong =
        part.rules.length === 0
          ? await this.#exists(part, signal)
          : (await this.#rulesOf(part, signal)).join() !== [...part.rules].sort().join();
      if (isWrong) wrong.push(part);
    }
    return wrong;
  }

  async #exists({ kind, name }: Part, signal?: AbortSignal): Promise<boolean> {
    const names = await this.#lines([kind === "zone" ? "--get-zones" : "--get-policies"], signal);
    return names.some((line) => line.split(" ").includes(name));
  }

  /** What firewall-cmd prints; nothing when it fails. */
  async #lines(args: readonly string[], signal?: AbortSignal): Promise<readonly string[]> {
    const { exitCode, stdout } = await this.#runner.run("firewall-cmd", args, { signal });
    return exitCode === 0 ? stdout.split("\n").filter(Boolean) : [];
  }

  /** The options that would create the part as it is; empty when it does not exist. */
  async #rulesOf({ kind, name }: Part, signal?: AbortSignal): Promise<readonly string[]> {
    const listing = (what: string) => this.#lines([`--${kind}=${name}`, what], signal);
    const words = async (what: string, option: string): Promise<readonly string[]> =>
      (await listing(what)).flatMap((line) => line.split(" ")).map((word) => `${option}=${word}`);
    if (kind === "zone") {
      const interfaces = await words("--list-interfaces", "--add-interface");
      const isForwarding = interfaces.length > 0 && (await listing("--query-forward")).length > 0;
      return [...(isForwarding ? [FORWARD] : []), ...interfaces].sort();
    }
    const rich = (await listing("--list-rich-rules")).map((rule) => `--add-rich-rule=${rule}`);
    const ports = await words("--list-ports", "--add-port");
    const protocols = await words("--list-protocols", "--add-protocol");
    return [...rich, ...ports, ...protocols].sort();
  }

  async #replace({ kind, name, scope, rules }: Part, signal?: AbortSignal): Promise<void> {
    // Fails when it does not exist, which is as good.
    await this.#runner.run("firewall-cmd", ["--permanent", `--delete-${kind}=${name}`], { signal });
    if (rules.length === 0) return;
    await this.#command(["--permanent", `--new-${kind}=${name}`], signal);
    // One kind of option in each call.
    for (const options of [...scope.map((each) => [each]), ...byKind(rules)]) {
      await this.#command(["--permanent", `--${kind}=${name}`, ...options], signal);
    }
  }

  async #command(args: readonly string[], signal?: AbortSignal): Promise<void> {
    await this.#runner.succeed("firewall-cmd", args, { signal });
  }
}

const NO_PLANS: FirewallPlans = new Map();

/** Lets packets pass between the interfaces of a zone. */
const FORWARD = "--add-forward";

function driftOf({ kind, name }: Part): Drift {
  return `firewalld: ${kind} ${name} differs`;
}

function byKind(options: readonly string[]): readonly (readonly string[])[] {
  const kinds = [...new Set(options.map(kindOf))];
  return kinds.map((kind) => options.filter((option) => kindOf(option) === kind));
}

function kindOf(option: string): string {
  return option.replace(/=.*/s, "");
}

/** What firewalld must hold. What our own chains drop needs no rule here. */
function partsFor(plans: FirewallPlans): readonly Part[] {
  const families = [...plans.values()].flatMap(({ rules }) => [...entriesOf(rules)]);
  const accepts = families.flatMap(([family, { chains }]) =>
    (chains.forward ?? []).flatMap(({ action, matches }) =>
      action.do === "accept" ? [{ family, matches }] : [],
    ),
  );
  const bridges = new Set(accepts.flatMap(({ matches }) => bridgesIn(matches)));
  return [
    {
      kind: "policy",
      name: "tulle",
      scope: TO_ANY,
      rules: [...new Set(accepts.flatMap(({ family, matches }) => richRules(family, matches)))],
    },
    {
      kind: "policy",
      name: "tulle-tunnel",
      scope: TO_HOST,
      rules: [
        ...new Set(families.flatMap(([, { chains }]) => (chains.input ?? []).flatMap(packetOptions))),
        ...accepts.flatMap(({ family, matches }) => dnsRules(family, matches)),
      ],
    },
    {
      kind: "zone",
      name: "tulle-bridges",
      scope: [],
      rules: bridges.size === 0 ? [] : [FORWARD, ...[...bridges].map((name) => `--add-interface=${name}`)],
    },
  ];
}

/** firewalld takes no rule that accepts whatever comes. */
function richRules(family: Family, { source, destination }: Matches): string[] {
  const side = (name: string, match: PrefixMatch | undefined): string[] =>
    match === undefined ? [] : [`${name} address="${match.prefix}"`];
  const words = [...side("source", source), ...side("destination", destination)];
  return words.length === 0
    ? []
    : [`--add-rich-rule=rule family="${RICH_FAMILY[family]}" ${words.join(" ")} accept`];
}

/** Containers on the bridge to the outside ask tulled's name server. Its address is one of IPv4. */
function dnsRules(family: Family, { inputInterface, source }: Matches): string[] {
  if (family !== 4 || inputInterface !== OUTSIDE.name || source === undefined) return [];
  const from = `rule family="ipv4" source address="${source.prefix}"`;
  return ["udp", "tcp"].map(
    (protocol) => `--add-rich-rule=${from} port port="53" protocol="${protocol}" accept`,
  );
}

/** The bridges that a rule for switched frames is about. */
function bridgesIn({ inputInterface, outputInterface }: Matches): string[] {
  if (inputInterface === undefined || inputInterface !== outputInterface) return [];
  return [inputInterface.replace(/\*$/, "+")];
}

function packetOptions({ matches: { udpPort, protocol } }: Rule): string[] {
  if (protocol !== undefined) return [`--add-protocol=${IP_PROTOCOL[protocol]}`];
  return udpPort === undefined ? [] : [`--add-port=${udpPort}/udp`];
}
