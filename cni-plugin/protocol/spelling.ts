/**
 * Names in a configuration, written as the specification and the plugins' documentation write them. The reference
 * plugins read names in any case, as encoding/json of Go does, so that configurations in use have others. No I/O.
 */

import { isJsonObject, type JsonObject, type JsonValue } from "../../ipam/json.ts";

/** Of the plugin's configuration, and of the plugin bridge. `type` is not among them: flannel reads it as it is. */
const NAMES = namesOf([
  ...["cniVersion", "name", "subnetFile", "dataDir", "delegate", "ipam", "dns", "runtimeConfig", "args"],
  ...["prevResult", "cni.dev/valid-attachments", "bridge", "isGateway", "isDefaultGateway", "forceAddress"],
  ...["ipMasq", "ipMasqBackend", "mtu", "hairpinMode", "promiscMode", "vlan", "vlanTrunk", "macspoofchk"],
  ...["preserveDefaultVlan", "portIsolation", "disableContainerInterface"],
]);

/** Of host-local, in `ipam` and in a range. */
const ADDRESS_NAMES = namesOf([
  ...["dataDir", "ranges", "routes", "resolvConf", "exclude"],
  ...["subnet", "rangeStart", "rangeEnd", "gateway"],
]);

type Names = ReadonlyMap<string, string>;

/** A configuration, or a record of one, with the names that the plugin reads as it writes them. The last of several wins. */
export function withKnownNames(config: JsonObject): JsonObject {
  const spelled = respell(config, NAMES);
  return {
    ...spelled,
    ...(isJsonObject(spelled.delegate) && { delegate: respell(spelled.delegate, NAMES) }),
    ...(isJsonObject(spelled.ipam) && { ipam: respell(spelled.ipam, ADDRESS_NAMES) }),
  };
}

function respell(object: JsonObject, names: Names): JsonObject {
  const entries = Object.entries(object).map(([key, value]): [string, JsonValue] => [
    names.get(key.toLowerCase()) ?? key,
    value,
  ]);
  return Object.fromEntries(entries);
}

function namesOf(names: readonly string[]): Names {
  return new Map(names.map((name) => [name.toLowerCase(), name]));
}
