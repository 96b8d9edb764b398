/** The environment variables of Consul's own programs, understood by `tulle` as it runs against real servers. */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type CliAnswer, runCli } from "../../support/cli.ts";
import { type ConsulCluster, missingConsul, startConsul } from "../../support/consul.ts";
import { createAuthority, type Issued } from "../../support/pki.ts";

const ROOT_TOKEN = "11111111-2222-3333-4444-555555555555";
const NETWORK = '{"Network":"10.2.0.0/16","Backend":{"Type":"vxlan"}}';
const UNREACHABLE = {
  CONSUL_HTTP_ADDR: "127.0.0.1:1",
  CONSUL_HTTP_SSL: "true",
  CONSUL_HTTP_TOKEN: "no-such",
};

const missing = missingConsul();
if (missing !== null && process.env.CI) throw new Error(missing);

describe.skipIf(missing !== null)("the environment of Consul's own programs", () => {
  const directory = mkdtempSync(join(tmpdir(), "tulle-environment-"));
  let secured: ConsulCluster;
  let plain: ConsulCluster;
  let client: Issued;
  /** Host and port of the secured server. */
  let authority = "";
  beforeAll(async () => {
    const issuer = createAuthority(directory);
    client = issuer.issue("client");
    const server = issuer.issue("server", { names: "DNS:consul.test" });
    [secured, plain] = await Promise.all([
      startConsul({ tls: server, rootToken: ROOT_TOKEN }),
      startConsul(),
    ]);
    authority = secured.addresses[0]?.replace("https://", "") ?? "";
    for (const cluster of [secured, plain]) await cluster.api("PUT", "kv/coreos.com/network/config", NETWORK);
  });
  afterAll(async () => {
    await Promise.all([secured.stop(), plain.stop()]);
    rmSync(directory, { recursive: true });
  });

  async function show(environment: Record<string, string>, ...flags: string[]): Promise<CliAnswer> {
    return await runCli(["net", "show", "--store=consul", ...flags], { environment, dateMs: Date.now });
  }
  const shown = expect.objectContaining({ code: 0, out: expect.stringContaining("10.2.0.0/16") });
  const refused = (text: string) => expect.objectContaining({ code: 1, err: expect.stringContaining(text) });

  /** All that the secured server asks for. */
  const complete = () => ({
    CONSUL_HTTP_ADDR: authority,
    CONSUL_HTTP_SSL: "1",
    CONSUL_CACERT: client.caFile,
    CONSUL_CLIENT_CERT: client.certFile,
    CONSUL_CLIENT_KEY: client.keyFile,
    CONSUL_TLS_SERVER_NAME: "consul.test",
    CONSUL_HTTP_TOKEN: ROOT_TOKEN,
  });

  const without = (names: readonly string[]) =>
    Object.fromEntries(Object.entries(complete()).filter(([name]) => !names.includes(name)));

  it("reaches a secured server by variables alone, and by none of them less", async () => {
    expect(await show(complete())).toEqual(shown);
    for (const [names, message] of [
      [["CONSUL_CACERT"], "give consul-cafile"],
      [["CONSUL_TLS_SERVER_NAME"], "is for another name"],
      [["CONSUL_HTTP_TOKEN"], "the token needs the rule"],
      [["CONSUL_CLIENT_KEY"], "needs -consul-keyfile as well"],
      [["CONSUL_CLIENT_CERT", "CONSUL_CLIENT_KEY"], "refuses our certificate"],
      [["CONSUL_HTTP_SSL", "CONSUL_CACERT", "CONSUL_CLIENT_CERT", "CONSUL_CLIENT_KEY"], "write https://"],
    ] as const) {
      expect(await show(without(names)), names.join(" ")).toEqual(refused(message));
    }
  });

  it("does not check the server's certificate when told so", async () => {
    const rest = without(["CONSUL_CACERT", "CONSUL_TLS_SERVER_NAME"]);
    expect(await show(rest)).toEqual(refused("give consul-cafile"));
    expect(await show({ ...rest, CONSUL_HTTP_SSL_VERIFY: "false" })).toEqual(shown);
  });

  it("reads the token from a file", async () => {
    const file = join(directory, "token");
    writeFileSync(file, `${ROOT_TOKEN}\n`);
    const environment = { ...complete(), CONSUL_HTTP_TOKEN: "no-such", CONSUL_HTTP_TOKEN_FILE: file };
    expect(await show(environment)).toEqual(shown);
  });

  it("shows name and password to a proxy that asks for them", async () => {
    const proxy = createServer((incoming, outgoing) => {
      const isKnown =
        incoming.headers.authorization === `Basic ${Buffer.from("me:secret").toString("base64")}`;
      if (!isKnown) return void outgoing.writeHead(401).end("who are you?");
      const { method, headers, url } = incoming;
      const onward = request({ port: plain.servers[0]?.port, method, headers, path: url }, (answer) => {
        outgoing.writeHead(answer.statusCode ?? 0, answer.headers);
        answer.pipe(outgoing);
      });
      incoming.pipe(onward);
    });
    await new Promise((resolve) => proxy.listen(0, "127.0.0.1", () => resolve(null)));
    const address = { CONSUL_HTTP_ADDR: `127.0.0.1:${(proxy.address() as AddressInfo).port}` };
    try {
      expect(await show({ ...address, CONSUL_HTTP_AUTH: "me:secret" })).toEqual(shown);
      expect(await show(address)).toEqual(refused("consul-http-auth"));
      const answer = await show({ ...address, CONSUL_HTTP_AUTH: "me:wrong" });
      expect(answer).toEqual(refused("consul-http-auth"));
      expect(answer.err).not.toContain("wrong");
    } finally {
      proxy.closeAllConnections();
      proxy.close();
    }
  });

  it("yields to flags, one by one", async () => {
    const [address = ""] = plain.addresses;
    expect(await show(UNREACHABLE, `--consul-address=${address}`)).toEqual(refused("plain http"));
    const flags = [`--consul-address=${address}`, "--consul-ssl=false", "--consul-token="];
    expect(await show(UNREACHABLE, ...flags)).toEqual(shown);
    const wrong = { CONSUL_CACERT: "/none", CONSUL_CLIENT_CERT: "/none", CONSUL_CLIENT_KEY: "/none" };
    const files = [`--consul-cafile=${client.caFile}`, `--consul-certfile=${client.certFile}`];
    const right = [...files, `--consul-keyfile=${client.keyFile}`, "--consul-tls-server-name=consul.test"];
    const more = {
      CONSUL_TLS_SERVER_NAME: "wrong",
      CONSUL_HTTP_TOKEN_FILE: "/none",
      CONSUL_HTTP_AUTH: "a:b",
    };
    const given = [
      `--consul-address=https://${authority}`,
      `--consul-token=${ROOT_TOKEN}`,
      "--consul-http-auth=",
    ];
    expect(await show({ ...wrong, ...more }, ...given, ...right)).toEqual(shown);
    // Without the flag, the variable counts.
    expect(await show({ ...complete(), CONSUL_HTTP_ADDR: "127.0.0.1:1" })).toEqual(refused("ECONNREFUSED"));
  });
});
