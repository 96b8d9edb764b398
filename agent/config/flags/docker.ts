/** Named networks for Docker. */

import type { Flags } from "./flag.ts";
import { choice, text } from "./flag-kinds.ts";

export const DOCKER_FLAGS = {
  "docker-plugin": {
    group: "Docker",
    kind: choice("auto", "on", "off"),
    default: "auto",
    help: "serve Docker's network and IPAM driver tulle; auto: where dockerd is installed or its socket exists",
    origin: "tulle",
  },
  "docker-plugin-socket": {
    group: "Docker",
    kind: text("FILE"),
    default: "/run/docker/plugins/tulle.sock",
    help: "socket of the driver; its name without .sock is the driver's name",
    origin: "tulle",
  },
  "docker-socket": {
    group: "Docker",
    kind: text("FILE"),
    default: "/var/run/docker.sock",
    help: "socket of the Docker Engine API",
    origin: "tulle",
  },
} as const satisfies Flags;
