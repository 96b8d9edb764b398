import { execFileSync, spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { serviceSettings } from "../../../../agent/bug-report/given-settings.ts";
import { knownSecrets, lastLines, redactText, shownSettings } from "../../../../agent/bug-report/secrets.ts";
import { loadGiven } from "../../../../agent/config/config.ts";
import { parseFlags } from "../../../../agent/config/flag-parser.ts";
import { serveControl } from "../../../../agent/report/control.ts";
import { formatJson } from "../../../../ipam/escape.ts";
import { Faults } from "../../../../ipam/faults.ts";
import { silentLogger } from "../../../../ipam/log.ts";
import { runCli } from "../../../support/cli.ts";

const SECRET = "Hunter2-planted";

describe("text that leaves the host", () => {
  it.each([
    `{"PSK": "${SECRET}"}`,
    `{"PSK":"a b ${SECRET} c"}`,
    `{\\"Backend\\":{\\"PSK\\":\\"${SECRET}\\"}}`,
    `password: ${SECRET}`,
    `etcd-password='my ${SECRET}'`,
    `ExecStart=/usr/bin/tulled --consul-token ${SECRET} --v=1`,
    `ETCD_PASSWORD=${SECRET}`,
    `ExecStart=/usr/bin/tulled --consul-token 'my ${SECRET}' --v=1`,
    `https://root:${SECRET}@192.0.2.1:2379`,
    `https://root:p@${SECRET}@192.0.2.1:2379,https://192.0.2.2:2379`,
    `{"endpoint":"https://root:p@a\\"${SECRET}@192.0.2.1:2379","port":1}`,
    `curl -H 'Authorization: Bearer ${SECRET}' x`,
    `consul-http-auth=user:${SECRET}`,
    `privateKey=${SECRET}`,
    `-----BEGIN EC PRIVATE KEY-----\n${SECRET}\n-----END EC PRIVATE KEY-----`,
    `-----BEGIN PRIVATE KEY-----\\n${SECRET}\\n`,
    `-----BEGIN PGP PRIVATE KEY BLOCK-----\n${SECRET}\n-----END PGP PRIVATE KEY BLOCK-----`,
    `{"PresharedKey": "${SECRET}"}`,
    `pre-shared-key = ${SECRET}`,
    `X-Api-Key: ${SECRET}`,
    `AWS_ACCESS_KEY=${SECRET}`,
    `passphrase: ${SECRET}`,
    `db_pass=${SECRET}`,
    `dbpwd=${SECRET}`,
    `{"credentials":"${SECRET}"}`,
    `http://192.0.2.1/?auth=${SECRET}`,
    `Authorization: ${SECRET}`,
    `Authorization: Digest username="x", response="${SECRET}"`,
    `Cookie: theme=dark; session=${SECRET}`,
    `https://root:p/${SECRET}@192.0.2.1:2379`,
    `http://192.0.2.2:2379,http://root:p/${SECRET}@192.0.2.1:2379`,
    `--etcd-password ${SECRET}`,
    `["--consul-token", "${SECRET}"]`,
    `curl -u user:${SECRET} http://192.0.2.1/`,
    `{"said":"{\\"password\\":\\"a b ${SECRET}\\"}"}`,
    `{"said":"{\\\\\\"password\\\\\\":\\\\\\"a b ${SECRET}\\\\\\"}"}`,
    `{"tokens": ["a", "${SECRET}"]}`,
    `tokens:\n  - ${SECRET}\n`,
    `TOKEN=a,${SECRET}`,
    `password=a\\ ${SECRET}`,
    `%any : PSK "${SECRET}"`,
    `password => ${SECRET}`,
    `accept comment "API key: ${SECRET}"`,
    `accept comment "API key ${SECRET}"`,
    `-m comment --comment "password is ${SECRET}" -j ACCEPT`,
    `-m comment --comment "token ${SECRET}" -j ACCEPT`,
    `shared-key=${SECRET}`,
    `authkey: ${SECRET}`,
    `encryption_key=${SECRET}`,
    `http://192.0.2.1/?a=1&key=${SECRET}&b=2`,
    `http://192.0.2.1/?X-Amz-Signature=${SECRET}`,
    `http://192.0.2.1/?url=http%3A%2F%2F192.0.2.2%2F%3Ftoken%3D${SECRET}`,
    `https://x-${SECRET}@192.0.2.1/`,
  ])("%#: hides what a name says is secret", (text) => {
    expect(redactText(text, [])).not.toContain(SECRET);
    expect(redactText(text, [])).toContain("[redacted]");
  });

  it.each([
    ["ghp_", "a1B2c3D4e5F6g7H8i9J0"],
    ["glpat-", "a1B2c3D4e5F6g7H8i9J0"],
    ["xoxb-", "123456789-abcdefghi"],
    ["AKIA", "IOSFODNN7EXAMPLE"],
    ["sk_live_", "a1B2c3D4e5F6g7H8i9J0"],
    ["eyJ", "hbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"],
  ])("hides a token that begins with %s, without a name", (start, rest) => {
    expect(redactText(`comment "of the hook ${start}${rest}"`, [])).toBe('comment "of the hook [redacted]"');
  });

  it.each([`Pa"ss\\word`, "tab\tand\u202eoverride", "p@ss/word%", "pässwörd"])(
    "hides %j as JSON and URLs spell it",
    (secret) => {
      const spellings = [secret, JSON.stringify(secret), formatJson(secret), encodeURIComponent(secret)];
      for (const text of spellings) expect(redactText(`<${text}>`, [secret])).toMatch(/^<"?\[redacted\]"?>$/);
    },
  );

  it("hides known secrets wherever they are, and nothing else", () => {
    expect(redactText(`the server said ${SECRET}`, [SECRET])).toBe("the server said [redacted]");
    const harmless = [
      'https://192.0.2.1:2379 lease=10.2.54.0-24 port: 8472 {"PublicIP":"192.0.2.1"}',
      '{"endpoint":"http://192.0.2.1:2379","unit":"user@0.service"}',
      '{"proxy":"http://proxy.example","unit":"user@0.service"}',
      '{\\"endpoints\\":[\\"http://192.0.2.1:2379\\"],\\"unit\\":\\"user@0.service\\"}',
      "http://[fd00::1]:2379/v3/kv@1 http://192.0.2.1:2379/a@b",
      "the token file /etc/tulle-1.token cannot be read: token /etc/tulle-1.token",
      "password authentication failed for user root2: auth 192.0.2.1:2379, cookie 10.2.54.0-24",
      "http://192.0.2.1/v1/kv/a?index=1234567890&wait=60s&recurse=true ssh://git@192.0.2.1/x",
      "TcpExt: SyncookiesSent SyncookiesRecv SyncookiesFailed EmbryonicRsts\nauth_rpcgss 159744 1 nfsd",
      '{"lastPass":{"at":1},"bypass":true,"author":"x","key":"10.2.54.0-24"}',
    ];
    for (const text of harmless) expect(redactText(text, [SECRET])).toBe(text);
    const cutOff = 'tulled --consul-token "cut\nthe next line\nlog "x"';
    expect(redactText(cutOff, [])).toBe('tulled --consul-token [redacted]\nthe next line\nlog "x"');
  });
});

describe("tulle report", () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "tulle-report-"));
  });
  afterEach(() => rm(directory, { recursive: true }));

  it("holds no secret, wherever one was planted, and is readable by its owner alone", async () => {
    const event = { time: "now", level: "warn", message: `said ${SECRET}`, password: SECRET };
    await writeFile(join(directory, "events.jsonl"), `${JSON.stringify(event)}\n`);
    await writeFile(join(directory, "subnet.env"), `FLANNEL_MTU=1450\nTOKEN=${SECRET}\n`);
    const config = join(directory, "config.yaml");
    await writeFile(config, `etcd-username: root\netcd-password: ${SECRET}\n`);
    const file = join(directory, "report.tar.gz");
    const args = ["report", "--output", file, "--config", config, "--state-dir", directory];
    const answer = await runCli(
      [...args, "--run-dir", directory, "--subnet-file", join(directory, "subnet.env")],
      {
        environment: { CONSUL_HTTP_TOKEN: SECRET },
      },
    );
    expect(answer).toMatchObject({ code: 0, err: "" });
    expect((await stat(file)).mode & 0o777).toBe(0o600);

    execFileSync("tar", ["-xzf", file, "-C", directory]);
    const [folder = ""] = (await readdir(directory)).filter((name) => name.startsWith("tulle-"));
    const found = execFileSync("sh", ["-c", `grep -rl ${SECRET} "$0" || true`, join(directory, folder)]);
    expect(found.toString()).toBe("");
    const names = await readdir(join(directory, folder), { recursive: true });
    expect(names).toEqual(
      expect.arrayContaining(["about.txt", "config.json", "events.jsonl", "kernel/routes.json"]),
    );

    const again = await runCli(args);
    expect(again).toMatchObject({ code: 1, out: "" });
    expect(again.err).toContain("it exists already");
  });

  it("writes nothing when it is interrupted", async () => {
    const interrupted = new AbortController();
    const silent = createServer(() => interrupted.abort(new Error("stopped by SIGINT")));
    await new Promise<void>((resolve) => silent.listen(join(directory, "tulled.sock"), resolve));
    const file = join(directory, "report.tar.gz");
    const args = ["report", "--output", file, "--run-dir", directory, "--state-dir", directory];
    const answer = await runCli(args, { signal: interrupted.signal });
    expect(answer).toEqual({ code: 1, out: "", err: "tulle: stopped by SIGINT\n" });
    expect(await readdir(directory)).not.toContain("report.tar.gz");
    silent.close();
  });

  it.each([
    ["is there", "report.tar.gz", "TULLE_CONFLICT", /it exists already; remove it, or give another --output/],
    ["is in no folder", "none/report.tar.gz", "TULLE_CONFIG", /ENOENT.*; create its folder, or give another/],
    ["is in a file", "report.tar.gz/x", "TULLE_CONFIG", /ENOTDIR.*; give another --output/],
  ])("says what to do when the file %s", async (_, name, code, message) => {
    await writeFile(join(directory, "report.tar.gz"), "");
    const args = [
      "report",
      "--output",
      join(directory, name),
      "--run-dir",
      directory,
      "--state-dir",
      directory,
    ];
    const answer = await runCli(args);
    expect(answer).toMatchObject({ code: 1, out: "" });
    expect(answer.err).toMatch(message);
    expect(answer.err).toContain(code);
  });

  /** Makes a report of the service in `directory`; `leaked` are the secrets that it holds. */
  async function reportOf(serviceFile: string, secrets: readonly string[]) {
    const messages = secrets.map((secret) => `${JSON.stringify({ message: `the server said ${secret}` })}\n`);
    await writeFile(join(directory, "events.jsonl"), messages.join(""));
    const out = await mkdtemp(join(directory, "out-"));
    const file = join(out, "report.tar.gz");
    const answer = await runCli(["report", "--output", file, "--service-file", serviceFile]);
    expect(answer).toMatchObject({ code: 0, err: "" });
    execFileSync("tar", ["-xzf", file, "-C", out, "--strip-components=1"]);
    const texts = execFileSync("sh", ["-c", `cat "$0"/*.json* "$0"/*.txt`, out]).toString();
    return {
      config: JSON.parse(await readFile(join(out, "config.json"), "utf8")),
      events: await readFile(join(out, "events.jsonl"), "utf8"),
      leaked: secrets.filter((secret) => texts.includes(secret)),
    };
  }

  const SERVICE_SECRETS = ["In-the-file-1", "In-the-options-2"];
  const writeService = async (more = ""): Promise<string> => {
    const file = join(directory, "service");
    const options = `-iface=eth7 -consul-token ${SERVICE_SECRETS[1]} --run-dir=${directory} --state-dir=${directory}${more}`;
    const variables = `FLANNELD_ETCD_USERNAME=root\nFLANNELD_ETCD_PASSWORD='${SERVICE_SECRETS[0]}'\n`;
    await writeFile(file, `# of the service\n${variables}TULLED_OPTIONS="${options}"\n`);
    return file;
  };

  it("holds the settings of a service that does not run, and none of its secrets", async () => {
    const file = await writeService();
    const { config, events, leaked } = await reportOf(file, SERVICE_SECRETS);
    expect(leaked).toEqual([]);
    expect(events.match(/\[redacted\]/g)).toHaveLength(2);
    expect(config.from).toBe(`${file}, flags and variables of tulle report`);
    expect(config.problems).toEqual([expect.stringContaining("no daemon runs there")]);
    expect(config.settings).toContainEqual({ flag: "iface", values: ["eth7"], source: "flag -iface" });
    const password = { flag: "etcd-password", values: ["[redacted]"], source: "FLANNELD_ETCD_PASSWORD" };
    expect(config.settings).toContainEqual(password);
  });

  it("holds nothing of the files that hold tokens and keys", async () => {
    const secrets = ["In-a-token-file-6", "In-the-page-s-token-file-7", "In-the-key-file-8"];
    const paths = secrets.map((_, index) => join(directory, `secret-${index}`));
    for (const [index, secret] of secrets.entries()) await writeFile(paths[index] ?? "", `${secret}\n`);
    const [consul, page, key] = paths;
    const flags = ` -consul-token-file=${consul} -ui-token-file=${page} -wireguard-key-file=${key}`;
    const { config, leaked } = await reportOf(await writeService(flags), secrets);
    expect(leaked).toEqual([]);
    expect(config.settings).toContainEqual(
      expect.objectContaining({ flag: "consul-token-file", values: [consul] }),
    );
  });

  it("is made of a service with a wrong flag, which it names", async () => {
    const file = await writeService(" -ifcae=eth0");
    const { config, leaked } = await reportOf(file, []);
    expect(config.from).toBe("flags and variables of tulle report");
    expect(config.problems[0]).toContain("unknown flag -ifcae");
    // The options are taken for secrets although they make no configuration.
    expect(knownSecrets(null, serviceSettings(file) ?? { args: [], environment: {} })).toEqual(
      expect.arrayContaining(SERVICE_SECRETS),
    );
    expect(leaked).toEqual([]);
  });

  it("holds the settings of the daemon that runs, and no secret of its flags and variables", async () => {
    const secrets = ["In-a-variable-3", "In-a-flag-4", "In-its-config-5", ...SERVICE_SECRETS];
    const file = join(directory, "config.yaml");
    await writeFile(file, `consul-http-auth: user:${secrets[2]}\n`);
    const { settings } = await loadGiven(parseFlags(["-iface=eth8"], []), {});
    const words = ["-etcd-username=root", `-etcd-password=${secrets[1]}`, "--config", file];
    const program = join(directory, "tulled");
    await writeFile(program, "#!/bin/sh\nread line\n", { mode: 0o755 });
    const daemon = spawn(program, words, { env: { CONSUL_HTTP_TOKEN: secrets[0] } });
    const routes = { "/settings": () => ({ pid: daemon.pid, settings: shownSettings(settings) }) };
    const control = await serveControl(directory, routes, new Faults(silentLogger));
    try {
      const { config, leaked } = await reportOf(await writeService(), secrets);
      expect(leaked).toEqual([]);
      expect(config.from).toBe(`the daemon that runs, process ${daemon.pid}`);
      expect(config.settings).toContainEqual({ flag: "iface", values: ["eth8"], source: "flag -iface" });
    } finally {
      await control.close();
      daemon.kill();
    }
  });
});

it("the end of a long text begins with a whole line", () => {
  const text = 'first\n"password": "hunter2hunter2"\nlast\n';
  expect(lastLines(text, 20)).toBe("last\n");
  expect(lastLines(text, text.length)).toBe(text);
});
