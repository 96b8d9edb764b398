import { execFileSync } from "node:child_process";
import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { redactText } from "../../../../agent/bug-report/secrets.ts";
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
    `https://root:${SECRET}@192.0.2.1:2379`,
    `consul-http-auth=user:${SECRET}`,
    `privateKey=${SECRET}`,
    `-----BEGIN EC PRIVATE KEY-----\n${SECRET}\n-----END EC PRIVATE KEY-----`,
    `-----BEGIN PRIVATE KEY-----\\n${SECRET}\\n`,
  ])("%#: hides what a name says is secret", (text) => {
    expect(redactText(text, [])).not.toContain(SECRET);
    expect(redactText(text, [])).toContain("[redacted]");
  });

  it("hides known secrets wherever they are, and nothing else", () => {
    expect(redactText(`the server said ${SECRET}`, [SECRET])).toBe("the server said [redacted]");
    const harmless = 'https://192.0.2.1:2379 lease=10.2.54.0-24 port: 8472 {"PublicIP":"192.0.2.1"}';
    expect(redactText(harmless, [SECRET])).toBe(harmless);
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
});
