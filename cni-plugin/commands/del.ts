/** DEL: whatever is left of an attachment goes. Any number of times, with or without namespace, record and daemon. */

import type { Call } from "../call.ts";
import { currentDelegate, openNetnsIfPresent, statesOf } from "../host.ts";
import { removeAttachment } from "../remove.ts";

export async function del(call: Call): Promise<null> {
  const states = statesOf(call);
  const recorded = states.read(call);
  const netns = openNetnsIfPresent(call.netnsPath);
  try {
    await removeAttachment(call, call, recorded ?? currentDelegate(call), recorded !== null, netns);
  } finally {
    netns?.close();
  }
  states.remove(call);
  return null;
}
