/** The thread of the udp backend's data path, bundled so that every version of Node runs it. */

import { pathToFileURL } from "node:url";
import { bundle } from "./bundle.ts";

export interface PathProgram {
  readonly url: URL;
  dispose(): void;
}

export async function bundlePathProgram(): Promise<PathProgram> {
  const { path, dispose } = await bundle("../../backends/datapath/worker.ts");
  return { url: pathToFileURL(path), dispose };
}
