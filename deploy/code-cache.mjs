/**
 * Makes V8's code cache for the bundles of a built dist/, for one version of Node: it saves compiling them, a quarter of
 * what the start of tulled takes. V8 compiles a function when it is first called, so the programs run once before:
 * `tulle demo` starts three daemons and removes everything again, and `tulle leases` asks a server of our own, which
 * serves no method, so that the client of etcd has run too.
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:http2";
import path from "node:path";
import process from "node:process";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { inTemporaryFolder, withCleanup } from "./cleanup.mjs";

const TRAINING = fileURLToPath(new URL("node-training.cjs", import.meta.url));

/** What gRPC's trailers say of a method that the server does not have. */
const UNIMPLEMENTED = "12";

/**
 * Writes below lib/code-cache of the folder `dist`; earlier caches for other versions stay. Rejects when the demo does not
 * run here: it needs util-linux, and root or user namespaces.
 */
export async function writeCodeCache(dist, node = process.execPath) {
  const lib = path.resolve(dist, "lib");
  const server = await startServer();
  const train = async (folder) => {
    // The demo starts the daemon that lies beside it.
    for (const name of ["tulle", "tulled"]) {
      const program = `require(${JSON.stringify(TRAINING)}).train(${JSON.stringify(lib)}, "${name}");\n`;
      writeFileSync(path.join(folder, name), program);
    }
    mkdirSync(path.join(lib, "code-cache"), { recursive: true });
    const tulle = path.join(folder, "tulle");
    const endpoint = `http://127.0.0.1:${server.address().port}`;
    await run(node, [tulle, "leases", `--etcd-endpoints=${endpoint}`], /TULLE_STORE_API/);
    await run(node, [tulle, "demo"], /all of it is removed/);
  };
  await withCleanup(
    () => server.close(),
    () => inTemporaryFolder("tulle-training-", train),
  );
}

async function startServer() {
  const server = createServer();
  server.on("stream", (stream) => {
    stream.respond(
      { ":status": 200, "content-type": "application/grpc", "grpc-status": UNIMPLEMENTED },
      { endStream: true },
    );
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

async function run(node, args, expected) {
  const child = spawn(node, args, { stdio: ["ignore", "pipe", "pipe"] });
  const [output, errors] = await Promise.all([text(child.stdout), text(child.stderr)]);
  if (expected.test(output + errors)) return;
  throw new Error(`no code cache for ${node}: ${args.slice(1).join(" ")}: ${output}${errors}`.trimEnd());
}
