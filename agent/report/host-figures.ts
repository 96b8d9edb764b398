/** Figures of the whole host, read when metrics are shown. */

import type { Metrics } from "./metrics.ts";

/** What is counted of Docker's network driver. */
interface DockerFigures {
  readonly networks?: readonly { readonly containers: number }[];
}

/** `docker` is null where its driver does not run. */
export function setHostFigures(
  metrics: Metrics,
  networks: readonly { readonly isReady: boolean }[],
  docker: DockerFigures | null,
): void {
  const ready = networks.filter(({ isReady }) => isReady).length;
  metrics.replace("tulle_networks", "ready", [
    ["yes", ready],
    ["no", networks.length - ready],
  ]);
  const attached = docker?.networks ?? [];
  metrics.set("tulle_docker_networks", attached.length);
  metrics.set(
    "tulle_docker_containers",
    attached.reduce((sum, { containers }) => sum + containers, 0),
  );
}
