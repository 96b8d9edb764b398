import { describe, expect, it } from "vitest";
import { splitDaemonFlags } from "../../../../agent/commands/daemon-flags.ts";
import { COMMANDS } from "../../../../agent/commands/registry.ts";
import manifest from "../../../../package.json" with { type: "json" };
import { runCli } from "../../../support/cli.ts";

describe("the command line", () => {
  it("prints its version", async () => {
    const expected = { code: 0, out: `tulle ${manifest.version}\n`, err: "" };
    expect(await runCli(["--version"])).toEqual(expected);
    expect(await runCli(["version"])).toEqual(expected);
  });

  it("names every command in its help, and fails when it is given none", async () => {
    const { code, out } = await runCli(["--help"]);
    expect(code).toBe(0);
    for (const { name, summary } of COMMANDS) {
      expect(out).toMatch(new RegExp(`^  ${name} .*${summary.slice(0, 20)}`, "m"));
    }
    expect(await runCli([])).toMatchObject({ code: 2, out: "" });
  });

  it.each(COMMANDS.map(({ name }) => name))(
    "%s --help says what it does, in lines that fit",
    async (name) => {
      const { code, out, err } = await runCli([name, "--help"]);
      expect({ code, err }).toEqual({ code: 0, err: "" });
      expect(out).toContain(`Usage: tulle ${name}`);
      expect(out.split("\n").filter((line) => line.length > 120)).toEqual([]);
      expect((await runCli(["help", name])).out).toBe(out);
    },
  );

  it.each([
    [["statu"], "tulle: unknown command 'statu' (Did you mean status?); see tulle --help\n"],
    [
      ["status", "--jason"],
      "tulle: unknown option '--jason' (Did you mean --json?); see tulle status --help\n",
    ],
    [["lease", "show"], "tulle: missing required argument 'lease'; see tulle lease --help\n"],
    [
      ["version", "now"],
      "tulle: too many arguments for 'version'. Expected 0 arguments but got 1.; see tulle version --help\n",
    ],
  ])("%j is answered by one line and exit code 2", async (args, err) => {
    expect(await runCli(args)).toEqual({ code: 2, out: "", err });
  });

  it("answers for a subcommand of any depth as for a command", async () => {
    for (const args of [
      ["cni", "install"],
      ["cni", "ipam", "list"],
      ["net", "init"],
      ["docker", "setup"],
    ]) {
      const { code, out, err } = await runCli([...args, "--help"]);
      expect({ code, err }).toEqual({ code: 0, err: "" });
      expect(out).toContain(`Usage: tulle ${args.join(" ")}`);
      expect(await runCli([...args, "--no-such-option"])).toMatchObject({
        code: 2,
        out: "",
        err: expect.stringMatching(/^tulle: unknown option '--no-such-option'; see tulle \w+ --help\n$/),
      });
    }
  });

  it("says a failure in one line with its code", async () => {
    const { code, out, err } = await runCli(["leases", "--store=elsewhere"]);
    expect({ code, out }).toEqual({ code: 1, out: "" });
    expect(err).toMatch(/^tulle: flag -store: "elsewhere" is wrong: .* \[TULLE_CONFIG\]\n$/);
  });

  it("ends in one line when it is interrupted", async () => {
    const signal = AbortSignal.abort(new Error("stopped by SIGINT"));
    const answer = await runCli(["leases", "--store=file:/nowhere/at/all"], { signal });
    expect(answer).toEqual({ code: 1, out: "", err: "tulle: stopped by SIGINT\n" });
  });

  it("warns of variables that are no settings", async () => {
    const { err } = await runCli(["leases", "--store=x"], { environment: { FLANNELD_STORRE: "1" } });
    expect(err).not.toContain("STORRE"); // the wrong value ends it first
    const answer = await runCli(["leases", "--store=file:/nowhere/at/all"], {
      environment: { FLANNELD_STORRE: "1" },
    });
    expect(answer.err).toContain("tulle: warning: FLANNELD_STORRE is no setting of this version\n");
  });
});

describe("flags of tulled", () => {
  const names = ["store", "etcd-endpoints", "ip-masq"] as const;

  it.each([
    [["-store", "consul", "x"], ["-store", "consul"], ["x"]],
    [["--store=consul", "-json"], ["--store=consul"], ["-json"]],
    [["x", "-etcd-endpoints=http://a:1,http://b:2"], ["-etcd-endpoints=http://a:1,http://b:2"], ["x"]],
    [["--ip-masq", "x"], ["--ip-masq"], ["x"]],
    [["--", "-store", "consul"], [], ["--", "-store", "consul"]],
    [["-store"], ["-store"], []],
    [["--iface", "eth0", "-"], [], ["--iface", "eth0", "-"]],
  ])("%j is split into %j and %j", (args, daemon, rest) => {
    expect(splitDaemonFlags(args, names)).toEqual({ daemon, rest });
  });

  it("are refused by a command that has no use for them", async () => {
    const { code, err } = await runCli(["status", "--store", "consul"]);
    expect(code).toBe(2);
    expect(err).toContain("unknown option '--store'");
  });
});
