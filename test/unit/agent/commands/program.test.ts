import { describe, expect, it } from "vitest";
import { DAEMON_SETTINGS, splitArguments } from "../../../../agent/commands/arguments.ts";
import { COMMANDS } from "../../../../agent/commands/registry.ts";
import { flagOf } from "../../../../agent/config/flags.ts";
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

  it.each([[], ...COMMANDS.map(({ name }) => [name]), ["net", "init"], ["docker", "setup"]])(
    "%s --help fits a terminal of 80 columns",
    async (...words) => {
      const { out } = await runCli([...words, "--help"], { isTty: true });
      expect(out.split("\n").filter((line) => line.length > 80)).toEqual([]);
      expect(out).not.toMatch(/^ {2}\(default/m);
      const wordsOf = (text: string) => text.split(/\s+/);
      expect(wordsOf(out)).toEqual(wordsOf((await runCli([...words, "--help"])).out));
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
      "tulle: too many arguments for 'version'. Expected 0 arguments but got 1; see tulle version --help\n",
    ],
    [["help", "statu"], "tulle: unknown command 'statu' (Did you mean status?); see tulle --help\n"],
    [["statu", "--help"], "tulle: unknown command 'statu' (Did you mean status?); see tulle --help\n"],
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
      expect((await runCli(["help", ...args])).out).toBe(out);
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

  it("says what helps where the file system rejects it", async () => {
    // No user, not even root, may make a folder there.
    const { code, err } = await runCli(["cni", "install", "--bin-dir", "/sys/tulle"]);
    expect(code).toBe(1);
    expect(err).toMatch(
      /^tulle: (EPERM|EACCES): .*: run as root, or name another place \[TULLE_PREREQUISITE\]\n$/,
    );
  });

  it("ends in one line when it is interrupted", async () => {
    const signal = AbortSignal.abort(new Error("stopped by SIGINT"));
    const answer = await runCli(["leases", "--store=file:/nowhere/at/all"], { signal });
    expect(answer).toEqual({ code: 1, out: "", err: "tulle: stopped by SIGINT\n" });
  });

  it("warns of variables that are not settings", async () => {
    const { err } = await runCli(["leases", "--store=x"], { environment: { FLANNELD_STORRE: "1" } });
    expect(err).not.toContain("STORRE"); // the wrong value ends it first
    const answer = await runCli(["leases", "--store=file:/nowhere/at/all"], {
      environment: { FLANNELD_STORRE: "1" },
    });
    expect(answer.err).toContain("tulle: warning: FLANNELD_STORRE is not a setting of this version\n");
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
    expect(splitArguments(args, names, [])).toEqual({ daemon, rest, emptyCount: 0 });
  });

  it("lose against an option of the command with the same name", () => {
    const own = [{ long: "--store", short: "-s", required: true, optional: false }] as const;
    expect(splitArguments(["--store", "-x", "-s", "", "-ip-masq", "", "y"], names, own)).toEqual({
      daemon: ["-ip-masq"],
      rest: ["--store", "-x", "-s", "", "y"],
      emptyCount: 1,
    });
  });

  it("are rejected by a command that does not read tulled's configuration", async () => {
    const { code, err } = await runCli(["version", "--store", "consul"]);
    expect(code).toBe(2);
    expect(err).toContain("unknown option '--store'");
  });

  /** With the spelling that needs the next argument. */
  const everyFlag = DAEMON_SETTINGS.filter((name) => name !== "config" && name !== "store").map((name) => {
    const { kind } = flagOf(name);
    return [name, kind.placeholder === "" ? [`-${name}`] : [`--${name}`, flagOf(name).default]] as const;
  });

  it.each([
    [["status", "--run-dir=/nowhere"], 2],
    [["doctor", "--json"], 1],
    [["net", "show"], 1],
    [["net", "validate"], 1],
    [["leases"], 1],
    [["lease", "check"], 1],
    [["lease", "show", "10.2.3.0-24"], 1],
    [["cleanup", "--dry-run"], 1],
  ])("%j takes each of them", { timeout: 60_000 }, async (command, failure) => {
    for (const [name, flag] of everyFlag) {
      const args = [...command, ...flag, "--store=file:/dev/null/nowhere"];
      const { code, err } = await runCli(args);
      expect(err, name).not.toMatch(/unknown option|too many arguments|missing required/);
      expect([0, failure], `${name}: ${err}`).toContain(code);
    }
  });

  it.each([
    [["--help"], false],
    [["docker", "setup", "--help"], false],
    [["network", "ipam", "list", "--help"], true],
    [["status", "--help"], true],
  ])("%j mentions --all where it shows more", async (args, isMentioned) => {
    expect((await runCli(args)).out.includes("print this text; with --all")).toBe(isMentioned);
  });

  it.each([["status"], ["doctor"], ["net"], ["leases"], ["lease"], ["cleanup"]])(
    "%s says in its help that it takes them all",
    async (command) => {
      expect((await runCli([command, "--help"])).out).toContain("It takes all flags of tulled");
    },
  );
});

describe("empty arguments", () => {
  const warning = "tulle: warning: an empty argument is ignored";

  it.each(COMMANDS.map(({ name }) => name))("%s ignores them with a warning", async (name) => {
    const { code, out, err } = await runCli(["", name, "", "--help"]);
    expect({ code, err: err.split(":", 3).join(":") }).toEqual({ code: 0, err: warning });
    expect(out).toContain(`Usage: tulle ${name}`);
  });

  it("are values where an option or a flag needs one", async () => {
    const { err } = await runCli(["net", "init", "--network", "", "--store", ""]);
    expect(err).not.toContain(warning);
    expect(err).toMatch(/Network is ""/);
  });

  it("alone are like no command", async () => {
    expect(await runCli(["", ""])).toMatchObject({ code: 2, out: "" });
  });

  it("as variables are ignored with a warning", async () => {
    const { err } = await runCli(["leases", "--store=file:/nowhere/at/all"], {
      environment: { FLANNELD_IFACE: "" },
    });
    expect(err).toContain("tulle: warning: FLANNELD_IFACE is empty and ignored");
  });
});
