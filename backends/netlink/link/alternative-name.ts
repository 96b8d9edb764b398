/** Alternative names: a device has any number, by each of which the kernel finds it as by its name (ip-link(8), property). */

/** What to do where `name` is to be a device's name and an alternative one of another device. */
export function alternativeNameRemedy(name: string, device: string): string {
  return `${name} is an alternative name of ${device}; remove it: ip link property del dev ${device} altname ${name}`;
}
