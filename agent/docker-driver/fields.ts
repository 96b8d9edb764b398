/** Reads fields of JSON that the engine sent. Pure; every error names the field, its value and what belongs there. */

import { Address, type InterfaceAddress, Prefix, parseInterfaceAddress } from "../../ipam/addresses/ip.ts";
import { isInterfaceMac, type Mac, parseMac } from "../../ipam/addresses/mac.ts";
import { CodecError, ConfigError, TulleError } from "../../ipam/errors.ts";
import { escapeText } from "../../ipam/escape.ts";
import { isJsonObject, type JsonObject, type JsonValue, parseJson } from "../../ipam/json.ts";

/** As Docker's own ids, and those of its tests: no character that means something in a path or a log. */
const ID = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/;

/** A JSON object whose fields are read with checks. Absent, null and "" are one: the engine writes Go's zero values. */
export class Fields {
  readonly #object: JsonObject;
  readonly #path: string;

  constructor(object: JsonObject, path = "") {
    this.#object = object;
    this.#path = path;
  }

  /** The fields of a JSON text. Throws CodecError. */
  static parse(text: string): Fields {
    if (text.trim() === "") return new Fields({});
    let value: unknown;
    try {
      value = parseJson(text);
    } catch (cause) {
      throw new CodecError("the request is not JSON", { cause });
    }
    if (value === null) return new Fields({});
    if (!isJsonObject(value)) throw new CodecError("the request is JSON, but not an object");
    return new Fields(value);
  }

  get raw(): JsonObject {
    return this.#object;
  }

  /** A text, "" when absent. */
  text(name: string): string {
    const value = this.#get(name) ?? "";
    if (typeof value !== "string") throw this.wrong(name, value, "a text");
    return value;
  }

  /** An id, which must be present. */
  id(name: string): string {
    const value = this.text(name);
    if (ID.test(value)) return value;
    throw value === ""
      ? new CodecError(`${this.#path}${name} is missing`)
      : this.wrong(name, value, "an id of letters, digits, _, . and -");
  }

  boolean(name: string): boolean {
    const value = this.#get(name) ?? false;
    if (typeof value !== "boolean") throw this.wrong(name, value, "true or false");
    return value;
  }

  /** Empty when absent. */
  object(name: string): Fields {
    const value = this.#get(name) ?? {};
    if (!isJsonObject(value)) throw this.wrong(name, value, "an object");
    return new Fields(value, `${this.#path}${name}.`);
  }

  /** Empty when absent. */
  list(name: string): readonly Fields[] {
    const value = this.#get(name) ?? [];
    if (!Array.isArray(value)) throw this.wrong(name, value, "a list");
    return value.map((item: JsonValue, index) => {
      if (!isJsonObject(item)) throw this.wrong(`${name}[${index}]`, item, "an object");
      return new Fields(item, `${this.#path}${name}[${index}].`);
    });
  }

  /** A list of texts, empty when absent. */
  textList(name: string): readonly string[] {
    const value = this.#get(name) ?? [];
    if (!Array.isArray(value)) throw this.wrong(name, value, "a list");
    return value.map((item: JsonValue, index) => {
      if (typeof item !== "string") throw this.wrong(`${name}[${index}]`, item, "a text");
      return item;
    });
  }

  /** Names with texts; other values as their JSON. */
  texts(name: string): Readonly<Record<string, string>> {
    const entries = Object.entries(this.object(name).raw);
    return Object.fromEntries(
      entries.map(([key, value]) => [key, typeof value === "string" ? value : JSON.stringify(value)]),
    );
  }

  address(name: string): Address | null {
    return this.#optional(name, "an IP address", Address.parse);
  }

  prefix(name: string): Prefix | null {
    return this.#optional(name, "a subnet such as 10.9.0.0/24", Prefix.parse);
  }

  interfaceAddress(name: string): InterfaceAddress | null {
    return this.#optional(name, "an address with its prefix length", parseInterfaceAddress);
  }

  mac(name: string): Mac | null {
    const mac = this.#optional(name, "a MAC address", parseMac);
    if (mac !== null && !isInterfaceMac(mac)) throw this.wrong(name, mac, "the address of one interface");
    return mac;
  }

  wrong(name: string, value: JsonValue, wanted: string): ConfigError {
    const shown = typeof value === "string" ? value : JSON.stringify(value);
    return new ConfigError(`${this.#path}${name} is "${escapeText(shown, 80)}": give ${wanted}`);
  }

  #get(name: string): JsonValue | undefined {
    return Object.hasOwn(this.#object, name) ? this.#object[name] : undefined;
  }

  #optional<T>(name: string, wanted: string, parse: (text: string) => T): T | null {
    const text = this.text(name);
    if (text === "") return null;
    try {
      return parse(text);
    } catch (error) {
      if (error instanceof TulleError) throw this.wrong(name, text, wanted);
      throw error;
    }
  }
}
