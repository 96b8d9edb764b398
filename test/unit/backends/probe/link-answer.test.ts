import { expect, it } from "vitest";
import {
  decodeAdvertisement,
  decodeArpReply,
  encodeArpRequest,
} from "../../../../backends/probe/link-answer.ts";
import { Address } from "../../../../ipam/addresses/ip.ts";

const MAC = Buffer.from([2, 0, 0, 0, 0, 7]);

it("asks from this host's addresses: without, it would keep another host from taking the address (RFC 5227)", () => {
  const request = encodeArpRequest(Address.parse("192.168.50.12"), Address.parse("192.168.50.11"), MAC);
  expect(request.toString("hex")).toBe(
    "0001080006040001" + "020000000007" + "c0a8320b" + "000000000000" + "c0a8320c",
  );
  expect(decodeArpReply(request)).toBeNull();
});

it("reads who answers ARP", () => {
  const reply = Buffer.alloc(28);
  reply.writeUInt16BE(2, 6);
  reply.set(MAC, 8);
  reply.set([192, 168, 50, 12], 14);
  const answer = decodeArpReply(reply);
  expect([answer?.address.toString(), answer?.mac]).toEqual(["192.168.50.12", "02:00:00:00:00:07"]);
  expect(decodeArpReply(reply.subarray(0, 20))).toBeNull();
});

it("reads who answers a solicitation, and no advertisement that was not asked for", () => {
  const address = Address.parse("fd00:50::c");
  const packet = Buffer.alloc(40 + 32);
  packet.set([0x60], 0);
  packet.set([58], 6);
  packet.set([136, 0, 0, 0, 0x60], 40);
  packet.set(address.toBytes(), 48);
  packet.set([2, 1, ...MAC], 64);
  const answer = decodeAdvertisement(packet);
  expect([answer?.address.toString(), answer?.mac]).toEqual(["fd00:50::c", "02:00:00:00:00:07"]);
  for (let length = 0; length < packet.length; length++)
    expect(decodeAdvertisement(packet.subarray(0, length))).toBeNull();
  packet.set([0x20], 44);
  expect(decodeAdvertisement(packet)).toBeNull();
});
