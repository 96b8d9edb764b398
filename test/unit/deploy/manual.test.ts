/** Manual pages and completions, as real shells and groff read them. */

import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { COMMANDS } from "../../../agent/commands/registry.ts";
import { OPTIONS, VERBS } from "../../../cni-plugin/netavark/usage.ts";
import { writeManual } from "../../../deploy/manual/manual.mjs";

const ROOT = join(import.meta.dirname, "../../..");
const PROGRAMS = ["tulle", "tulled"];
let share = "";

beforeAll(async () => {
  share = mkdtempSync(join(tmpdir(), "tulle-manual-"));
  await writeManual(ROOT, share);
});
afterAll(() => rmSync(share, { recursive: true, force: true }));

/** Runs a program with text on its standard input; without it the test is skipped, but not in CI. */
function run(program: string, args: readonly string[], input: string): { out: string; err: string } {
  const { stdout, stderr, error } = spawnSync(program, args, { input, encoding: "utf8", timeout: 30_000 });
  if (error) throw error;
  return { out: stdout, err: stderr };
}

function isMissing(program: string): boolean {
  return !process.env.CI && spawnSync(program, ["--version"]).error !== undefined;
}

describe("manual pages", () => {
  const pages = (): readonly string[] =>
    ["man1", "man8"].flatMap((folder) =>
      readdirSync(join(share, "man", folder)).map((name) => join(share, "man", folder, name)),
    );

  it("are there for the programs and for every command", () => {
    const names = pages().map((page) => page.slice(page.lastIndexOf("/") + 1));
    const expected = [
      "tulle.1",
      "tulled.8",
      "tulle-netavark.8",
      ...COMMANDS.map(({ name }) => `tulle-${name}.1`),
    ];
    expect([...names].sort()).toEqual(expected.sort());
  });

  it.skipIf(isMissing("groff"))("are read by groff without a warning", () => {
    for (const page of pages())
      expect(run("groff", ["-man", "-Tutf8", "-ww", page], ""), page).toMatchObject({ err: "" });
  });

  it.skipIf(isMissing("groff"))("fit a terminal of 80 columns, lists too", () => {
    const plain = (page: string) => run("groff", ["-man", "-Tascii", "-P-cbou", "-rLL=78n", page], "").out;
    const tooWide = pages().flatMap((page) =>
      plain(page)
        .split("\n")
        .filter((line) => line.length > 80),
    );
    expect(tooWide).toEqual([]);
    const [cleanup = ""] = pages().filter((page) => page.endsWith("tulle-cleanup.1"));
    expect(plain(cleanup)).toMatch(/^ {7}\S +the +name +server's +address/m);
    expect(plain(cleanup)).toMatch(/^ {7}Left +alone:/m);
  });

  it("tell every verb of the netavark plugin, and every option of its networks with its default", () => {
    const page = readFileSync(join(share, "man/man8/tulle-netavark.8"), "utf8");
    for (const name of Object.keys(VERBS)) expect(page).toContain(`.TP\n\\fB${name}\\fR\n`);
    for (const { key } of OPTIONS) expect(page).toContain(`.TP\n\\fB\\-o ${key}=<`);
    expect(page).toContain("Default: /run/tulle.");
  });

  it("tell defaults, choices and arguments as the help does, and leave names as they are", () => {
    const page = (name: string): string => readFileSync(join(share, `man/man1/${name}.1`), "utf8");
    expect(page("tulle-cni")).toContain("\nFolder of plugins. Default: /opt/cni/bin.\n");
    expect(page("tulle-net")).toContain("(vxlan, host\\-gw, ");
    expect(page("tulle-net")).toContain("\nvxlan: UDP port (default: 8472)");
    expect(page("tulle-docker-opts")).toContain("\nsubnet.env, as tulled writes it.");
    expect(page("tulle-explain")).toContain(".TP\n\\fIsource\\fR\nWhere the packet comes from");
    for (const { name } of COMMANDS) expect(page(`tulle-${name}`)).not.toContain("Display help for command");
  });

  it("tell what the program tulle-cni is, whose name the page of tulle cni has", () => {
    const page = readFileSync(join(share, "man/man1/tulle-cni.1"), "utf8");
    expect(page).toContain("The program tulle\\-cni is the plugin: container runtimes run it");
  });

  it("tell every flag with its variable, and nothing that is a secret's value", () => {
    const page = readFileSync(join(share, "man/man8/tulled.8"), "utf8");
    expect(page).toContain("\\fB\\-\\-etcd\\-endpoints URL,\\[u2026]\\fR");
    expect(page).toContain("Variable: \\fBFLANNELD_ETCD_ENDPOINTS\\fR.");
    expect(page).toContain("\\fB\\-\\-version\\fR\nPrint the version and exit.\n");
  });
});

/** What a shell offers behind these words. zsh completes in a terminal only. */
const CASES: readonly (readonly [string, readonly string[]])[] = [
  ["tulle netw", ["network"]],
  ["tulle --vers", ["--version"]],
  ["tulle network insp", ["inspect"]],
  ["tulle network ipam rel", ["release"]],
  ["tulle leases --js", ["--json"]],
  ["tulle leases --etcd-pref", ["--etcd-prefix"]],
  ["tulle leases --etcd-prefix /x --js", ["--json"]],
  ["tulle docker-opts --stat", []],
  ["tulle net init --backend host", ["host-gw"]],
  ["tulled --etcd-pref", ["--etcd-prefix"]],
  ["tulled --vers", ["--version"]],
  ["tulled -etcd-pref", ["-etcd-prefix"]],
  ["tulled -log-level war", ["warn"]],
  ["tulle leases -etcd-pref", ["-etcd-prefix"]],
  ["tulle leases -js", []],
  ["tulled --log-level war", ["warn"]],
  ["tulled --etcd-prefix /x --fallb", ["--fallback"]],
  ["tulled a", []],
];

/** As CASES, with values behind a sign; bash makes words of these itself. */
const FISH_CASES: typeof CASES = [
  ...CASES,
  ["tulle leases --log-level de", ["debug"]],
  ["tulle leases --log-level=de", ["--log-level=debug"]],
  ["tulled --log-level=de", ["--log-level=debug"]],
  ["tulled --config /et", ["/etc/"]],
  ["tulle net init --file=/et", ["--file=/etc/"]],
  ["tulle net init --file /et", ["/etc/"]],
];

describe("completions", () => {
  it.each(CASES)("of bash behind %j", (line, expected) => {
    const [program = ""] = line.split(" ");
    const script = `source '${join(share, "bash-completion/completions", program)}'
      COMP_WORDS=(${line}); COMP_CWORD=$((\${#COMP_WORDS[@]} - 1)); _${program}; echo "\${COMPREPLY[@]}"`;
    expect(run("bash", ["-u"], script)).toEqual({ out: `${expected.join(" ")}\n`, err: "" });
  });

  const SHELLS = {
    bash: {
      command: "bash --norc --noprofile -i",
      setUp: () =>
        PROGRAMS.map((name) => `source '${join(share, "bash-completion/completions", name)}'`).join("; "),
    },
    zsh: {
      command: "zsh -f -i",
      setUp: () =>
        `fpath=('${join(share, "zsh/site-functions")}' $fpath); autoload -U compinit; compinit -D -u; unsetopt auto_remove_slash`,
    },
  } as const;

  /** What a person gets who types each line in a terminal, with the tabulator at its end, and the Enter key. */
  function typed(shell: keyof typeof SHELLS, lines: readonly string[]): readonly string[] {
    const { command, setUp } = SHELLS[shell];
    mkdirSync(join(share, "home/a folder"), { recursive: true });
    for (const name of PROGRAMS) {
      const text = '#!/bin/sh\necho "answer:$(printf \'<%s>\' "$@")"\n';
      writeFileSync(join(share, "home", name), text, { mode: 0o755 });
    }
    const input = [setUp(), ...lines.map((line) => `${line}\t`), "exit", ""].join("\n");
    const { stdout } = spawnSync("script", ["--quiet", "--command", command, "/dev/null"], {
      input,
      cwd: join(share, "home"),
      env: { ...process.env, HOME: share, TERM: "dumb", PATH: `${join(share, "home")}:${process.env.PATH}` },
      encoding: "utf8",
      timeout: 30_000,
    });
    return [...stdout.matchAll(/^answer:(.*?)\r?$/gm)].map(([, words = ""]) => words);
  }

  const shells = (["bash", "zsh"] as const).filter((shell) => !isMissing(shell) && !isMissing("script"));

  it.each(shells)("of %s in a terminal take paths, and values behind a sign", (shell) => {
    const lines: readonly (readonly [string, string])[] = [
      ["tulle netw", "<network>"],
      ["tulle leases --js", "<leases><--json>"],
      ["tulle leases --log-level de", "<leases><--log-level><debug>"],
      ["tulle leases --log-level=de", "<leases><--log-level=debug>"],
      [`tulle net init --file ${share}/ho`, `<net><init><--file><${share}/home/>`],
      [`tulle net init --file=${share}/ho`, `<net><init><--file=${share}/home/>`],
      ["tulle report --output a", "<report><--output><a folder/>"],
      ["tulle report --hel", "<report><--help>"],
      ["tulled --hel", "<--help>"],
      ["tulled -log-level=de", "<-log-level=debug>"],
      ["tulle leases -etcd-pref", "<leases><-etcd-prefix>"],
      ["tulled -log-level debug --hel", "<-log-level><debug><--help>"],
      ["tulled --log-level=de", "<--log-level=debug>"],
      [`tulled --config ${share}/ho`, `<--config><${share}/home/>`],
    ];
    expect(
      typed(
        shell,
        lines.map(([line]) => line),
      ),
    ).toEqual(lines.map(([, words]) => words));
  });

  it("of bash offers the values of an option that has a list of them", () => {
    const script = `source '${join(share, "bash-completion/completions/tulle")}'
      COMP_WORDS=(tulle leases --log-level ''); COMP_CWORD=3; _tulle; echo "\${COMPREPLY[@]}"`;
    expect(run("bash", [], script).out).toMatch(/debug info warn error/);
  });

  it.skipIf(isMissing("fish")).each(FISH_CASES)("of fish behind %j", (line, expected) => {
    const script = `source '${join(share, "fish/vendor_completions.d", `${line.split(" ")[0]}.fish`)}'; complete -C '${line}'`;
    const home = { HOME: share };
    const { stdout, stderr } = spawnSync("fish", ["--no-config", "-c", script], {
      encoding: "utf8",
      env: { ...process.env, ...home },
    });
    const words = stdout
      .split("\n")
      .filter(Boolean)
      .map((each) => each.split("\t")[0]);
    expect({ words, stderr }).toEqual({ words: expected, stderr: "" });
  });

  it.skipIf(isMissing("zsh")).each(PROGRAMS)("of zsh for %s are read without an error", (name) => {
    expect(run("zsh", ["-n", join(share, `zsh/site-functions/_${name}`)], "")).toEqual({ out: "", err: "" });
  });
});
