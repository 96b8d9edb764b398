/** Opens etcd as a store. */

import type { StoreConnection } from "../contracts.ts";
import { layoutOf, warnAboutMissingSlash } from "../layout.ts";
import { networkOver } from "../network-store.ts";
import type { EtcdOptions, StoreEnvironment } from "../options.ts";
import { EtcdClient } from "./client.ts";
import { EtcdKeyValue } from "./key-value.ts";

/** Opens a connection that connects at the first call. ConfigError for unusable endpoints. */
export function openEtcdStore(options: EtcdOptions, environment: StoreEnvironment): StoreConnection {
  const client = new EtcdClient(options, environment);
  return {
    description: `etcd ${client.description}`,
    remoteHost: client.endpoints[0]?.host ?? null,
    remoteHosts: client.endpoints.map(({ host }) => host),
    network: (prefix) => {
      const layout = layoutOf(prefix);
      const description = `etcd ${client.description} ${prefix}`;
      warnAboutMissingSlash(prefix, environment.log);
      return networkOver(new EtcdKeyValue(client, environment, description), layout, description);
    },
    redial: () => client.redial(),
    close: async () => client.close(),
  };
}
