/**
 * Policies of firewalld, where it runs: it rejects in a chain of its own, and only its own rules override that.
 *
 * Two policies for all networks, before the administrator's zones: `tulle` accepts what the networks forward,
 * `tulle-tunnel` opens the tunnels' ports. They are permanent, because firewalld supports no other policies; a new one
 * costs one reload. Zones stay as they are. Works through firewall-cmd(1) and, to detect changes at low cost, nft.
 */

import { entriesOf, type Family } from "../../ipam/addresses/ip.ts";
import type { CommandRunner } from "./command.ts";
import type { Drift, RemoveOptions } from "./engine.ts";
import { Listings } from "./listings.ts";
import { type FirewallPlans, IP_PROTOCOL, type PrefixMatch, type Rule } from "./rules.ts";

/** What a policy applies to and accepts, in firewall-cmd's syntax. */
interface Policy {
  readonly name: string;
  /** Symbolic zones: HOST is the host itself, ANY everything else (firewalld.policy(5)). */
  readonly egress: "ANY" | "HOST";
  /** Options that add its rules, such as `--add-port=8472/udp`; a policy without any is not wanted. */
  readonly rules: readonly string[];
}

const RICH_FAMILY = { 4: "ipv4", 6: "ipv6" } as const satisfies Record<Family, string>;

const TABLE = "inet firewalld";

export class Firewalld {
  readonly #runner: CommandRunner;
  readonly #listings: Listings;
  /** What was wanted, and how nft listed our policies when firewalld held exactly that. */
  #verified: { readonly wanted: string; readonly shown: string } | null = null;

  constructor(runner: CommandRunner, listings = new Listings()) {
    this.#runner = runner;
    this.#listings = listings;
  }

  /** Makes firewalld's policies equal to the plans and returns what differed; nothing where it does not run. */
  async reconcile(plans: FirewallPlans, signal?: AbortSignal): Promise<readonly Drift[]> {
    const policies = policiesFor(plans);
    const wanted = JSON.stringify(policies);
    const shown = await this.#shownRules(signal);
    if (shown === null) return [];
    if (this.#verified?.wanted === wanted && this.#verified.shown === shown) return [];
    if (!(await this.#isRunning(signal))) return [];
    const wrong = await this.#wrongPolicies(policies, signal);
    for (const policy of wrong) await this.#replace(policy, signal);
    if (wrong.length > 0) await this.#command(["--reload"], signal);
    this.#listings.forget(TABLE);
    this.#verified = { wanted, shown: (await this.#shownRules(signal)) ?? "" };
    return wrong.map(({ name }) => `firewalld: policy ${name} differs`);
  }

  /** Removes our policies and returns which existed; `isDryRun` only returns. */
  async remove({ isDryRun = false, signal }: RemoveOptions = {}): Promise<readonly string[]> {
    if (!(await this.#isRunning(signal))) return [];
    if (!isDryRun) return this.reconcile(NO_PLANS, signal);
    const wrong = await this.#wrongPolicies(policiesFor(NO_PLANS), signal);
    return wrong.map(({ name }) => `firewalld: policy ${name} differs`);
  }

  /** Our policies' chains as nft lists them; null where firewalld has no table. */
  async #shownRules(signal?: AbortSignal): Promise<string | null> {
    const shown = { nft: (table: string) => table === TABLE };
    if (!this.#listings.mayShow(shown)) return null;
    return await this.#listings.get(TABLE, shown, async () => {
      const args = ["--stateless", "list", "table", ...TABLE.split(" ")];
      const listing = await this.#runner.runIfInstalled("nft", args, { signal });
      if (listing?.exitCode !== 0) return null;
      return listing.stdout
        .split(/^\tchain /m)
        .filter((chain) => /^\w+_tulle/.test(chain))
        .join("");
    });
  }

  async #isRunning(signal?: AbortSignal): Promise<boolean> {
    return (await this.#runner.runIfInstalled("firewall-cmd", ["--state"], { signal }))?.exitCode === 0;
  }

  async #wrongPolicies(policies: readonly Policy[], signal?: AbortSignal): Promise<readonly Policy[]> {
    const wrong: Policy[] = [];
    for (const policy of policies) {
      if ((await this.#rulesOf(policy.name, signal)).join() !== [...policy.rules].sort().join())
        wrong.push(policy);
    }
    return wrong;
  }

  /** The options that would create the policy as it is; empty when it does not exist. */
  async #rulesOf(name: string, signal?: AbortSignal): Promise<readonly string[]> {
    const listing = async (what: string): Promise<readonly string[]> => {
      const { exitCode, stdout } = await this.#runner.run("firewall-cmd", [`--policy=${name}`, what], {
        signal,
      });
      return exitCode === 0 ? stdout.split("\n").filter(Boolean) : [];
    };
    const rich = (await listing("--list-rich-rules")).map((rule) => `--add-rich-rule=${rule}`);
    const words = async (what: string): Promise<readonly string[]> =>
      (await listing(what)).flatMap((line) => line.split(" "));
    const ports = (await words("--list-ports")).map((port) => `--add-port=${port}`);
    const protocols = (await words("--list-protocols")).map((protocol) => `--add-protocol=${protocol}`);
    return [...rich, ...ports, ...protocols].sort();
  }

  async #replace({ name, egress, rules }: Policy, signal?: AbortSignal): Promise<void> {
    // Fails when the policy does not exist, which is as good.
    await this.#runner.run("firewall-cmd", ["--permanent", `--delete-policy=${name}`], { signal });
    if (rules.length === 0) return;
    await this.#command(["--permanent", `--new-policy=${name}`], signal);
    // One kind of option in each call.
    const protocols = rules.filter((option) => option.startsWith("--add-protocol="));
    const others = rules.filter((option) => !protocols.includes(option));
    const zones = [["--add-ingress-zone=ANY"], [`--add-egress-zone=${egress}`]];
    for (const options of [...zones, others, protocols].filter(({ length }) => length > 0)) {
      await this.#command(["--permanent", `--policy=${name}`, ...options], signal);
    }
  }

  async #command(args: readonly string[], signal?: AbortSignal): Promise<void> {
    await this.#runner.succeed("firewall-cmd", args, { signal });
  }
}

const NO_PLANS: FirewallPlans = new Map();

/** What firewalld must hold. What our own chains drop needs no rule here. */
function policiesFor(plans: FirewallPlans): readonly Policy[] {
  const families = [...plans.values()].flatMap(({ rules }) => [...entriesOf(rules)]);
  return [
    {
      name: "tulle",
      egress: "ANY",
      rules: families.flatMap(([family, { chains }]) =>
        (chains.forward ?? []).filter(({ action }) => action.do === "accept").map(richRule(family)),
      ),
    },
    {
      name: "tulle-tunnel",
      egress: "HOST",
      rules: [...new Set(families.flatMap(([, { chains }]) => (chains.input ?? []).flatMap(packetOptions)))],
    },
  ];
}

function richRule(family: Family): (rule: Rule) => string {
  return ({ matches }) => {
    const side = (name: string, match: PrefixMatch | undefined): string[] =>
      match === undefined ? [] : [`${name} address="${match.prefix}"`];
    const words = [...side("source", matches.source), ...side("destination", matches.destination)];
    return `--add-rich-rule=rule family="${RICH_FAMILY[family]}" ${words.join(" ")} accept`;
  };
}

function packetOptions({ matches: { udpPort, protocol } }: Rule): string[] {
  if (protocol !== undefined) return [`--add-protocol=${IP_PROTOCOL[protocol]}`];
  return udpPort === undefined ? [] : [`--add-port=${udpPort}/udp`];
}
