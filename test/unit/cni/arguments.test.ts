/** CNI_ARGS, compared with what libcni makes of the same text. */

import { expect, it } from "vitest";
import { parseArguments } from "../../../cni-plugin/protocol/arguments.ts";

it.each([
  ["", { ip: "", mac: "" }],
  ["IP=10.5.72.9", { ip: "10.5.72.9", mac: "" }],
  ["IP=;MAC=", { ip: "", mac: "" }],
  ["IP=10.5.72.8;IP=10.5.72.9", { ip: "10.5.72.9", mac: "" }],
  ["IgnoreUnknown=1;K8S_POD_NAME=web;MAC=02:00:00:00:00:01", { ip: "", mac: "02:00:00:00:00:01" }],
  ["IgnoreUnknown=TRUE;mac=02:00:00:00:00:01", { ip: "", mac: "" }],
])("reads %j", (text, expected) => {
  expect(parseArguments(text)).toEqual(expected);
});

it.each([
  ["K8S_POD_NAME=web", /unknown keys K8S_POD_NAME/],
  ["IgnoreUnknown=0;K8S_POD_NAME=web", /unknown keys K8S_POD_NAME/],
  ["IgnoreUnknown=maybe", /IgnoreUnknown is "maybe"/],
  ["IP", /invalid pair "IP"/],
  ["IP=a=b", /invalid pair "IP=a=b"/],
  ["IP=10.5.72.9;", /invalid pair ""/],
])("refuses %j", (text, message) => {
  expect(() => parseArguments(text)).toThrow(expect.objectContaining({ cniCode: 4 }));
  expect(() => parseArguments(text)).toThrow(message);
});
