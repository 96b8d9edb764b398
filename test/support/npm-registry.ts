/** A registry for npm on loopback, of archives and of packages that are installed here. */

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";

/** Reads `package/package.json` of an archive as npm makes it. */
function manifestOf(archive: Buffer): Record<string, unknown> {
  const text = execFileSync("tar", ["-xzO", "package/package.json"], { input: archive });
  return JSON.parse(text.toString());
}

export class NpmRegistry {
  readonly #archives = new Map<string, Buffer>();
  readonly #server: Server;

  private constructor() {
    this.#server = createServer(({ url = "" }, response) => {
      const name = decodeURIComponent(url.slice(1));
      const archive = this.#archives.get(name.replace(/\.tgz$/, ""));
      if (archive === undefined) response.writeHead(404).end("{}");
      else response.end(name.endsWith(".tgz") ? archive : this.#document(name, archive));
    });
  }

  static async start(): Promise<NpmRegistry> {
    const registry = new NpmRegistry();
    await new Promise<void>((resolve) => registry.#server.listen(0, "127.0.0.1", resolve));
    return registry;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`;
  }

  /** Serves the package in an archive, under its own name. */
  add(archive: Buffer): void {
    this.#archives.set(String(manifestOf(archive).name), archive);
  }

  /** The same for a folder of node_modules. */
  addInstalled(folder: string): void {
    const options = ["--create", "--gzip", "--transform=s,^\\.,package,"];
    this.add(execFileSync("tar", [...options, "--directory", folder, "."], { maxBuffer: 1 << 28 }));
  }

  close(): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  /** What a registry says of a package; it has one version here. */
  #document(name: string, archive: Buffer): string {
    const manifest = manifestOf(archive);
    const version = String(manifest.version);
    const integrity = `sha512-${createHash("sha512").update(archive).digest("base64")}`;
    const dist = { tarball: `${this.url}${encodeURIComponent(name)}.tgz`, integrity };
    return JSON.stringify({
      name,
      "dist-tags": { latest: version },
      versions: { [version]: { ...manifest, dist } },
    });
  }
}
