/**
 * Which servers pass TLS, at addresses and at names: real handshakes with servers that speak gRPC and Consul's HTTP, on
 * each Node version that the suite runs on.
 */

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { Server as GrpcServer, ServerCredentials } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { errorMessage, TulleError } from "../../../../ipam/errors.ts";
import { openStore } from "../../../../ipam/stores/registry.ts";
import { type Authority, createAuthority, type Issued } from "../../../support/pki.ts";
import { testEnvironment } from "../../../support/stores/store-factory.ts";

const signal = AbortSignal.timeout(60_000);
const hasIpv6 = Object.values(networkInterfaces()).some((list) =>
  list?.some(({ address }) => address === "::1"),
);
const HOSTS = ["127.0.0.1", ...(hasIpv6 ? ["::1"] : []), "localhost"];

let directory = "";
let authority: Authority;
let stranger: Authority;
const cleanups: (() => void)[] = [];

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "tulle-tls-"));
  authority = createAuthority(directory);
  stranger = createAuthority(directory, "stranger");
});
afterAll(() => {
  for (const cleanup of cleanups) cleanup();
  rmSync(directory, { recursive: true, force: true });
});

const sanOf = (host: string): string => (host === "localhost" ? "DNS:localhost" : `IP:${host}`);
const inUrl = (host: string): string => (host.includes(":") ? `[${host}]` : host);

/** A gRPC server without methods: what answers that a method is unknown has passed TLS. */
async function startGrpc(host: string, { certFile, keyFile }: Issued): Promise<string> {
  const pair = { cert_chain: readFileSync(certFile), private_key: readFileSync(keyFile) };
  const server = new GrpcServer();
  const credentials = ServerCredentials.createSsl(null, [pair]);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`${inUrl(host)}:0`, credentials, (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  cleanups.push(() => server.forceShutdown());
  return `https://${inUrl(host)}:${port}`;
}

/** A server that answers as a Consul without keys. */
async function startHttps(host: string, { certFile, keyFile }: Issued): Promise<string> {
  const server: Server = createServer(
    { cert: readFileSync(certFile), key: readFileSync(keyFile) },
    (_request, response) => {
      response.writeHead(404, { "x-consul-index": "1", "x-consul-knownleader": "true" }).end();
    },
  );
  server.listen(0, host);
  await new Promise((resolve) => server.once("listening", resolve));
  cleanups.push(() => server.close());
  return `https://${inUrl(host)}:${(server.address() as AddressInfo).port}`;
}

/** "passed", or the message of the refusal, which must be about TLS. */
async function etcd(url: string, caFile: string): Promise<string> {
  const connection = await openStore({ store: "etcd", etcd: { endpoints: [url], caFile } }, testEnvironment);
  const error = await connection
    .network("/net")
    .feed.list(signal)
    .catch((reason: unknown) => reason);
  await connection.close();
  if (!(error instanceof TulleError)) return `no error: ${JSON.stringify(error)}`;
  return error.code === "TULLE_STORE_API" && /UNIMPLEMENTED|not implement/.test(errorMessage(error.cause))
    ? "passed"
    : `${error.code} ${error.message}`;
}

async function consul(url: string, caFile: string, tlsServerName?: string): Promise<string> {
  const options = { addresses: [url], caFile, tlsServerName };
  const connection = await openStore({ store: "consul", consul: options }, testEnvironment);
  const outcome = await connection
    .network("net")
    .feed.list(signal)
    .then(
      () => "passed",
      (error: unknown) => (error instanceof TulleError ? `${error.code} ${error.message}` : String(error)),
    );
  await connection.close();
  return outcome;
}

for (const { name, start, connect } of [
  { name: "etcd", start: startGrpc, connect: etcd },
  { name: "Consul", start: startHttps, connect: consul },
]) {
  describe.each(HOSTS)(`TLS with ${name} at %s on Node ${process.versions.node}`, (host) => {
    const label = `${name}-${host.replaceAll(":", "_")}`;
    const issue = (by: Authority, kind: string, names: string, commonName?: string): Issued =>
      by.issue(`${label}-${kind}`, { names, ...(commonName === undefined ? {} : { commonName }) });

    it("passes for a certificate that names it", async () => {
      const url = await start(host, issue(authority, "good", sanOf(host)));
      expect(await connect(url, authority.caFile)).toBe("passed");
    });

    it("fails for another authority", async () => {
      const url = await start(host, issue(stranger, "stranger", sanOf(host)));
      expect(await connect(url, authority.caFile)).toMatch(/^TULLE_STORE_TLS .*authority that we trust/);
    });

    it("fails for a certificate of another address, of another name, or with a common name alone", async () => {
      const others = { address: "IP:192.0.2.7", name: "DNS:elsewhere.test" };
      for (const [kind, names] of Object.entries(others)) {
        // Node accepts a common name for a host name when the certificate names no other host.
        const url = await start(host, issue(authority, kind, names, host === "localhost" ? undefined : host));
        expect(await connect(url, authority.caFile)).toMatch(/^TULLE_STORE_TLS .*for another name/);
      }
    });
  });
}

describe(`a server name for Consul on Node ${process.versions.node}`, () => {
  const certificate = (names: string): Issued =>
    authority.issue(`named-${names.replace(/\W/g, "_")}`, { names });

  it.each([
    ["elsewhere.test", "DNS:elsewhere.test", "passed"],
    ["192.0.2.7", "IP:192.0.2.7", "passed"],
    ["elsewhere.test", "IP:127.0.0.1", "for another name"],
    ["192.0.2.7", "IP:127.0.0.1", "for another name"],
  ])("%s meets a certificate of %s: %s", async (serverName, names, outcome) => {
    const url = await startHttps("127.0.0.1", certificate(names));
    expect(await consul(url, authority.caFile, serverName)).toContain(outcome);
  });
});
