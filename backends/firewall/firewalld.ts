/**
 * Policies of firewalld, where it runs: its reject stands in a chain of its own, and only its own rules overrule it.
 *
 * Two policies, in front of the administrator's zones: `tulle` accepts what the network forwards, `tulle-tunnel`
 * opens the tunnel's port. They are permanent, because firewalld knows no other policies; a new one costs one
 * reload. Zones are left alone. Works through firewall-cmd(1) and, to notice changes cheaply, nft.
 */

import { entriesOf, type Family } from "../../ipam/addresses/ip.ts";
import type { CommandRunner } from "./command.ts";
import type { Drift, RemoveOptions } from "./engine.ts";
import { EMPTY_PLAN, type FirewallPlan, type PrefixMatch, type Rule } from "./rules.ts";

/** Where a policy stands and what it accepts, as firewall-cmd spells it. */
interface Policy {
  readonly name: string;
  /** Symbolic zones: HOST is the host itself, ANY everything else (firewalld.policy(5)). */
  readonly egress: "ANY" | "HOST";
  /** Options that add its rules, such as `--add-port=8472/udp`; a policy without any is not wanted. */
  readonly rules: readonly string[];
}

const RICH_FAMILY = { 4: "ipv4", 6: "ipv6" } as const satisfies Record<Family, string>;

export class Firewalld {
  readonly #runner: CommandRunner;
  /** What was wanted, and how the kernel showed our policies when firewalld held just that. */
  #verified: { readonly wanted: string; readonly shown: string } | null = null;

  constructor(runner: CommandRunner) {
    this.#runner = runner;
  }

  /** Makes firewalld's policies equal to the plan and answers what was wrong; nothing where it does not run. */
  async reconcile(plan: FirewallPlan, signal?: AbortSignal): Promise<readonly Drift[]> {
    const policies = policiesFor(plan);
    const wanted = JSON.stringify(policies);
    const shown = await this.#shownRules(signal);
    if (shown === null) return [];
    if (this.#verified?.wanted === wanted && this.#verified.shown === shown) return [];
    if (!(await this.#isRunning(signal))) return [];
    const wrong = await this.#wrongPolicies(policies, signal);
    for (const policy of wrong) await this.#replace(policy, signal);
    if (wrong.length > 0) await this.#command(["--reload"], signal);
    this.#verified = { wanted, shown: (await this.#shownRules(signal)) ?? "" };
    return wrong.map(({ name }) => `firewalld: policy ${name} differs`);
  }

  /** Removes our policies and answers which there were; `isDryRun` only answers. */
  async remove({ isDryRun = false, signal }: RemoveOptions = {}): Promise<readonly string[]> {
    if (!(await this.#isRunning(signal))) return [];
    if (!isDryRun) return this.reconcile(EMPTY_PLAN, signal);
    const wrong = await this.#wrongPolicies(policiesFor(EMPTY_PLAN), signal);
    return wrong.map(({ name }) => `firewalld: policy ${name} differs`);
  }

  /** Our policies' chains as nft lists them; null where firewalld has no table. */
  async #shownRules(signal?: AbortSignal): Promise<string | null> {
    const listing = await this.#runner.runIfInstalled(
      "nft",
      ["--stateless", "list", "table", "inet", "firewalld"],
      { signal },
    );
    if (listing?.exitCode !== 0) return null;
    return listing.stdout
      .split(/^\tchain /m)
      .filter((chain) => /^\w+_tulle/.test(chain))
      .join("");
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

  /** The options that would make the policy what it is now; empty when there is no such policy. */
  async #rulesOf(name: string, signal?: AbortSignal): Promise<readonly string[]> {
    const listing = async (what: string): Promise<readonly string[]> => {
      const { exitCode, stdout } = await this.#runner.run("firewall-cmd", [`--policy=${name}`, what], {
        signal,
      });
      return exitCode === 0 ? stdout.split("\n").filter(Boolean) : [];
    };
    const rich = (await listing("--list-rich-rules")).map((rule) => `--add-rich-rule=${rule}`);
    const ports = (await listing("--list-ports")).flatMap((line) => line.split(" "));
    return [...rich, ...ports.map((port) => `--add-port=${port}`)].sort();
  }

  async #replace({ name, egress, rules }: Policy, signal?: AbortSignal): Promise<void> {
    // Absent is as good as deleted.
    await this.#runner.run("firewall-cmd", ["--permanent", `--delete-policy=${name}`], { signal });
    if (rules.length === 0) return;
    await this.#command(["--permanent", `--new-policy=${name}`], signal);
    // One kind of option in each call.
    for (const options of [["--add-ingress-zone=ANY"], [`--add-egress-zone=${egress}`], rules]) {
      await this.#command(["--permanent", `--policy=${name}`, ...options], signal);
    }
  }

  async #command(args: readonly string[], signal?: AbortSignal): Promise<void> {
    await this.#runner.succeed("firewall-cmd", args, { signal });
  }
}

/** What firewalld must hold for a plan. */
function policiesFor({ rules }: FirewallPlan): readonly Policy[] {
  const families = [...entriesOf(rules)];
  return [
    {
      name: "tulle",
      egress: "ANY",
      rules: families.flatMap(([family, { chains }]) => (chains.forward ?? []).map(richRule(family))),
    },
    {
      name: "tulle-tunnel",
      egress: "HOST",
      rules: [...new Set(families.flatMap(([, { chains }]) => (chains.input ?? []).flatMap(portOption)))],
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

function portOption({ matches }: Rule): string[] {
  return matches.udpPort === undefined ? [] : [`--add-port=${matches.udpPort}/udp`];
}
