/** A host for tests of the image, beside one that runs the daemon of dist/ and has a container to talk to. */

import { dirname, join } from "node:path";
import { type Container, EtcdLab, type Host } from "./hosts.ts";
import { PackageFolder } from "./packages.ts";

const VERSION = "0.1.0";
/** The name that the archive gives it. */
export const IMAGE = `localhost/tulle:${VERSION}`;

export class ImageLab {
  readonly #net: EtcdLab;
  #packages: PackageFolder | null = null;
  #archive = "";
  #there: Container | null = null;

  constructor(label: string) {
    this.#net = new EtcdLab(label, {
      hosts: 2,
      isStoreApart: true,
      config: { Network: "10.2.0.0/16", Backend: { Type: "vxlan" } },
    });
  }

  /** Writes the image and joins the other host to the network. */
  async build(): Promise<void> {
    this.#packages = new PackageFolder();
    const [name = ""] = await this.#packages.add(VERSION, "oci");
    this.#archive = join(this.#packages.path, name);
    await this.#net.build();
    const other = this.#net.host(1);
    await other.daemon.start(...this.flags);
    this.#there = other.addContainer();
  }

  async dispose(): Promise<void> {
    await this.#net.dispose();
    this.#packages?.dispose();
  }

  /** Where the image is to run. */
  get host(): Host {
    return this.#net.host(2);
  }

  /** The container of the other host. */
  get there(): Container {
    if (this.#there === null) throw new Error("the lab is not built");
    return this.#there;
  }

  /** Flags of a daemon that joins the network. */
  get flags(): readonly string[] {
    return this.#net.flags;
  }

  /** The file with the image. */
  get archive(): string {
    return this.#archive;
  }

  /** The folder of that file, which is removed with the lab. */
  get folder(): string {
    return dirname(this.#archive);
  }
}
